"""COCO: pictures, and one `annotations.json` for object detection and segmentation."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from inference_store.archive.base import Joined, Output, Piece, file_name, json_bytes
from inference_store.archive.contours import contours_of, spans_of
from inference_store.archive.pictures import PictureWriter, Ring, signed_area
from inference_store.contract.entries import Entry
from inference_store.contract.enums import TaskType
from inference_store.contract.geometry import oriented_corners, run_string
from inference_store.query.whole import WholeInference

IMAGES, ANNOTATIONS = "images", "annotations"


class Coco(PictureWriter):
    """`images/` and `annotations.json`; ids count from 1 in the order of the export."""

    name = "COCO"
    tasks = (
        TaskType.OBJECT_DETECTION.value,
        TaskType.ORIENTED_OBJECT_DETECTION.value,
        TaskType.IMAGE_SEGMENTATION.value,
    )

    def picture(self, whole: WholeInference, width: int, height: int) -> Iterator[Output]:
        image_id, inference_id = self.counters[IMAGES], whole.inference.inference_id
        image = {"id": image_id, "width": width, "height": height, "file_name": file_name(whole)}
        yield self._item(IMAGES, image | {"inference_id": inference_id})
        for position, entry in self.classed(whole):
            if (shape := self._shape(entry, width, height)) is None:
                continue
            self.counters[ANNOTATIONS] += 1
            told = {
                "id": self.counters[ANNOTATIONS],
                "image_id": image_id,
                "category_id": position + 1,
                "bbox": shape.bbox,
                "area": shape.area,
                "segmentation": shape.segmentation,
                "iscrowd": 0,
                "inference_id": inference_id,
            }
            if entry.score is not None:
                told["score"] = entry.score
            yield self._item(ANNOTATIONS, told)

    def _item(self, stream: str, content: dict[str, Any]) -> Piece:
        """The next item of a list: all but the first after a comma."""
        return Piece(stream, (b",\n" if self.counters[stream] > 1 else b"\n") + json_bytes(content))

    def _shape(self, entry: Entry, width: int, height: int) -> "Shape | None":
        try:
            shape = shape_of(entry.geometry or {}, width, height)
        except ValueError:
            self.counters["skipped_unreadable_masks"] += 1
            return None
        if shape is None or not 0 < shape.area < math.inf or not all(map(math.isfinite, shape.bbox)):
            self.counters["skipped_entries_without_shape"] += 1
            return None
        return shape

    def closing(self) -> Iterator[Joined]:
        info = {"description": f"Inferences of {self.plan.model_id}", "version": "1"}
        categories = [
            {"id": position + 1, "name": label, "supercategory": ""}
            for position, label in enumerate(self.plan.labels)
        ]
        opening = b'{"info":' + json_bytes(info) + b',"licenses":[],"categories":' + json_bytes(categories)
        yield Joined(
            "annotations.json",
            [opening + b',"images":[', IMAGES, b'],\n"annotations":[', ANNOTATIONS, b"]}\n"],
        )


@dataclass(frozen=True, slots=True)
class Shape:
    """A box as x, y, width, height, an area, and polygons or run lengths, all in pixels."""

    bbox: tuple[float, float, float, float]
    area: float
    segmentation: list[list[float]] | dict[str, Any]


def shape_of(geometry: dict[str, Any], width: int, height: int) -> Shape | None:
    """The shape on a picture of that size; None where there is none, ValueError for an unreadable mask."""
    if (box := geometry.get("bbox")) is not None:
        left, right = sorted((float(box["xmin"]), float(box["xmax"])))
        top, bottom = sorted((float(box["ymin"]), float(box["ymax"])))
        bbox = (left, top, right - left, bottom - top)
        return Shape(bbox, area=bbox[2] * bbox[3], segmentation=[])
    if (box := geometry.get("oriented_bbox")) is not None:
        return _of_rings([oriented_corners(box, width, height)])
    if "rle" in geometry:
        return _of_mask(geometry["rle"], width, height)
    rings = geometry.get("contours") or []
    return _of_rings([[(float(point["x"]), float(point["y"])) for point in ring] for ring in rings])


def _of_mask(rle: dict[str, Any], width: int, height: int) -> Shape | None:
    rows, columns = rle["size"]
    if (rows, columns) != (height, width):
        # COCO's masks have their picture's size; another's edges can be scaled, its pixels can't.
        return _of_rings(
            [
                [(point["x"] * width / columns, point["y"] * height / rows) for point in ring]
                for ring in contours_of(rle)
            ]
        )
    spans = spans_of(rle)
    if not spans:
        return None
    runs, at, top, bottom = [], 0, rows, 0
    for start, end in spans:
        runs += [start - at, end - start]
        at = end
        column, row = divmod(start, rows)
        last, below = divmod(end - 1, rows)
        # A run that goes on in the next column touches both borders.
        top = min(top, row if column == last else 0)
        bottom = max(bottom, below + 1 if column == last else rows)
    if at < rows * columns:
        runs.append(rows * columns - at)
    left, right = spans[0][0] // rows, (spans[-1][1] - 1) // rows + 1
    return Shape(
        bbox=(left, top, right - left, bottom - top),
        area=sum(end - start for start, end in spans),
        segmentation={"size": [rows, columns], "counts": run_string(runs)},
    )


def _of_rings(rings: list[Ring]) -> Shape | None:
    """Rings as polygons. COCO knows no holes: where there are some, all becomes one polygon."""
    found = [(ring, area) for ring in rings if ring and (area := signed_area(ring))]
    if not found:
        return None
    bounds = np.array([[*np.min(ring, axis=0), *np.max(ring, axis=0)] for ring, _ in found])
    hole = _holes(bounds, np.array([area for _, area in found]))
    kept = [ring for ring, _ in found]
    left, top = (float(side) for side in bounds[:, :2].min(axis=0))
    right, bottom = (float(side) for side in bounds[:, 2:].max(axis=0))
    return Shape(
        bbox=(left, top, right - left, bottom - top),
        area=sum(-abs(area) if hole[position] else abs(area) for position, (_, area) in enumerate(found)),
        segmentation=[_flat(_through_keyholes(kept))] if hole.any() else [_flat(ring) for ring in kept],
    )


def _holes(bounds: np.ndarray[Any, Any], areas: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Which rings are holes: within another's bounds, and the other way round than the largest ring."""
    against: np.ndarray[Any, Any] = np.sign(areas) != np.sign(areas[np.abs(areas).argmax()])
    outer = bounds[~against]
    for position in np.flatnonzero(against):
        within = (outer[:, :2] <= bounds[position, :2]) & (outer[:, 2:] >= bounds[position, 2:])
        against[position] = within.all(axis=1).any()
    return against


def _through_keyholes(rings: list[Ring]) -> Ring:
    """One polygon that is all rings by the even-odd rule, which fills polygons in COCO's tools.

    The ways from ring to ring are walked there and back, and so bound nothing.
    """
    there = [point for ring in rings for point in (*ring, ring[0])]
    back = [ring[0] for ring in rings[-2:0:-1]]
    return there + back


def _flat(ring: Ring) -> list[float]:
    return [coordinate for point in ring for coordinate in point]
