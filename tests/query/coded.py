"""Embeddings that have codes, and how searches go about them."""

import numpy as np

from inference_store.models import Inference, VectorIndex
from inference_store.query import neighbours
from inference_store.services import vector_indexes
from tests.making import make_model
from tests.neighbourhood import clustered, distances, nearest, plant, share_found

SIZE = 200
"""So codes fill neither whole words nor whole numbers of them."""
ALL = {"time_window_filter": {"start": "2000-01-01T00:00:00Z"}}


class Planted:
    """A model with two indexes and some newer embeddings."""

    def __init__(self, size=SIZE, change=lambda vectors: vectors):
        self.model = make_model(embedding_size=size)
        self.vectors, self.cluster = clustered(4_700, size)
        self.vectors = change(self.vectors)
        self.vectors[7] = 0
        self.keys: list[int] = []
        for first, after in ((0, 3_000), (3_000, 4_500), (4_500, 4_700)):
            self.keys += plant(self.model, self.vectors[first:after], self.cluster[first:after], first)
            if after < 4_700:
                vector_indexes.build_due(self.model)
        rows = Inference.objects.filter(pk__in=self.keys).order_by("pk").values_list("metadata", flat=True)
        self.at = np.array([metadata["float"]["at"] for metadata in rows])

    def chain(self):
        return VectorIndex.objects.chain(self.model, neighbours.COSINE)

    def find(self, query, passing, filters, limit=50):
        rows = nearest(self.model, query, filters=filters, limit=limit)
        return share_found(rows, distances("cosine", query, self.vectors[passing]), limit)


def below(value):
    return {"metadata_filter": [{"key": "at", "operator": "<", "type": "float", "value": repr(value)}]}


def count_read(monkeypatch):
    """How many embeddings each search has read, of those that have codes or might have."""
    counts = []
    real = neighbours._Search._nearest_of

    def counting(self, older, newer, count):
        counts.append(len(older))
        return real(self, older, newer, count)

    monkeypatch.setattr(neighbours._Search, "_nearest_of", counting)
    return counts


def note_by_codes(monkeypatch):
    """What each search by the codes of all found, None where it could not."""
    monkeypatch.setattr(neighbours, "FEW_IN_LISTS", 0)
    found = []
    real = neighbours._Search._by_codes

    def noting(self, depth):
        found.append(real(self, depth))
        return found[-1]

    monkeypatch.setattr(neighbours._Search, "_by_codes", noting)
    return found
