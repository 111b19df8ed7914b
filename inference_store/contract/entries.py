"""The entries of a standardized inference: one label, score and geometry each, whatever the spelling."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from inference_store.contract.base import LONGEST_NAME

LABEL_SPELLINGS = ("label", "class_label", "class_name")
BOX_SIDES = ("xmin", "ymin", "xmax", "ymax")
ORIENTED_BOX_PARTS = ("cx", "cy", "w", "h", "r")


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing a model saw.

    Geometry is None or holds one of `bbox` (pixels), `oriented_bbox` (normalised to the image, `r` in
    radians), `contours` (rings of x, y in pixels), `rle` (COCO run lengths).
    """

    label: str
    score: float | None
    geometry: dict[str, Any] | None


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} must be a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite")
    return number


def _parts(item: dict[str, Any], nested: str, names: tuple[str, ...]) -> dict[str, Any] | None:
    """The numbers `names`, from the entry itself or from the object under `nested`."""
    box = item.get(nested)
    if box is None:
        if item.keys().isdisjoint(names):
            return None
        box = item
    elif not isinstance(box, dict):
        raise ValueError(f"{nested} must be an object of {', '.join(names)}")
    if missing := [name for name in names if name not in box]:
        raise ValueError(f"lacks {', '.join(missing)}")
    return {nested: {name: _number(box[name], name) for name in names}}


def _ring(points: Any) -> list[dict[str, float]]:
    if not isinstance(points, list):
        raise ValueError("each contour must be a list of points {x, y}")
    ring = []
    for point in points:
        if not isinstance(point, dict) or "x" not in point or "y" not in point:
            raise ValueError("each point of a contour must be {x, y}")
        ring.append({"x": _number(point["x"], "x"), "y": _number(point["y"], "y")})
    return ring


def _rle(value: Any) -> dict[str, Any]:
    size = value.get("size") if isinstance(value, dict) else None
    if (
        not isinstance(size, list)
        or len(size) != 2
        or any(isinstance(side, bool) or not isinstance(side, int) or side < 1 for side in size)
    ):
        raise ValueError("rle must be {size: [height, width], counts}")
    counts = value.get("counts")
    runs = isinstance(counts, list) and all(type(run) is int and run >= 0 for run in counts)
    if not runs and not isinstance(counts, str):
        raise ValueError("rle counts must be COCO's string or a list of run lengths")
    return {"rle": {"size": size, "counts": counts}}


def _no_geometry(item: dict[str, Any]) -> None:
    return None


def _box(item: dict[str, Any]) -> dict[str, Any] | None:
    return _parts(item, "bbox", BOX_SIDES)


def _oriented_box(item: dict[str, Any]) -> dict[str, Any] | None:
    return _parts(item, "oriented_bbox", ORIENTED_BOX_PARTS)


def _segment(item: dict[str, Any]) -> dict[str, Any] | None:
    contours = item["contours"] if item.get("contours") is not None else item.get("contour")
    if contours is not None:
        if not isinstance(contours, list):
            raise ValueError("contours must be a list of rings")
        return {"contours": [_ring(points) for points in contours]}
    return _rle(item["rle"]) if item.get("rle") is not None else None


GEOMETRY_OF_LIST: dict[str, Callable[[dict[str, Any]], dict[str, Any] | None]] = {
    "image_classification": _no_geometry,
    "object_detection": _box,
    "oriented_object_detection": _oriented_box,
    "image_segmentation": _segment,
}


def _label(item: dict[str, Any]) -> str:
    given = {item[name] for name in LABEL_SPELLINGS if isinstance(item.get(name), str)}
    if len(given) != 1:
        wrong = "lacks a label (a string)" if not given else "has two different labels"
        raise ValueError(wrong)
    label: str = given.pop()
    if len(label) > LONGEST_NAME:
        raise ValueError(f"has a label of more than {LONGEST_NAME} characters")
    return label


def read_entries(list_name: str, items: list[dict[str, Any]]) -> list[Entry]:
    """The entries of a standardized list; ValueError names the first item that is wrong, and how."""
    geometry_of = GEOMETRY_OF_LIST[list_name]
    entries = []
    for position, item in enumerate(items):
        try:
            score = item.get("score")
            entries.append(
                Entry(
                    label=_label(item),
                    score=None if score is None else _number(score, "score"),
                    geometry=geometry_of(item),
                )
            )
        except ValueError as error:
            raise ValueError(f"entry {position} {error}") from None
    return entries
