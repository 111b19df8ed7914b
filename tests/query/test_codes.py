"""Codes tell which of many matches may be near, and what they leave out is not."""

from hashlib import shake_256

import numpy as np
import pytest
from cachetools import LRUCache
from django.db import transaction

from inference_store.models import Embedding, Inference, UnitEmbedding, VectorCodes, VectorIndex
from inference_store.query import codes, column_cache, neighbours
from inference_store.services import deletion, vector_codes, vector_indexes
from tests.making import make_model
from tests.neighbourhood import clustered, distances, make_units, nearest, plant, share_found

pytestmark = pytest.mark.django_db(transaction=True)
SIZE = 200
"""So codes fill neither whole words nor whole numbers of them."""
planting = clustered
ALL = {"time_window_filter": {"start": "2000-01-01T00:00:00Z"}}


@pytest.fixture(autouse=True)
def of_a_hundred_on(settings, monkeypatch):
    settings.VECTOR_INDEX_ROWS = 1_000
    monkeypatch.setattr(neighbours, "CODED_FROM", 100)
    yield
    VectorIndex.objects.all().delete()
    vector_indexes.drop_unneeded()


@pytest.fixture
def read(monkeypatch):
    """How many embeddings each search has read, of those that have codes or might have."""
    counts = []
    real = neighbours._Search._nearest_of

    def counting(self, older, newer, count):
        counts.append(len(older))
        return real(self, older, newer, count)

    monkeypatch.setattr(neighbours._Search, "_nearest_of", counting)
    return counts


class Planted:
    """A model with two indexes and some newer embeddings."""

    def __init__(self, size=SIZE, positive=0):
        self.model = make_model(embedding_size=size)
        self.vectors, self.cluster = planting(4_700, size)
        self.vectors[:positive] = np.abs(self.vectors[:positive])
        self.vectors[7] = 0
        self.keys: list[int] = []
        for first, after in ((0, 3_000), (3_000, 4_500), (4_500, 4_700)):
            self.keys += plant(self.model, self.vectors[first:after], self.cluster[first:after], first)
            if after < 4_700:
                vector_indexes.build_due(self.model)
        rows = Inference.objects.order_by("pk").values_list("metadata", flat=True)
        self.at = np.array([metadata["float"]["at"] for metadata in rows])

    def chain(self):
        return VectorIndex.objects.chain(self.model, neighbours.COSINE)

    def find(self, query, passing, filters, limit=50):
        rows = nearest(self.model, query, filters=filters, limit=limit)
        return share_found(rows, distances("cosine", query, self.vectors[passing]), limit)


def below(value):
    return {"metadata_filter": [{"key": "at", "operator": "<", "type": "float", "value": repr(value)}]}


def sides_of(vectors):
    """On which side of each plane they lie: by products with what is at right angles to it, in no haste."""
    size = vectors.shape[1]
    flips = np.where(
        np.unpackbits(np.frombuffer(shake_256(codes.SIGNS).digest(-(-size // 8)), np.uint8)), 1, -1
    )
    along = 2 * np.pi * np.outer(np.arange(size // 2 + 1), np.arange(size)) / size
    planes = np.concatenate([np.cos(along), -np.sin(along)[1 : (size + 1) // 2]])
    return (vectors * flips[:size]).astype(np.float64) @ planes.T > 0


@pytest.mark.parametrize("size", [1, 2, 5, 64, 129])
def test_a_code_has_a_bit_a_number(size):
    vectors = np.random.default_rng(size).normal(size=(20, size)).astype(np.float32)
    expected = sides_of(vectors)
    assert expected.shape == (20, size)
    found = np.unpackbits(codes.codes_of(vectors), axis=1)
    assert found.shape == (20, -(-size // 8) * 8)
    assert np.array_equal(found[:, :size], expected)
    assert not found[:, size:].any()


def test_differences_are_those_of_the_codes():
    planted = Planted()
    query = clustered(1, SIZE, 3)[0][0]
    chain, keys = planted.chain(), np.array(planted.keys[:4_500])
    assert [index.row_count for index in chain] == [3_000, 1_500]
    lengths = np.linalg.norm(planted.vectors[:4_500], axis=1, keepdims=True)
    lengths[7] = 1
    halves = (planted.vectors[:4_500] / lengths).astype(np.float16).astype(np.float32)
    expected = (sides_of(halves) != sides_of(query[None])).sum(axis=1)
    expected[7] = -1  # a zero vector has no code
    found = codes.differences(chain, keys, query)
    assert np.abs(found - expected).max() <= 2  # of those just beside a plane, rounding decides
    assert (found == expected).mean() > 0.99
    some = np.flatnonzero(planted.at[:4_500] < 0.2)
    others = np.sort(np.concatenate([keys[some], [keys[-1] + 10**6]]))
    assert codes.differences(chain, others, query).tolist() == [*found[some].tolist(), -1]


@pytest.mark.parametrize("limit", [1, 20, 60])
def test_recall_and_few_are_read(read, limit):
    planted, shares = Planted(), []
    for number, query in enumerate(clustered(12, SIZE, 5)[0]):
        below_value = (0.2, 0.5, 1.0)[number % 3]
        passing = planted.at < below_value
        read.clear()
        shares.append(planted.find(query, passing, below(below_value), limit))
        assert read[-1] < sum(passing) / 4
        assert len(read) <= 2
    assert np.mean(shares) >= 0.995


@pytest.mark.parametrize("limit", [50, 700])
def test_what_is_far_away_is_not_left_out(limit):
    planted, shares = Planted(), []
    for number, query in enumerate(clustered(12, SIZE, 6)[0]):
        is_of = {"key": "cluster", "operator": "=", "type": "int", "value": str(number)}
        passing = planted.cluster == number
        shares.append(planted.find(query, passing, {"metadata_filter": [is_of]}, limit))
    random = np.random.default_rng(5).normal(0, 4, (6, SIZE)).astype(np.float32)
    shares += [planted.find(query, planted.at < 2, ALL, limit) for query in random]
    assert np.mean(shares) >= 0.995


def test_a_zero_vector():
    planted = Planted()
    query = -planted.vectors[planted.cluster == planted.cluster[7]].mean(axis=0)
    passing = np.isin(planted.cluster, [planted.cluster[7]])
    same = {"key": "cluster", "operator": "=", "type": "int", "value": str(planted.cluster[7])}
    rows = nearest(planted.model, query, filters={"metadata_filter": [same]}, limit=50)
    assert rows[0] == ("7", pytest.approx(1, abs=1e-6))  # the others lie the other way
    assert share_found(rows, distances("cosine", query, planted.vectors[passing]), 50) == 1


def test_a_zero_query_which_is_as_far_from_everything():
    """Though it differs in more signs from some."""
    planted = Planted(positive=1_500)
    assert codes.with_codes(planted.chain(), SIZE)
    zero = np.zeros(SIZE, np.float32)
    assert [key for key, _ in nearest(planted.model, zero, filters=ALL, limit=3)] == ["0", "1", "2"]


def test_what_was_deleted_and_what_was_restored(read):
    planted = Planted()
    query = clustered(1, SIZE, 3)[0][0]
    order = np.argsort(distances("cosine", query, planted.vectors))
    nearest_of_all = [str(number) for number in order[:60]]
    assert [key for key, _ in nearest(planted.model, query, filters=ALL, limit=60)] == nearest_of_all
    with transaction.atomic():
        deletion.delete_rows([planted.keys[number] for number in order[:20]])
    rows = nearest(planted.model, query, filters=ALL, limit=40)
    assert [key for key, _ in rows] == nearest_of_all[20:]
    # An id that was not there when codes were made has none.
    VectorCodes.objects.all().delete()
    VectorIndex.objects.update(spread=None)
    column_cache.forget()
    vector_indexes.build_due(planted.model)
    again = Inference.objects.get(pk=planted.keys[order[30]])
    again.pk, again.inference_id = planted.keys[order[0]], "again"
    again.save(force_insert=True)
    Embedding.objects.create(
        inference_id=again.pk, registered_model=planted.model, vector=planted.vectors[order[0]]
    )
    make_units([again.pk])
    read.clear()
    rows = nearest(planted.model, query, filters=ALL, limit=40)
    assert [key for key, _ in rows] == ["again", *nearest_of_all[20:59]]
    assert read[-1] < 2_000


def test_indexes_of_before_get_codes_and_lose_them_with_the_index():
    planted = Planted()
    made = VectorCodes.objects.count()
    assert made >= 2
    VectorCodes.objects.all().delete()
    VectorIndex.objects.update(spread=None)
    query = clustered(1, SIZE, 3)[0][0]
    neighbours.look_up_again()
    assert not codes.with_codes(planted.chain(), SIZE)
    assert planted.find(query, planted.at < 2, ALL) == 1
    assert vector_codes.make_due(planted.model) == 2
    assert vector_codes.make_due(planted.model) == 0
    assert VectorCodes.objects.count() == made
    assert codes.with_codes(planted.chain(), SIZE)
    first, last = planted.chain()
    first.delete()
    assert set(VectorCodes.objects.values_list("vector_index", flat=True)) == {last.pk}


def test_who_died_while_making_them(monkeypatch):
    monkeypatch.setattr(vector_codes, "READ_AT_ONCE", 100)
    planted = Planted()
    VectorIndex.objects.update(spread=None)
    first, _ = planted.chain()
    VectorCodes.objects.filter(vector_index=first).update(keys=b"", codes=b"")
    column_cache.forget()
    assert vector_codes.make_due(planted.model) == 2
    assert vector_codes.make_due(planted.model) == 0
    query = clustered(1, SIZE, 3)[0][0]
    assert (codes.differences(planted.chain(), np.array(planted.keys[:7]), query) >= 0).all()


def test_an_index_that_goes_away_while_they_are_made(monkeypatch):
    planted = Planted()
    VectorIndex.objects.update(spread=None)
    real = vector_codes._spread

    def spread(index, model):
        found = real(index, model)
        VectorIndex.objects.filter(pk=index.pk).delete()
        return found

    monkeypatch.setattr(vector_codes, "_spread", spread)
    assert vector_codes.make_due(planted.model) == 0
    assert not VectorCodes.objects.exists()


def test_an_index_of_zero_vectors_alone():
    model = make_model(embedding_size=SIZE)
    plant(model, np.zeros((1_200, SIZE), np.float32), np.zeros(1_200, int))
    vector_indexes.build_due(model)
    assert VectorIndex.objects.get().spread == SIZE
    assert not VectorCodes.objects.exists()


@pytest.mark.parametrize("kind", ["few numbers", "one number", "heavy tails", "of one sign", "tiny numbers"])
@pytest.mark.parametrize("limit", [1, 10, 50])
def test_queries_unlike_any_that_was_measured(kind, limit):
    planted, shares = Planted(), []
    random = np.random.default_rng(8)
    for query in random.normal(size=(12, SIZE)).astype(np.float32):
        if kind == "few numbers":
            query[random.permutation(SIZE)[8:]] = 0
        elif kind == "one number":
            query[random.permutation(SIZE)[1:]] = 0
        elif kind == "heavy tails":
            query **= 5
        elif kind == "of one sign":
            np.abs(query, out=query)
        else:
            query[random.permutation(SIZE)[5:]] = 1e-9
        shares.append(planted.find(query, planted.at < 2, ALL, limit))
    assert np.mean(shares) >= 0.995


@pytest.mark.parametrize("change", ["of one sign", "tiny numbers"])
def test_embeddings_of_other_kinds(change, monkeypatch):
    def others(count, size, seed=1):
        vectors, cluster = clustered(count, size, seed)
        if change == "of one sign":
            return np.maximum(vectors, 0), cluster
        vectors[:, 5:] = 1e-9
        return vectors, cluster

    monkeypatch.setitem(globals(), "planting", others)
    planted = Planted()
    shares = [planted.find(query, planted.at < 2, ALL, 10) for query in others(12, SIZE, 7)[0]]
    shares += [planted.find(planted.vectors[number], planted.at < 2, ALL, 10) for number in (1, 2_000, 4_000)]
    assert np.mean(shares) >= 0.995


def test_matches_without_an_embedding(read):
    planted = Planted()
    without = planted.keys[:4_000:2]
    Embedding.objects.filter(pk__in=without).delete()
    UnitEmbedding.objects.filter(pk__in=without).delete()
    VectorIndex.objects.update(spread=None)
    column_cache.forget()
    vector_codes.make_due(planted.model)
    left = np.ones(4_700, bool)
    left[:4_000:2] = False
    assert planted.find(clustered(1, SIZE, 3)[0][0], left, ALL) == 1
    assert len(read) == 1
    assert read[0] < 2_000 + 2_500 / 4


def test_codes_that_tell_too_little_are_not_kept(read):
    planted = Planted(size=16)
    assert all(index.spread > 16 * codes.MOST_SPREAD for index in planted.chain())
    assert not VectorCodes.objects.exists()
    assert vector_codes.make_due(planted.model) == 0
    assert planted.find(clustered(1, 16, 3)[0][0], planted.at < 0.5, below(0.5)) == 1
    assert read == [sum(planted.at[:4_500] < 0.5)]


def test_codes_that_memory_has_no_room_for(read, monkeypatch):
    planted = Planted()
    monkeypatch.setattr(column_cache, "_kept", LRUCache(4_500 * 40 - 1, getsizeof=lambda each: each.nbytes))
    assert planted.find(clustered(1, SIZE, 3)[0][0], planted.at < 0.5, below(0.5)) == 1
    assert read == [sum(planted.at[:4_500] < 0.5)]
    monkeypatch.setattr(column_cache, "_kept", LRUCache(4_500 * 40, getsizeof=lambda each: each.nbytes))
    assert planted.find(clustered(1, SIZE, 3)[0][0], planted.at < 0.5, below(0.5)) == 1
    assert read[-1] < read[0] / 4


@pytest.mark.parametrize("lost", ["keys", "codes"])
def test_an_index_that_goes_away_meanwhile(lost, monkeypatch):
    """Its chain is still remembered: all is read."""
    planted = Planted()
    query = clustered(1, SIZE, 3)[0][0]
    real = codes.kept

    def kept(key, read):
        if key[1] == lost:
            VectorCodes.objects.all().delete()
        return real(key, read)

    monkeypatch.setattr(codes, "kept", kept)
    assert planted.find(query, planted.at < 0.5, below(0.5)) == 1


def test_what_was_not_there_is_looked_for_again(read):
    """As on a replica that is told of an index before it is sent the codes."""
    planted = Planted()
    query, parts = clustered(1, SIZE, 3)[0][0], list(VectorCodes.objects.all())
    VectorCodes.objects.all().delete()
    assert planted.find(query, planted.at < 0.5, below(0.5)) == 1
    VectorCodes.objects.bulk_create(parts)
    assert planted.find(query, planted.at < 0.5, below(0.5)) == 1
    assert read[0] == sum(planted.at[:4_500] < 0.5)
    assert read[1] < read[0] / 4
