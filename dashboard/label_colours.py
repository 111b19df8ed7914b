"""The colours that tell labels apart: one for each label, the same on all pages of its model."""

import zlib
from collections.abc import Iterable

from dashboard.bounded import in_time
from inference_store.models import RegisteredModel
from inference_store.query.facets import labels

AT_ONCE_MS = 50
SERIES = 8
"""Colours there are; the style sheet has as many `series-…` classes."""


class LabelColours:
    """Numbers from 1 to SERIES. No two of the first SERIES labels given share one; others go by hash."""

    def __init__(self, labels: Iterable[str] = ()) -> None:
        self._own: dict[str, int] = {}
        free = set(range(1, SERIES + 1))
        # In an order that counts don't change, so that colours stay while these are the labels.
        for label in sorted(list(labels)[:SERIES]):
            wished = _hashed(label)
            # In steps of three, as those next to each other are more alike.
            self._own[label] = min(free, key=lambda number: 3 * (number - wished) % SERIES)
            free.discard(self._own[label])

    def __getitem__(self, label: str) -> int:
        return self._own.get(label) or _hashed(label)


def _hashed(label: str) -> int:
    return zlib.crc32(label.encode()) % SERIES + 1


BY_HASH = LabelColours()
"""For labels of no model in particular."""


def colours_of(model: RegisteredModel) -> LabelColours:
    """Those of the model's most frequent labels, where these are known in no time."""
    frequent = in_time(lambda: labels(model, SERIES), AT_ONCE_MS) or []
    return LabelColours(label for label, _ in frequent)
