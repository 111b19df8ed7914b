"""A mask's run lengths as rings along the edges of its pixels, from the runs alone.

Nothing here depends on how large the mask is, only on how many runs it has: each run adds a few edges.
"""

from collections import defaultdict
from collections.abc import Iterator
from heapq import merge
from typing import Any

from inference_store.contract.geometry import run_lengths

MOST_RUNS = 500_000
"""What is read of one mask."""
MOST_TRACED_RUNS = 100_000
"""What is made rings of: each run can become two points, which take a kilobyte on the way."""

Point = tuple[int, int]


def contours_of(rle: dict[str, Any], most: int = MOST_TRACED_RUNS) -> list[list[dict[str, int]]]:
    """The mask as rings in pixels: filled by the even-odd rule (or nonzero: holes run the other way round)
    they are the mask, exactly. Pixels that touch by a corner alone are rings of their own.

    ValueError where `spans_of` raises it, here already above `most` runs.
    """
    rows, _ = rle["size"]
    spans = spans_of(rle, most)
    return [[{"x": x, "y": y} for x, y in ring] for ring in _rings(spans, rows)]


def spans_of(rle: dict[str, Any], most: int = MOST_RUNS) -> list[tuple[int, int]]:
    """Where the mask is set, as [start, end) of pixels counted down the columns.

    Runs that end before the mask does leave the rest unset. ValueError where a run is negative, where they
    go beyond the mask, where there are more than `most`, or where the string spells none.
    """
    rows, columns = rle["size"]
    runs = run_lengths(rle["counts"], most + 1)
    if len(runs) > most:
        raise ValueError(f"a mask of more than {most} runs")
    spans: list[tuple[int, int]] = []
    at = 0
    for position, run in enumerate(runs):
        if run < 0:
            raise ValueError("a mask with a negative run")
        start, at = at, at + run
        if position % 2 == 0 or not run:
            continue
        if spans and spans[-1][1] == start:
            start = spans.pop()[0]
        spans.append((start, at))
    if at > rows * columns:
        raise ValueError("a mask with runs beyond its size")
    return spans


def _edges(spans: list[tuple[int, int]], rows: int) -> Iterator[tuple[Point, Point]]:
    """The mask's edges, each from a point to a point, with the mask at the right hand."""
    for start, end in spans:
        column, row = divmod(start, rows)
        last, below = divmod(end, rows)
        if row:
            yield (column, row), (column + 1, row)
        # Along the mask's upper and lower border a run that goes through many columns has one edge each.
        if (first := -(-start // rows)) < (beyond := -(-end // rows)):
            yield (first, 0), (beyond, 0)
        if below:
            yield (last + 1, below), (last, below)
        if column < last:
            yield (last, rows), (column, rows)
    yield from _upright_edges(spans, rows)


def _upright_edges(spans: list[tuple[int, int]], rows: int) -> Iterator[tuple[Point, Point]]:
    """Edges between columns: where the mask differs from itself, moved by one column."""
    own = ((at, 1) for span in spans for at in span)
    moved = ((at + rows, 2) for span in spans for at in span)
    state = before = 0
    for at, change in merge(own, moved):
        # 1: set here and not to the left; 2: the other way round.
        while state in (1, 2) and before < at:
            column, row = divmod(before, rows)
            end = min(at - before + row, rows)
            yield ((column, end), (column, row)) if state == 1 else ((column, row), (column, end))
            before += end - row
        state, before = state ^ change, at


def _rings(spans: list[tuple[int, int]], rows: int) -> Iterator[list[Point]]:
    """The edges put together, end to start."""
    onward: defaultdict[Point, list[Point]] = defaultdict(list)
    for start, end in _edges(spans, rows):
        onward[start].append(end)
    for start in list(onward):
        while start in onward:
            yield _corners(_walk(onward, start))


def _walk(onward: dict[Point, list[Point]], start: Point) -> list[Point]:
    """The way from a point until it closes there; what was walked is taken out of `onward`."""
    points: list[Point] = []
    at, wanted = start, None
    while ways := onward.get(at):
        # Where two corners of the mask touch, a turn to the right stays with the one at hand.
        chosen = next((way for way in ways if _heading(at, way) == wanted), None)
        if chosen is None:
            if points and at == start:
                break
            chosen = ways[0]
        ways.remove(chosen)
        if not ways:
            del onward[at]
        points.append(at)
        across, down = _heading(at, chosen)
        at, wanted = chosen, (-down, across)
    return points


def _heading(start: Point, end: Point) -> Point:
    return (end[0] > start[0]) - (end[0] < start[0]), (end[1] > start[1]) - (end[1] < start[1])


def _corners(points: list[Point]) -> list[Point]:
    """Without the points on a straight line between their neighbours."""
    return [
        point
        for position, point in enumerate(points)
        if _heading(points[position - 1], point) != _heading(point, points[(position + 1) % len(points)])
    ]
