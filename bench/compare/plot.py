"""Draws how times grow with what is stored, from the results of several runs, or of growth.py:

python -m bench.compare.plot build/bench/growth-*.json --out docs/images/growth.svg
"""

import argparse
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path

from bench.compare.operations import OPERATIONS

PANEL_WIDTH, PANEL_HEIGHT = 250, 170
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 30, 26
COLUMNS = 3
LEGEND_ROW, LEGEND_STEP = 22, 185
# Told apart with any kind of colour vision, on white and on black.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a8a", "#a3702c", "#7f7fd5")
DASHES = ("", "6 3", "2 3", "8 3 2 3", "4 2", "1 3", "10 4", "3 6", "12 3 3 3")
STYLE = """
text { font: 11px system-ui, sans-serif; fill: #57606a; }
.title { font-weight: 600; fill: #24292f; }
.grid { stroke: #8888; stroke-width: .5; }
@media (prefers-color-scheme: dark) { text { fill: #9da7b1; } .title { fill: #e6edf3; } }
"""
OURS = "inference_store"
Point = tuple[int, float]
"""How many inferences, and milliseconds."""
Series = dict[str, list[Point]]


@dataclass(frozen=True)
class Scale:
    """A logarithmic axis from one value to another, over so many pixels."""

    low: float
    high: float
    pixels: float

    def at(self, value: float) -> float:
        share = (math.log10(value) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        return share * self.pixels

    def powers(self) -> list[float]:
        first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
        return [10.0**power for power in range(first, last + 1)]


def series_of(paths: Iterable[Path]) -> dict[str, Series]:
    """By operation and system, the medians of all runs; of two runs of one size the later file counts."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for path in paths:
        results = json.loads(path.read_text())
        for system, measured in results["systems"].items():
            for code, operation in measured["operations"].items():
                if operation["median_ms"] is not None:
                    of_operation = found.setdefault(code, {}).setdefault(system, {})
                    of_operation[results["n"]] = operation["median_ms"]
    return {
        code: {system: sorted(points.items()) for system, points in systems.items()}
        for code, systems in found.items()
    }


def chart(series: dict[str, Series]) -> str:
    """An SVG with one panel an operation."""
    systems = sorted({system for each in series.values() for system in each}, key=_ours_first)
    codes = sorted(series, key=lambda code: [*OPERATIONS, code].index(code))
    points = [point for each in series.values() for line in each.values() for point in line]
    sizes, times = [size for size, _ in points], [time for _, time in points]
    across = Scale(min(sizes) / 1.3, max(sizes) * 1.3, PANEL_WIDTH - LEFT - RIGHT)
    up = Scale(min(times) / 1.5, max(times) * 1.5, PANEL_HEIGHT - TOP - BOTTOM)
    rows = math.ceil(len(codes) / COLUMNS)
    width = COLUMNS * PANEL_WIDTH
    legend_height = LEGEND_ROW * math.ceil(len(systems) / (width // LEGEND_STEP)) + LEGEND_ROW // 2
    height = legend_height + rows * PANEL_HEIGHT
    panels = [
        _panel(code, series[code], systems, across, up, number, legend_height)
        for number, code in enumerate(codes)
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            'role="img" aria-label="Milliseconds by inferences stored">',
            f"<style>{STYLE}</style>",
            *(_key(system, number, width) for number, system in enumerate(systems)),
            *panels,
            "</svg>\n",
        ]
    )


def _ours_first(system: str) -> tuple[bool, str]:
    return not system.startswith(OURS), system


def _line(system: str, number: int) -> str:
    dash, width = DASHES[number % len(DASHES)], 2.5 if system.startswith(OURS) else 1.5
    colour = COLOURS[number % len(COLOURS)]
    return f'fill="none" stroke="{colour}" stroke-width="{width}" stroke-dasharray="{dash}"'


def _key(system: str, number: int, width: int) -> str:
    a_row = width // LEGEND_STEP
    x, y = (number % a_row) * LEGEND_STEP + 12, (number // a_row) * LEGEND_ROW + 20
    return (
        f'<path d="M{x} {y - 4}h26" {_line(system, number)}/>'
        f'<text x="{x + 32}" y="{y}">{escape(system.replace("_", " "))}</text>'
    )


def _panel(
    code: str, series: Series, systems: list[str], across: Scale, up: Scale, number: int, top: int
) -> str:
    x, y = (number % COLUMNS) * PANEL_WIDTH + LEFT, (number // COLUMNS) * PANEL_HEIGHT + TOP + top
    floor = up.pixels
    parts = [
        f'<g transform="translate({x} {y})">',
        f'<text class="title" x="0" y="-10">{escape(_title(code))}</text>',
    ]
    for time in up.powers():
        height = floor - up.at(time)
        parts.append(f'<path class="grid" d="M0 {height:.1f}h{across.pixels}"/>')
        parts.append(f'<text x="-5" y="{height + 4:.1f}" text-anchor="end">{_short(time)} ms</text>')
    for size in across.powers():
        right = across.at(size)
        parts.append(f'<path class="grid" d="M{right:.1f} 0v{floor}"/>')
        parts.append(f'<text x="{right:.1f}" y="{floor + 15}" text-anchor="middle">{_short(size)}</text>')
    for place, system in enumerate(systems):
        dots = [(across.at(size), floor - up.at(time)) for size, time in series.get(system, [])]
        if dots:
            joined = " ".join(f"{right:.1f},{height:.1f}" for right, height in dots)
            parts.append(f'<polyline points="{joined}" {_line(system, place)}/>')
        colour = COLOURS[place % len(COLOURS)]
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.2" fill="{colour}"/>' for a, b in dots]
    return "".join([*parts, "</g>"])


def _title(code: str) -> str:
    """Of an operation; what growth.py looks at is its own title."""
    return f"{code} {OPERATIONS[code].title}" if code in OPERATIONS else code


def _short(number: float) -> str:
    """10000 as 10k, 1000000 as 1M."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:g}{name}"
    return f"{number:g}"


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m bench.compare.plot",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    asked.out.write_text(chart(series_of(asked.results)))
    print(f"{asked.out} written")


if __name__ == "__main__":
    main()
