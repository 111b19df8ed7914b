"""Image Embedding: crops of photographs, their gradients and colours reduced to 64 numbers by PCA."""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.feature import hog
from sklearn.decomposition import PCA

from inference_store.contract.enums import InferenceAction, TaskType
from inference_store.demo.base import DemoModel, Sample
from inference_store.demo.pictures import IN_SKIMAGE, Frame, Picture, as_gray, photograph, png, take
from inference_store.demo.places import dice

EMBEDDING_SIZE = 64
SIDE = 96
PHOTOGRAPHS = (*IN_SKIMAGE, "china", "flower")


def _features(patch: Picture) -> NDArray[np.float64]:
    """Histograms of gradients, and of colours weighted to count about as much."""
    gray = cv2.resize(as_gray(patch), (48, 48), interpolation=cv2.INTER_AREA)
    gradients = hog(gray, orientations=8, pixels_per_cell=(8, 8), cells_per_block=(2, 2))
    colours = cv2.resize(patch, (4, 4), interpolation=cv2.INTER_AREA).astype(np.float64).ravel() / 255
    return np.concatenate([gradients, colours * 0.8])


def _frame(number: int) -> tuple[str, Frame]:
    chance = dice(f"patch-embedder/{number}")
    name = PHOTOGRAPHS[int(chance.integers(0, len(PHOTOGRAPHS)))]
    return name, take(photograph(name), chance, (SIDE, SIDE), zoom=(1.4, 4.0))


def samples(count: int) -> Iterator[Sample]:
    frames = [_frame(number) for number in range(max(count, EMBEDDING_SIZE + 1))]
    features = np.array([_features(frame.picture) for _, frame in frames])
    embeddings = PCA(EMBEDDING_SIZE, random_state=7).fit_transform(features)
    for number, (name, frame) in enumerate(frames[:count]):
        metadata: dict[str, Any] = {
            "photograph": name,
            "brightness": frame.brightness,
            "contrast": int(frame.picture.max()) - int(frame.picture.min()),
            **frame.metadata,
        }
        yield Sample(
            number=number,
            blob=png(frame.picture),
            embedding=[round(float(value), 6) for value in embeddings[number]],
            metadata=metadata,
        )


MODEL = DemoModel(
    "patch-embedder",
    TaskType.IMAGE_EMBEDDING,
    InferenceAction.EMBED,
    count=540,
    samples=samples,
    embedding_size=EMBEDDING_SIZE,
)
