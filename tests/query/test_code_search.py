"""Codes tell which of many embeddings may be near, and what they leave out is not."""

import numpy as np
import pytest
from cachetools import LRUCache

from inference_store.query import code_search, codes, column_cache, neighbours
from tests.neighbourhood import clustered, distances, nearest, share_found
from tests.query.coded import ALL, SIZE, Planted, below  # noqa: F401  (`planted` makes one)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def of_a_hundred_on(monkeypatch):
    neighbours.look_up_again()
    monkeypatch.setattr(neighbours, "CODED_FROM", 100)


def test_among_keys_those_without_a_code_are_candidates(planted):
    query = clustered(1, SIZE, 3)[0][0]
    chain, keys = planted.chain(), np.array(planted.keys[:4_500])
    assert [index.row_count for index in chain] == [3_000, 1_500]
    coded = code_search.Coded(chain, query)
    assert coded.is_whole
    assert [len(each.keys) for each in coded.parts] == [2_999, 1_500]  # a zero vector has no code
    some = keys[planted.at[:4_500] < 0.2]
    strange = np.array([keys[7], keys[-1] + 10**6])
    near = coded.among(np.union1d(some, strange), 20)
    assert near.others.tolist() == strange.tolist()
    within, horizon = near.within(near.widest(20))
    assert set(strange) < set(within.tolist())
    assert (np.diff(within) > 0).all()
    assert len(within) < len(some) / 4
    far = distances("cosine", query, planted.vectors[:4_500])
    assert far[np.searchsorted(keys, np.setdiff1d(some, within))].min() > horizon - 0.01
    assert np.sort(far[np.isin(keys, some)])[19] < horizon + 0.01


@pytest.mark.parametrize("limit", [1, 20, 60])
def test_recall_and_few_are_read(planted, read, limit):
    shares = []
    for number, query in enumerate(clustered(12, SIZE, 5)[0]):
        below_value = (0.2, 0.5, 1.0)[number % 3]
        passing = planted.at < below_value
        read.clear()
        shares.append(planted.find(query, passing, below(below_value), limit))
        assert read[-1] < sum(passing) / 4
        assert len(read) <= 2
    assert np.mean(shares) >= 0.995


@pytest.mark.parametrize("limit", [50, 700])
def test_what_is_far_away_is_not_left_out(planted, limit):
    shares = []
    for number, query in enumerate(clustered(12, SIZE, 6)[0]):
        is_of = {"key": "cluster", "operator": "=", "type": "int", "value": str(number)}
        passing = planted.cluster == number
        shares.append(planted.find(query, passing, {"metadata_filter": [is_of]}, limit))
    random = np.random.default_rng(5).normal(0, 4, (6, SIZE)).astype(np.float32)
    shares += [planted.find(query, planted.at < 2, ALL, limit) for query in random]
    assert np.mean(shares) >= 0.995


def test_a_zero_vector(planted):
    query = -planted.vectors[planted.cluster == planted.cluster[7]].mean(axis=0)
    passing = np.isin(planted.cluster, [planted.cluster[7]])
    same = {"key": "cluster", "operator": "=", "type": "int", "value": str(planted.cluster[7])}
    rows = nearest(planted.model, query, filters={"metadata_filter": [same]}, limit=50)
    assert rows[0] == ("7", pytest.approx(1, abs=1e-6))  # the others lie the other way
    assert share_found(rows, distances("cosine", query, planted.vectors[passing]), 50) == 1


@pytest.mark.parametrize("kind", ["few numbers", "one number", "heavy tails", "of one sign", "tiny numbers"])
@pytest.mark.parametrize("limit", [1, 10, 50])
def test_queries_unlike_any_that_was_measured(planted, kind, limit):
    shares = []
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


def test_codes_that_memory_has_no_room_for(planted, read, monkeypatch):
    monkeypatch.setattr(
        column_cache,
        "_kept",
        LRUCache(4_500 * codes.code_bytes(SIZE) - 1, getsizeof=lambda each: each.nbytes),
    )
    assert planted.find(clustered(1, SIZE, 3)[0][0], planted.at < 0.5, below(0.5)) == 1
    assert read == [sum(planted.at[:4_500] < 0.5)]
    monkeypatch.setattr(
        column_cache, "_kept", LRUCache(4_500 * codes.code_bytes(SIZE), getsizeof=lambda each: each.nbytes)
    )
    assert planted.find(clustered(1, SIZE, 3)[0][0], planted.at < 0.5, below(0.5)) == 1
    assert read[-1] < read[0] / 4


@pytest.mark.parametrize("limit", [1, 20, 60, 120])
def test_all_are_searched_by_their_codes(planted, by_codes, limit):
    shares = []
    for query in clustered(12, SIZE, 5)[0]:
        shares.append(planted.find(query, planted.at < 2, {}, limit))
    assert np.mean(shares) >= 0.995
    assert all(by_codes)
    assert len(by_codes) <= 13


@pytest.mark.parametrize("kind", ["like nothing stored", "from the other side"])
def test_queries_that_codes_cannot_answer(planted, by_codes, monkeypatch, kind):
    monkeypatch.setattr(code_search, "MOST_ESTIMATED", 300)
    query = np.random.default_rng(5).normal(0, 4, SIZE).astype(np.float32)
    if kind == "from the other side":
        query = -planted.vectors[:4_500].mean(axis=0)
    assert planted.find(query, planted.at < 2, {}) == 1
    assert by_codes == [None]


def test_many_that_a_filter_leaves(planted, by_codes, monkeypatch):
    monkeypatch.setitem(neighbours.FEW_PER_ROOT, neighbours.COSINE, 0)
    shares = []
    for number, query in enumerate(clustered(8, SIZE, 5)[0]):
        shares.append(planted.find(query, planted.at < 0.5, below(0.5), (5, 50)[number % 2]))
    assert np.mean(shares) >= 0.995
    assert all(by_codes)
