"""What a model saw, as shapes over its input.

Coordinates are the picture's pixels, so that an SVG viewBox does all the scaling and no style is needed.
"""

import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from inference_store.archive.contours import contours_of
from inference_store.contract.entries import Entry
from inference_store.contract.geometry import oriented_corners

SERIES = 8
"""Colours to tell labels apart; the style sheet has as many `series-…` classes."""
SHAPES_OF_A_CARD, POINTS_OF_A_CARD = 40, 60
SHAPES_OF_A_PAGE, POINTS_OF_A_PAGE = 500, 2_000
POINTS_OF_ALL = 12_000
"""Of the shapes of one picture together: each is drawn more coarsely where there are many."""
PATHS_BYTES = 130_000
MOST_RUNS = 20_000
MOST_WORDS = 16
LONGEST_WORDS = 28


@dataclass(frozen=True)
class Shape:
    """A closed path in pixels, its words, and where they stand in percent of the picture."""

    path: str
    words: str
    series: int
    left: str
    top: str
    anchor: str
    position: int
    score: float | None


@dataclass(frozen=True)
class Overlay:
    """Shapes over a picture of that size. `hidden` says how many entries are not drawn."""

    width: int
    height: int
    shapes: list[Shape]
    hidden: int

    @property
    def is_crowded(self) -> bool:
        """So many shapes that their words would hide the picture: shown one at a time then."""
        return len(self.shapes) > MOST_WORDS


def series_of(label: str) -> int:
    """The same colour for a label everywhere."""
    return zlib.crc32(label.encode()) % SERIES + 1


def score_words(score: float | None) -> str:
    if score is None:
        return ""
    return f"{score:.2f}" if 0.005 <= abs(score) < 1_000 else f"{score:.3g}"


def words_of(entry: Entry) -> str:
    return f"{entry.label} {score_words(entry.score)}".strip()


def cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def ranked(entries: list[Entry]) -> list[tuple[int, Entry]]:
    """Best score first, each with its position; those without one last."""
    numbered = list(enumerate(entries))
    return sorted(numbered, key=lambda each: -(each[1].score if each[1].score is not None else -math.inf))


def _number(value: float) -> str:
    """Short, and never in a notation that SVG does not read."""
    return f"{max(-1e7, min(1e7, value)):.2f}".rstrip("0").rstrip(".")


def _ring(points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in points) + "Z"


def _box(box: dict[str, float]) -> list[list[tuple[float, float]]]:
    left, top, right, bottom = (box[side] for side in ("xmin", "ymin", "xmax", "ymax"))
    return [[(left, top), (right, top), (right, bottom), (left, bottom)]]


def _contours(rings: list[list[dict[str, float]]], most_points: int) -> list[list[tuple[float, float]]]:
    found = []
    for ring in rings:
        step = max(1, math.ceil(len(ring) / most_points))
        if points := [(point["x"], point["y"]) for point in ring[::step]]:
            found.append(points)
    return found


def _mask(rle: dict[str, Any], width: int, height: int, most_points: int) -> list[list[tuple[float, float]]]:
    """The mask's rings, scaled to the picture; none where its run lengths are no mask, or too many."""
    rows, columns = rle["size"]
    try:
        rings = contours_of(rle, MOST_RUNS)
    except ValueError:
        return []
    across, down = width / columns, height / rows
    points = sum(map(len, rings))
    # Rings too small to be seen in so few points are left out.
    step = max(1, math.ceil(points / most_points))
    return [
        [(point["x"] * across, point["y"] * down) for point in ring[::step]]
        for ring in rings
        if len(ring) >= min(3 * step, max(map(len, rings)))
    ]


def _drawn(
    geometry: dict[str, Any], width: int, height: int, most_points: int
) -> tuple[str, tuple[float, float]] | None:
    """The path, and the corner where its words stand."""
    if "rle" in geometry:
        rings = _mask(geometry["rle"], width, height, most_points)
    elif "bbox" in geometry:
        rings = _box(geometry["bbox"])
    elif "oriented_bbox" in geometry:
        rings = [oriented_corners(geometry["oriented_bbox"], width, height)]
    else:
        rings = _contours(geometry.get("contours") or [], most_points)
    if not rings:
        return None
    return "".join(_ring(ring) for ring in rings), min(rings[0], key=lambda point: (point[1], point[0]))


def _percent(part: float, whole: int) -> str:
    return _number(max(0.0, min(97.0, 100 * part / whole))) + "%"


def overlay(
    entries: list[Entry],
    width: int | None,
    height: int | None,
    *,
    most_shapes: int = SHAPES_OF_A_PAGE,
    most_points: int = POINTS_OF_A_PAGE,
) -> Overlay | None:
    """The shapes of the entries with the best scores; None where nothing can be drawn."""
    if not width or not height:
        return None
    best = [(position, entry) for position, entry in ranked(entries)[:most_shapes] if entry.geometry]
    most_points = min(most_points, max(8, POINTS_OF_ALL // max(1, len(best))))
    shapes: list[Shape] = []
    spent, hidden = 0, sum(1 for entry in entries if entry.geometry) - len(best)
    for position, entry in best:
        drawn = _drawn(entry.geometry or {}, width, height, most_points)
        if drawn is None:
            continue
        path, (x, y) = drawn
        spent += len(path)
        if spent > PATHS_BYTES and shapes:
            hidden += 1
            continue
        shapes.append(
            Shape(
                path=path,
                words=cut(words_of(entry), LONGEST_WORDS),
                series=series_of(entry.label),
                left=_percent(x, width),
                top=_percent(y, height),
                anchor="end" if x > 0.55 * width else "start",
                position=position,
                score=entry.score,
            )
        )
    if not shapes:
        return None
    # The best last, so that nothing lies over them.
    return Overlay(width, height, shapes[::-1], hidden)


def label_counts(entries: list[Entry]) -> list[tuple[str, int, float | None]]:
    """(label, how many, best score), best score first."""
    found: dict[str, tuple[int, float | None]] = {}
    for entry in entries:
        count, best = found.get(entry.label, (0, None))
        scores = [score for score in (best, entry.score) if score is not None]
        found[entry.label] = (count + 1, max(scores, default=None))
    rows = [(label, count, best) for label, (count, best) in found.items()]
    return sorted(rows, key=lambda row: (-(row[2] if row[2] is not None else -math.inf), -row[1], row[0]))
