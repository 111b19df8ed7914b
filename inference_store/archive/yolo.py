"""YOLO: pictures, a text of boxes for each, and `data.yaml`."""

import math
from collections.abc import Iterator
from typing import Any

from inference_store.archive.base import File, Joined, Output, stem
from inference_store.archive.pictures import PictureWriter, signed_area
from inference_store.contract.enums import TaskType
from inference_store.contract.geometry import oriented_corners
from inference_store.query.whole import WholeInference

DIGITS = 8


class Yolo(PictureWriter):
    """`images/`, `labels/` and `data.yaml`, in the order of labels.

    Trainers refuse a picture with a coordinate outside it: what overhangs is cut off, and counted.
    """

    name = "YOLO"
    tasks = (TaskType.OBJECT_DETECTION.value, TaskType.ORIENTED_OBJECT_DETECTION.value)

    def picture(self, whole: WholeInference, width: int, height: int) -> Iterator[Output]:
        lines = []
        for position, entry in self.classed(whole):
            numbers = self._numbers(entry.geometry or {}, width, height)
            if numbers is None:
                self.counters["skipped_entries_without_shape"] += 1
                continue
            self.counters["boxes"] += 1
            told = " ".join(f"{number:.{DIGITS}f}" for number in numbers)
            lines.append(f"{position} {told}\n")
        yield File(f"labels/{stem(whole.inference.inference_id)}.txt", "".join(lines).encode())

    def _numbers(self, geometry: dict[str, Any], width: int, height: int) -> list[float] | None:
        """The box in parts of the picture, or its four corners; None where no part of it is inside."""
        if (box := geometry.get("bbox")) is not None:
            xs = [float(box["xmin"]), float(box["xmax"])]
            ys = [float(box["ymin"]), float(box["ymax"])]
        elif (box := geometry.get("oriented_bbox")) is not None:
            corners = oriented_corners(box, width, height)
            xs, ys = [x for x, _ in corners], [y for _, y in corners]
        else:
            return None
        if not all(math.isfinite(number) for number in xs + ys):
            return None
        inside_x, inside_y = _clipped(xs, width), _clipped(ys, height)
        if len(xs) == 2:
            (left, right), (top, bottom) = sorted(inside_x), sorted(inside_y)
            numbers = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
        else:
            numbers = [number for corner in zip(inside_x, inside_y, strict=True) for number in corner]
        numbers = [round(number, DIGITS) for number in numbers]
        if not _has_extent(numbers):
            return None
        if min(xs) < 0 or min(ys) < 0 or max(xs) > width or max(ys) > height:
            self.counters["clipped_boxes"] += 1
        return numbers

    def closing(self) -> Iterator[Joined]:
        # No `path`: trainers then look beside this file, and not in the directory they were started in.
        names = [f"  {position}: {_quoted(label)}\n" for position, label in enumerate(self.plan.labels)]
        told = "train: images\nval: images\nnames:" + ("\n" + "".join(names) if names else " {}\n")
        yield Joined("data.yaml", [told.encode()])


def _has_extent(numbers: list[float]) -> bool:
    """Of a box its width and height; of four corners their area."""
    if len(numbers) == 4:
        return min(numbers[2:]) > 0
    return signed_area(list(zip(numbers[::2], numbers[1::2], strict=True))) != 0


def _clipped(numbers: list[float], length: int) -> list[float]:
    return [min(max(number / length, 0.0), 1.0) for number in numbers]


def _quoted(label: str) -> str:
    """As a double-quoted scalar of YAML. Not JSON: its pairs of surrogates are two characters in YAML."""
    plain = (each if each.isprintable() and each not in '"\\' else f"\\U{ord(each):08x}" for each in label)
    return f'"{"".join(plain)}"'
