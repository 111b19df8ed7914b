"""Image Classification: handwritten digits, by logistic regression learnt on the other half of them."""

from collections.abc import Iterator

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from inference_store.contract.enums import InferenceAction, TaskType
from inference_store.demo.base import DemoModel, Sample
from inference_store.demo.pictures import png

UPSCALING = 16
SHARPNESS = 0.3
"""Of the regularisation: small, so that the model also doubts, and doubt is what one filters for."""


def samples(count: int) -> Iterator[Sample]:
    digits = load_digits()
    learnt, shown, truth_learnt, truth_shown = train_test_split(
        digits.data / 16, digits.target, test_size=0.5, random_state=7, stratify=digits.target
    )
    model = LogisticRegression(C=SHARPNESS, max_iter=300).fit(learnt, truth_learnt)
    probabilities = model.predict_proba(shown)
    for number in range(min(count, len(shown))):
        pixels = shown[number].reshape(8, 8)
        picture = np.kron(np.round(255 - pixels * 255), np.ones((UPSCALING, UPSCALING))).astype(np.uint8)
        scores = probabilities[number]
        order = np.argsort(-scores)
        truth = int(truth_shown[number])
        yield Sample(
            number=number,
            blob=png(picture),
            entries=[{"label": str(digit), "score": round(float(scores[digit]), 6)} for digit in order],
            metadata={
                "truth": truth,
                "verdict": "right" if order[0] == truth else "wrong",
                "margin": round(float(scores[order[0]] - scores[order[1]]), 6),
                "ink": round(float(pixels.mean()), 4),
            },
        )


MODEL = DemoModel(
    "digits-classifier",
    TaskType.IMAGE_CLASSIFICATION,
    InferenceAction.PREDICT_PROBA,
    count=899,
    samples=samples,
)
