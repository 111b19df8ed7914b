"""Object Detection with two labels: compact and extended sources in the Hubble deep field.

Sources are what rises above the background by several deviations (iteratively clipped); the score is the
signal-to-noise ratio, bent into 0 to 1.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference_store.contract.enums import InferenceAction, TaskType
from inference_store.demo.base import DemoModel, Sample
from inference_store.demo.pictures import Picture, as_gray, as_rgb, bundled, jpeg, take
from inference_store.demo.places import dice

SIZE = (320, 320)
LEAST_AREA = 14
DEVIATIONS = 6.0
SURE_BY = 14.0
MOST_SOURCES = 40
"""Of a frame, the brightest."""


def _background(light: NDArray[np.float64]) -> tuple[float, float]:
    """Median and deviation of what is no source."""
    dark = light.ravel()
    for _ in range(5):
        centre, spread = float(np.median(dark)), float(dark.std())
        dark = dark[np.abs(dark - centre) < 3 * max(spread, 1e-6)]
    return float(np.median(dark)), max(float(dark.std()), 1.0)


def detect(picture: Picture) -> list[dict[str, Any]]:
    """Sources, brightest first, with boxes in pixels; an elongated or wide one is extended."""
    light = ndimage.gaussian_filter(as_gray(picture).astype(np.float64), 1.0)
    level, spread = _background(light)
    regions, _ = ndimage.label(light > level + DEVIATIONS * spread)
    entries = []
    for index, window in enumerate(ndimage.find_objects(regions), start=1):
        inside = regions[window] == index
        area = int(inside.sum())
        if area < LEAST_AREA:
            continue
        strength = float((light[window][inside].mean() - level) / spread)
        tall, wide = inside.shape
        compact = area < 90 and min(tall, wide) / max(tall, wide) > 0.75
        entries.append(
            {
                "label": "compact" if compact else "extended",
                "score": round(1 - math.exp((DEVIATIONS - 1 - strength) / SURE_BY), 5),
                "bbox": {
                    "xmin": int(window[1].start),
                    "ymin": int(window[0].start),
                    "xmax": int(window[1].stop),
                    "ymax": int(window[0].stop),
                },
            }
        )
    return sorted(entries, key=lambda entry: -float(str(entry["score"])))[:MOST_SOURCES]


def samples(count: int) -> Iterator[Sample]:
    field = as_rgb(bundled("hubble_deep_field"))
    for number in range(count):
        chance = dice(f"sky-survey/{number}")
        frame = take(field, chance, SIZE, zoom=(2.6, 4.5))
        entries = detect(frame.picture)
        yield Sample(
            number=number,
            blob=jpeg(frame.picture),
            entries=entries,
            metadata={
                "sources": len(entries),
                "band": ("f450w", "f606w", "f814w")[number % 3],
                "brightness": frame.brightness,
                **frame.metadata,
            },
        )


MODEL = DemoModel("sky-survey", TaskType.OBJECT_DETECTION, InferenceAction.DETECT, count=120, samples=samples)
