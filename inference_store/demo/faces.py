"""Object Detection: faces in photographs. A cascade proposes boxes, a classifier says how sure it is.

The cascade is the LBP one that scikit-image carries. The classifier learns from half of the 200 portraits and
backgrounds of scikit-image's subset of Labeled Faces in the Wild; the other half appears in the frames.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data
from skimage.feature import Cascade, hog
from sklearn.linear_model import LogisticRegression

from inference_store.contract.enums import InferenceAction, TaskType
from inference_store.demo.base import DemoModel, Sample
from inference_store.demo.pictures import Frame, Picture, as_gray, as_rgb, bundled, jpeg, photograph, take
from inference_store.demo.places import dice

bundled_cascade: Callable[[], str] = data.lbp_frontal_face_cascade_filename

SIZE = (320, 240)
PATCH = 25
SHRINKING = 2
"""The cascade looks at a smaller picture: four times as fast, and faces here are large."""
LEAST_SCORE = 0.1
PORTRAITS = 100
"""The subset's first half are faces, its second half are not."""
EMPTY_SCENES = ("coffee", "rocket", "chelsea", "china", "camera")


def _features(patches: NDArray[Any]) -> NDArray[np.float64]:
    return np.array(
        [hog(patch, orientations=8, pixels_per_cell=(5, 5), cells_per_block=(2, 2)) for patch in patches]
    )


@cache
def _tools() -> tuple[Cascade, LogisticRegression]:
    patches = bundled("lfw_subset")
    learnt = np.concatenate([patches[:PORTRAITS:2], patches[PORTRAITS::2]])
    mirrored = np.concatenate([learnt, learnt[:, :, ::-1]])
    truth = np.tile(np.repeat([1, 0], len(learnt) // 2), 2)
    model = LogisticRegression(C=1.0, max_iter=300).fit(_features(mirrored), truth)
    return Cascade(bundled_cascade()), model


def detect(picture: Picture) -> list[dict[str, Any]]:
    """Faces, surest first, with boxes in pixels."""
    cascade, model = _tools()
    gray = as_gray(picture)
    tall, wide = gray.shape
    small = cv2.resize(gray, (wide // SHRINKING, tall // SHRINKING), interpolation=cv2.INTER_AREA)
    found = cascade.detect_multi_scale(
        img=small,
        scale_factor=1.25,
        step_ratio=1,
        min_size=(28, 28),
        max_size=(90, 90),
        min_neighbor_number=2,
    )
    if not found:
        return []
    sides = [(b["c"], b["r"], b["c"] + b["width"], b["r"] + b["height"]) for b in found]
    boxes = [
        (x0 * SHRINKING, y0 * SHRINKING, min(x1 * SHRINKING, wide), min(y1 * SHRINKING, tall))
        for x0, y0, x1, y1 in sides
    ]
    patches = [
        cv2.resize(gray[y0:y1, x0:x1], (PATCH, PATCH), interpolation=cv2.INTER_AREA) / 255
        for x0, y0, x1, y1 in boxes
    ]
    scores = model.predict_proba(_features(np.array(patches)))[:, 1]
    entries = [
        {
            "label": "face",
            "score": round(float(score), 5),
            "bbox": dict(zip(("xmin", "ymin", "xmax", "ymax"), map(int, box), strict=True)),
        }
        for box, score in zip(boxes, scores, strict=True)
        if score >= LEAST_SCORE
    ]
    return sorted(entries, key=lambda entry: -entry["score"])


def _crowd(chance: np.random.Generator) -> Picture:
    """A wall of portraits that the classifier has not seen, some places left to what is no face."""
    patches = bundled("lfw_subset")
    faces, others = patches[1:PORTRAITS:2], patches[PORTRAITS + 1 :: 2]
    rows, columns = int(chance.integers(2, 4)), int(chance.integers(3, 5))
    wall = np.full((rows * 120, columns * 120), 200, dtype=np.uint8)
    for row in range(rows):
        for column in range(columns):
            pool = faces if chance.random() < 0.6 else others
            patch = (pool[int(chance.integers(0, len(pool)))] * 255).astype(np.uint8)
            portrait = cv2.resize(patch, (100, 100), interpolation=cv2.INTER_CUBIC)
            wall[row * 120 + 10 : row * 120 + 110, column * 120 + 10 : column * 120 + 110] = portrait
    return as_rgb(wall)


def _frame(number: int) -> tuple[str, Frame]:
    chance = dice(f"face-finder/{number}")
    kind = chance.random()
    if kind < 0.4:
        # The upper part, where the astronaut's face is.
        return "astronaut", take(photograph("astronaut")[:260, 60:420], chance, SIZE, zoom=(1.0, 1.6))
    if kind < 0.75:
        return "portrait wall", take(_crowd(chance), chance, SIZE, zoom=(1.0, 1.25))
    scene = EMPTY_SCENES[int(chance.integers(0, len(EMPTY_SCENES)))]
    return scene, take(photograph(scene), chance, SIZE)


def samples(count: int) -> Iterator[Sample]:
    for number in range(count):
        scene, frame = _frame(number)
        entries = detect(frame.picture)
        yield Sample(
            number=number,
            blob=jpeg(frame.picture),
            entries=entries,
            metadata={
                "scene": scene,
                "faces": len(entries),
                "brightness": frame.brightness,
                **frame.metadata,
            },
        )


MODEL = DemoModel(
    "face-finder", TaskType.OBJECT_DETECTION, InferenceAction.DETECT, count=240, samples=samples
)
