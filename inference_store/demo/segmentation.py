"""Image Segmentation: stained tissue and nuclei under the microscope, as contours.

The picture is scikit-image's immunohistochemistry slide. Its stains are unmixed into DAB (brown) and
haematoxylin (blue); a watershed parts nuclei that touch.
"""

import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import color, feature, filters, segmentation

from inference_store.contract.enums import InferenceAction, TaskType
from inference_store.demo.base import DemoModel, Sample
from inference_store.demo.pictures import Picture, bundled, jpeg, take
from inference_store.demo.places import dice

# scikit-image says no types.
peak_local_max: Callable[..., NDArray[Any]] = feature.peak_local_max
threshold_otsu: Callable[..., float] = filters.threshold_otsu
watershed: Callable[..., NDArray[Any]] = segmentation.watershed

SIZE = (256, 256)
AREAS = {"nucleus": (70, 1_500), "stained": (250, SIZE[0] * SIZE[1])}
LEAST_HOLE = 20
TOLERANCE = 0.8
"""Pixels by which a contour may be simplified."""


@cache
def _thresholds() -> tuple[float, float]:
    """Otsu's thresholds of both stains over the whole slide."""
    stains = color.rgb2hed(bundled("immunohistochemistry"))
    return float(threshold_otsu(stains[:, :, 0])), float(threshold_otsu(stains[:, :, 2]))


def segment(picture: Picture) -> list[dict[str, Any]]:
    """Segments, surest first: an outer ring each, followed by the rings of its holes."""
    stains = color.rgb2hed(picture)
    blue, brown = (ndimage.gaussian_filter(stains[:, :, channel], 1.2) for channel in (0, 2))
    at_blue, at_brown = _thresholds()
    stained = ndimage.binary_opening(brown > at_brown, iterations=2)
    nuclei = ndimage.binary_opening((blue > at_blue) & ~stained, iterations=2)
    depth = ndimage.distance_transform_edt(nuclei)
    peaks = peak_local_max(ndimage.gaussian_filter(depth, 1.0), min_distance=6, labels=nuclei.astype(int))
    markers = np.zeros(nuclei.shape, dtype=np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    parted = watershed(-depth, markers, mask=nuclei)
    entries = [
        *_segments("nucleus", parted, (blue - at_blue) / blue.std()),
        *_segments("stained", ndimage.label(stained)[0], (brown - at_brown) / brown.std()),
    ]
    return sorted(entries, key=lambda entry: -float(str(entry["score"])))


def _segments(label: str, regions: NDArray[Any], contrast: NDArray[Any]) -> Iterator[dict[str, Any]]:
    for index, window in enumerate(ndimage.find_objects(regions), start=1):
        if window is None:
            continue
        inside = regions[window] == index
        least, most = AREAS[label]
        if not least <= inside.sum() <= most:
            continue
        rings = _rings(inside.astype(np.uint8), (window[1].start, window[0].start))
        if rings:
            score = 1 / (1 + math.exp(-3 * float(contrast[window][inside].mean())))
            yield {"label": label, "score": round(score, 5), "contours": rings}


def _rings(mask: Picture, offset: tuple[int, int]) -> list[list[dict[str, int]]]:
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=offset)
    # The outer one is the largest; holes follow.
    ordered = sorted(
        (contour for contour in contours if cv2.contourArea(contour) >= LEAST_HOLE),
        key=cv2.contourArea,
        reverse=True,
    )
    simple = [cv2.approxPolyDP(contour, TOLERANCE, True)[:, 0] for contour in ordered]
    return [[{"x": int(x), "y": int(y)} for x, y in ring] for ring in simple if len(ring) >= 3]


def samples(count: int) -> Iterator[Sample]:
    slide = bundled("immunohistochemistry")
    for number in range(count):
        chance = dice(f"tissue-segmenter/{number}")
        frame = take(slide, chance, SIZE, zoom=(2.2, 4.2), light=(0.94, 1.04))
        entries = segment(frame.picture)
        yield Sample(
            number=number,
            blob=jpeg(frame.picture),
            entries=entries,
            metadata={
                "slide": f"ihc-{1 + number % 6}",
                "nuclei": sum(entry["label"] == "nucleus" for entry in entries),
                "brightness": frame.brightness,
                **frame.metadata,
            },
        )


MODEL = DemoModel(
    "tissue-segmenter", TaskType.IMAGE_SEGMENTATION, InferenceAction.PREDICT, count=220, samples=samples
)
