"""Oriented Object Detection: coins and lines of text on a desk scanner, each in its smallest rectangle.

Shapes are found by threshold and contour, the rectangle is OpenCV's `minAreaRect`. Pictures: the Pompeian
coins and the printed page of scikit-image, laid down at any angle.
"""

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inference_store.contract.enums import InferenceAction, TaskType
from inference_store.demo.base import DemoModel, Sample
from inference_store.demo.pictures import Picture, bundled, jpeg, take
from inference_store.demo.places import dice

SIZE = (384, 288)
LARGE_COIN = 40
"""Millimetres can't be known; pixels of the unzoomed scan can."""
LEAST_SCORE = 0.15
PAPER = 215
"""The gray of a white sheet."""


def _coin_mask(gray: Picture) -> Picture:
    """What stands out from its surroundings, closed: the scan's background is lit unevenly."""
    smooth = cv2.GaussianBlur(gray, (5, 5), 0)
    surroundings = cv2.blur(smooth.astype(np.float32), (81, 81))
    mask = ((smooth - surroundings > 8) * 255).astype(np.uint8)
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7)))
    return np.asarray(
        cv2.morphologyEx(closed, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))),
        dtype=np.uint8,
    )


def _text_mask(gray: Picture) -> Picture:
    """Ink, smeared until the letters of a line hang together but the lines don't."""
    ink = cv2.adaptiveThreshold(
        cv2.GaussianBlur(gray, (3, 3), 0), 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, 31, 14
    )
    angle = _direction(np.asarray(ink))
    reach = 13
    line = np.zeros((2 * reach + 1, 2 * reach + 1), dtype=np.uint8)
    dx, dy = math.cos(angle) * reach, math.sin(angle) * reach
    ends = [(round(reach + sign * dx), round(reach + sign * dy)) for sign in (-1, 1)]
    cv2.line(line, ends[0], ends[1], 1, 1)
    return np.asarray(cv2.morphologyEx(ink, cv2.MORPH_CLOSE, line), dtype=np.uint8)


def _direction(ink: NDArray[Any]) -> float:
    """The angle along which the ink falls into the sharpest rows, in radians."""
    y, x = np.nonzero(ink)
    angles = np.radians(np.arange(-40, 40.5, 1.0))

    def sharpness(angle: float) -> float:
        rows = np.round(y * math.cos(angle) - x * math.sin(angle)).astype(int)
        return float(np.bincount(rows - rows.min()).astype(float).var()) if len(rows) else 0.0

    return float(max(angles, key=sharpness))


def detect(gray: Picture, kind: str, zoom: float) -> list[dict[str, Any]]:
    """Rectangles, surest first: normalised to the picture, `r` in radians, clockwise on the screen."""
    tall, wide = gray.shape
    mask = _coin_mask(gray) if kind == "coins" else _text_mask(gray)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    entries = []
    for contour in contours:
        (cx, cy), (w, h), degrees = cv2.minAreaRect(contour)
        if not _plausible(kind, w, h) or not _inside(cx, cy, w, h, degrees, wide, tall):
            continue
        score = _roundness(contour, w, h) if kind == "coins" else _fullness(contour, w, h)
        if score < LEAST_SCORE:
            continue
        label = "text line" if kind != "coins" else _coin_label(math.sqrt(w * h) / zoom)
        box = {"cx": cx / wide, "cy": cy / tall, "w": w / wide, "h": h / tall, "r": math.radians(degrees)}
        entries.append(
            {
                "label": label,
                "score": round(score, 5),
                "oriented_bbox": {name: round(float(value), 6) for name, value in box.items()},
            }
        )
    return sorted(entries, key=lambda entry: -float(str(entry["score"])))


def _plausible(kind: str, w: float, h: float) -> bool:
    short, long = sorted((w, h))
    return short >= 18 and long <= 120 if kind == "coins" else 6 <= short <= 40 and long >= 30


def _inside(cx: float, cy: float, w: float, h: float, degrees: float, wide: int, tall: int) -> bool:
    corners = cv2.boxPoints(((cx, cy), (w, h), degrees))
    return bool((corners >= 0).all() and (corners[:, 0] <= wide).all() and (corners[:, 1] <= tall).all())


def _roundness(contour: NDArray[Any], w: float, h: float) -> float:
    """1 for a circle: how far the area fills the ellipse in the rectangle, times the sides' ratio."""
    fill = cv2.contourArea(contour) / (math.pi / 4 * w * h)
    return max(0.0, 1 - abs(1 - fill) * 2) * min(w, h) / max(w, h)


def _fullness(contour: NDArray[Any], w: float, h: float) -> float:
    return min(1.0, float(cv2.contourArea(contour)) / (w * h) * 1.15)


def _coin_label(diameter: float) -> str:
    return "large coin" if diameter >= LARGE_COIN else "small coin"


@cache
def _sheet(kind: str) -> Picture:
    """The picture; the page evenly lit and with a margin, as it would lie on the glass."""
    sheet = np.asarray(bundled(kind), dtype=np.uint8)
    if kind == "coins":
        return sheet
    paper = cv2.GaussianBlur(cv2.dilate(sheet, np.ones((15, 15), dtype=np.uint8)), (31, 31), 0)
    even = np.clip(sheet / np.maximum(paper, 1.0) * PAPER, 0, 255).astype(np.uint8)
    return np.pad(even, ((120, 120), (50, 50)), constant_values=PAPER)


def samples(count: int) -> Iterator[Sample]:
    for number in range(count):
        chance = dice(f"desk-scanner/{number}")
        kind = "coins" if chance.random() < 0.65 else "page"
        zoom = (1.2, 2.2) if kind == "coins" else (1.0, 1.25)
        frame = take(_sheet(kind), chance, SIZE, zoom=zoom, degrees=25)
        entries = detect(frame.picture, kind, frame.zoom)
        tilt = float(np.median([_upright(e["oriented_bbox"]) for e in entries])) if entries else 0.0
        yield Sample(
            number=number,
            blob=jpeg(frame.picture),
            entries=entries,
            metadata={
                "sheet": kind,
                "shapes": len(entries),
                "median_tilt": round(tilt, 3),
                "brightness": frame.brightness,
                **frame.metadata,
            },
        )


def _upright(box: dict[str, float]) -> float:
    """The tilt of the long side against the horizontal, in degrees within ±90."""
    degrees = math.degrees(box["r"]) + (90 if box["h"] * SIZE[1] > box["w"] * SIZE[0] else 0)
    return (degrees + 90) % 180 - 90


MODEL = DemoModel(
    "desk-scanner",
    TaskType.ORIENTED_OBJECT_DETECTION,
    InferenceAction.DETECT,
    count=280,
    samples=samples,
)
