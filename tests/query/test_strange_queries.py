"""Neighbours of queries that are like none of the stored vectors, which lie in clusters but for a few."""

import numpy as np
import pytest

from inference_store.models import VectorIndex
from inference_store.query import neighbours
from inference_store.services import vector_indexes, vector_measuring
from tests.making import make_model
from tests.neighbourhood import distances, nearest, plant, share_found

pytestmark = pytest.mark.django_db
METRICS = ["cosine", "l2", "negative_dot_product"]
COUNT, SIZE = 12_000, 48


class Planted:
    """A hundredth of the vectors is noise, as the queries are: some of it comes into a sample, or none."""

    def __init__(self):
        rng = np.random.default_rng(5)
        centres, cluster = rng.normal(size=(20, SIZE)), rng.integers(0, 20, COUNT)
        self.vectors = (centres[cluster] + rng.normal(0, 0.4, (COUNT, SIZE))).astype(np.float32)
        self.vectors[::100] = 1.2 * rng.normal(size=(COUNT // 100, SIZE))
        self.queries = rng.normal(size=(20, SIZE)).astype(np.float32)
        self.model = make_model(embedding_size=SIZE)
        plant(self.model, self.vectors, cluster)
        self.build()

    def build(self):
        for metric in METRICS[1:]:
            VectorIndex.objects.create(registered_model=self.model, metric=metric, state="wanted")
        assert vector_indexes.build_due(self.model) == 3
        neighbours.look_up_again()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("count", [10, 50, 400])
def test_their_neighbours_are_found(planted, metric, count):
    found = []
    for query in planted.queries:
        rows = nearest(planted.model, query, metric, limit=count)
        found.append(share_found(rows, distances(metric, query, planted.vectors), count))
    assert np.mean(found) >= 0.99


def far(distances, shares, metric="cosine"):
    queries = [[1.0]] * len(distances)
    return vector_measuring._far(VectorIndex(metric=metric), queries, distances, shares)


def test_the_farthest_query_of_a_sample_may_be_luck():
    distances = [0.1, 0.7, 0.12, 0.11, 0.13]
    assert far(distances, [1.0] * 5) == pytest.approx((0.16, 0.13))


def test_who_missed_neighbours_tells_nothing_of_those_as_far_away():
    distances = [0.1, 0.7, 0.12, 0.3, 0.11, 0.13]
    assert far(distances, [1, 1, 1, 0.9, 1, 1]) == pytest.approx((0.16, 0.13))
    assert far(distances, [1, 0.9, 1, 0.9, 1, 1]) == pytest.approx((0.14, 0.12))


def test_nor_does_one_that_is_nearer_than_others_who_found_theirs():
    assert far([0.1, 0.2, 0.3], [0.5, 1, 1]) == pytest.approx((0.3, 0.2))


def test_where_nobody_found_theirs_all_lists_are_read():
    assert far([0.2, 0.1], [0.5, 0.5]) == (0.1, 0.1)


def test_distances_beyond_all_numbers_are_no_measure():
    assert far([1.0, float("inf")], [1.0, 1.0]) == (1.0, 1.0)
    assert far([float("inf")] * 2, [1.0, 1.0]) == (None, None)


@pytest.mark.parametrize(
    ("distance", "lists"), [(0.1, 10), (0.2, 10), (0.25, 40), (0.3, 160), (0.31, 200), (float("nan"), 10)]
)
def test_the_farther_the_more_lists(distance, lists):
    index = VectorIndex(lists=200, probes=[[64, 10, 0.3, 0.2], [160, 20, None, None]])
    assert index.lists_for(64, distance) == lists
    assert index.lists_for(160, distance) == 20
    assert index.lists_for(400, distance) == 200


def test_what_earlier_versions_measured():
    index = VectorIndex(lists=200, probes=[[64, 10, 0.3], [160, 20]])
    assert [index.lists_for(64, distance) for distance in (0.3, 0.31)] == [10, 200]
    assert index.lists_for(160, 9.0) == 20
