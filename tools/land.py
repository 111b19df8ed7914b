"""Write static/dashboard/land.json, and land.svg for small maps of the whole earth: the outlines of all land,
from `land-110m.json` of npm's world-atlas.

npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
python tools/land.py package/land-110m.json
"""

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "static/dashboard/land.json"
PICTURE = TARGET.with_suffix(".svg")
HUNDREDTHS = 100


def arcs_of(topology: dict[str, Any]) -> list[list[tuple[int, int]]]:
    """Each arc as points in hundredths of a degree, as TopoJSON spells them: quantised differences."""
    scale, translate = topology["transform"]["scale"], topology["transform"]["translate"]
    arcs = []
    for steps in topology["arcs"]:
        x = y = 0
        arc = []
        for dx, dy in steps:
            x, y = x + dx, y + dy
            longitude, latitude = x * scale[0] + translate[0], y * scale[1] + translate[1]
            arc.append((round(longitude * HUNDREDTHS), round(latitude * HUNDREDTHS)))
        arcs.append(arc)
    return arcs


def ring_of(indexes: list[int], arcs: list[list[tuple[int, int]]]) -> list[int]:
    """A ring as its first point and then differences; a negative index is an arc backwards."""
    points: list[tuple[int, int]] = []
    for index in indexes:
        arc = arcs[index] if index >= 0 else arcs[~index][::-1]
        points += arc if not points else arc[1:]
    points = unrolled(points)
    ring: list[int] = [*points[0]]
    for one, other in pairwise(points):
        if one != other:
            ring += [other[0] - one[0], other[1] - one[1]]
    return ring


def unrolled(points: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Beyond ±180 where the ring goes there; one around the pole (Antarctica) is closed along it."""
    turn = 360 * HUNDREDTHS
    flat = [points[0]]
    for x, y in points[1:]:
        flat.append((x + turn * round((flat[-1][0] - x) / turn), y))
    first, last = flat[0][0], flat[-1][0]
    if abs(last - first) > turn / 2:
        flat += [(last, -90 * HUNDREDTHS), (first, -90 * HUNDREDTHS), flat[0]]
    return flat


def drawn(polygons: list[list[list[int]]]) -> str:
    """All land on 3,600 by 1,800 as one path, to a tenth of a degree, in a grey for both themes."""
    path = []
    for ring in (ring for polygon in polygons for ring in polygon):
        x, y = ring[0] + 180 * HUNDREDTHS, 90 * HUNDREDTHS - ring[1]
        points = [(round(x / 10), round(y / 10))]
        for dx, dy in zip(ring[2::2], ring[3::2], strict=True):
            x, y = x + dx, y - dy
            points.append((round(x / 10), round(y / 10)))
        steps = [(u - r, v - t) for (r, t), (u, v) in pairwise(points) if (u, v) != (r, t)]
        across = [x for x, _ in points]
        # A ring that goes beyond ±180 lies in part on another turn of the earth.
        for turn in (-3600, 0, 3600):
            if min(across) + turn < 3600 and max(across) + turn > 0:
                start = f"M{points[0][0] + turn} {points[0][1]}l"
                path.append(start + " ".join(f"{u} {v}" for u, v in steps) + "z")
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 3600 1800">'
        f'<path fill="#7d8884" fill-opacity=".45" d="{"".join(path)}"/></svg>\n'
    )


def main(source: str) -> None:
    topology = json.loads(Path(source).read_text())
    arcs = arcs_of(topology)
    geometries = topology["objects"]["land"]["geometries"]
    polygons = [
        [ring_of(ring, arcs) for ring in polygon] for geometry in geometries for polygon in geometry["arcs"]
    ]
    land = {
        "origin": "Natural Earth 1:110m land, version 4.1.0, public domain (naturalearthdata.com), "
        "by way of world-atlas 2.0.2; written by tools/land.py",
        "polygons": polygons,
    }
    TARGET.write_text(json.dumps(land, separators=(",", ":")) + "\n")
    PICTURE.write_text(drawn(polygons))


if __name__ == "__main__":
    main(sys.argv[1])
