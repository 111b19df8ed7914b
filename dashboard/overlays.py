"""What a model saw, as shapes over its input.

Coordinates are the picture's pixels, so that an SVG viewBox does all the scaling and no style is needed.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dashboard.label_colours import BY_HASH, LabelColours
from inference_store.archive.contours import contours_of
from inference_store.contract.entries import Entry
from inference_store.contract.filters import DeconstructedInferenceFilter
from inference_store.contract.geometry import oriented_corners, run_lengths

SHAPES_OF_A_CARD, POINTS_OF_A_CARD = 40, 60
SHAPES_OF_A_PAGE, POINTS_OF_A_PAGE = 500, 2_000
POINTS_OF_ALL = 12_000
"""Of the shapes of one picture together: each is drawn more coarsely where there are many."""
PATHS_BYTES = 130_000
MOST_RUNS, RUNS_OF_A_CARD = 20_000, 2_500
MASKS_OF_A_CARD, CELLS_OF_A_CARD = 4, 48
PATHS_OF_A_PAGE, AROUND_A_PATH = 60_000, 44
"""Characters of all shapes in a list: its cards share them, so that a page stays light."""
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
    def weight(self) -> int:
        """Its characters on a page."""
        return sum(len(shape.path) + AROUND_A_PATH for shape in self.shapes)

    @property
    def is_crowded(self) -> bool:
        """So many shapes that their words would hide the picture: shown one at a time then."""
        return len(self.shapes) > MOST_WORDS


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


def mask_strips(rle: dict[str, Any], most_runs: int) -> list[tuple[int, int, int]]:
    """(column, row, length) of what the mask covers, column by column; nothing where it is no mask."""
    rows, columns = rle["size"]
    strips: list[tuple[int, int, int]] = []
    at = 0
    try:
        runs = run_lengths(rle["counts"], most_runs)
    except ValueError:
        return []
    for run, length in enumerate(runs):
        if length < 0 or at + length > rows * columns:
            break
        start, at = at, at + length
        while run % 2 and start < at and len(strips) < most_runs:
            column, row = divmod(start, rows)
            part = min(at - start, rows - row)
            strips.append((column, row, part))
            start += part
    return strips


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


def _coarse_mask(rle: dict[str, Any], width: int, height: int) -> str:
    """The mask in few cells, for a picture no larger than a thumbnail."""
    rows, columns = rle["size"]
    across = min(columns, CELLS_OF_A_CARD)
    down = max(1, min(rows, round(across * height / width)))
    cells: dict[int, set[int]] = {}
    for column, row, part in mask_strips(rle, RUNS_OF_A_CARD):
        last = min(down - 1, (row + part - 1) * down // rows)
        cells.setdefault(column * across // columns, set()).update(range(row * down // rows, last + 1))
    wide, high = width / across, height / down
    path = []
    for column, held in cells.items():
        for row in sorted(held):
            if row - 1 not in held:
                end = row
                while end in held:
                    end += 1
                path.append(
                    f"M{_number(column * wide)} {_number(row * high)}h{_number(wide)}"
                    f"v{_number((end - row) * high)}h-{_number(wide)}z"
                )
    return "".join(path)


def _drawn(
    geometry: dict[str, Any], width: int, height: int, most_points: int, is_coarse: bool
) -> tuple[str, tuple[float, float]] | None:
    """The path, and the corner where its words stand."""
    if "rle" in geometry:
        if is_coarse:
            path = _coarse_mask(geometry["rle"], width, height)
            return (path, (0.0, 0.0)) if path else None
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
    colours: LabelColours = BY_HASH,
    *,
    most_shapes: int = SHAPES_OF_A_PAGE,
    most_points: int = POINTS_OF_A_PAGE,
    most_path: int | None = None,
) -> Overlay | None:
    """The shapes of the entries with the best scores; None where nothing can be drawn.

    With `most_path` for a thumbnail: coarse, few masks, and paths no longer than that together.
    """
    if not width or not height:
        return None
    is_coarse, most_path = most_path is not None, PATHS_BYTES if most_path is None else most_path
    best = [(position, entry) for position, entry in ranked(entries)[:most_shapes] if entry.geometry]
    most_points = min(most_points, max(8, POINTS_OF_ALL // max(1, len(best))))
    shapes: list[Shape] = []
    masks, length, hidden = 0, 0, sum(1 for entry in entries if entry.geometry) - len(best)
    for position, entry in best:
        is_mask = "rle" in (entry.geometry or {})
        masks += is_mask
        if is_coarse and is_mask and masks > MASKS_OF_A_CARD:
            hidden += 1
            continue
        drawn = _drawn(entry.geometry or {}, width, height, most_points, is_coarse)
        if drawn is None:
            continue
        path, (x, y) = drawn
        # A page draws one at least.
        if length + len(path) + AROUND_A_PATH > most_path and (is_coarse or shapes):
            hidden += 1
            continue
        length += len(path) + AROUND_A_PATH
        shapes.append(
            Shape(
                path=path,
                words=cut(words_of(entry), LONGEST_WORDS),
                series=colours[entry.label],
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


def meets(entry: Entry, wanted: DeconstructedInferenceFilter) -> bool:
    """Whether it has a label and a score that are asked for, as the filter's own condition has it."""
    low, high = wanted.minimum_score, wanted.maximum_score
    if wanted.labels is not None and entry.label not in wanted.labels:
        return False
    if entry.score is None:
        return low is None and high is None
    return (low is None or entry.score >= low) and (high is None or entry.score <= high)


def bounds(geometry: dict[str, Any], width: int, height: int) -> tuple[float, float, float, float] | None:
    """Left, top, right and bottom of an entry's geometry in the picture's pixels; None where it has none."""
    if "rle" in geometry:
        rows, columns = geometry["rle"]["size"]
        strips = mask_strips(geometry["rle"], MOST_RUNS)
        across, down = width / columns, height / rows
        points = [(column * across, row * down) for column, row, _ in strips]
        points += [((column + 1) * across, (row + part) * down) for column, row, part in strips]
    elif "bbox" in geometry:
        points = _box(geometry["bbox"])[0]
    elif "oriented_bbox" in geometry:
        points = oriented_corners(geometry["oriented_bbox"], width, height)
    else:
        rings = geometry.get("contours") or []
        points = [(point["x"], point["y"]) for ring in rings for point in ring]
    if not points:
        return None
    across_points, down_points = zip(*points, strict=True)
    return (min(across_points), min(down_points), max(across_points), max(down_points))
