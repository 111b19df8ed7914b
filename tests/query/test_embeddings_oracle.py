"""Distances agree with double precision, and order what is found."""

import math

import numpy as np
import pytest

from inference_store.contract.errors import Refusal
from inference_store.contract.filters import NewGetInferencesRequest
from inference_store.query import pages
from tests import oracle
from tests.making import make_model, make_request, store

pytestmark = pytest.mark.django_db
METRICS = ["cosine", "l2", "negative_dot_product"]
HUGE = 3e38


def found(model, query, metric="cosine", **pagination):
    request = {
        "embedding_filters": {"query_embedding": query, "distance_metric": metric},
        "pagination": pagination,
    }
    page = pages.inference_page(model, NewGetInferencesRequest.model_validate(request))
    return [(each.inference_id, each.embedding_distance) for each in page.inferences]


def with_vectors(*vectors):
    model = make_model(embedding_size=len(vectors[0]))
    store(
        model,
        *(make_request(model, str(number), embedding=list(vector)) for number, vector in enumerate(vectors)),
        make_request(model, "none"),
    )
    return model


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("size", [1, 2, 17, 300])
def test_distances_agree_with_double_precision(metric, size):
    random = np.random.default_rng(size)
    vectors = random.normal(size=(60, size)).astype(np.float32).astype(float)
    vectors[7] = 0
    model = with_vectors(*vectors.tolist())
    for _ in range(10):
        query = random.normal(size=size).astype(np.float32).astype(float).tolist()
        expected = [oracle.distance(metric, query, stored) for stored in vectors.tolist()]
        rows = found(model, query, metric, limit=1000)
        assert {each for each, _ in rows} == {str(number) for number in range(60)}
        for inference_id, distance in rows:
            scale = max(1.0, abs(expected[int(inference_id)]))
            assert distance == pytest.approx(expected[int(inference_id)], abs=2e-5 * scale)
        distances = [distance for _, distance in rows]
        assert distances == sorted(distances)
        backwards = found(model, query, metric, limit=1000, sort="embedding_distance", direction="desc")
        assert backwards == rows[::-1]


def test_nearest_first_unless_sorted():
    model = with_vectors([0, 1], [1, 0], [1, 1])
    assert [each for each, _ in found(model, [1, 0])] == ["1", "2", "0"]
    assert [each for each, _ in found(model, [1, 0], direction="desc")] == ["0", "2", "1"]
    assert [each for each, _ in found(model, [1, 0], sort="created_at")] == ["0", "1", "2"]
    assert found(model, [1, 0], sort="created_at", direction="desc")[0] == ("2", pytest.approx(1 - 0.5**0.5))


def test_a_zero_vector_is_at_cosine_distance_one():
    model = with_vectors([0, 0], [1, 0])
    assert dict(found(model, [1, 0])) == {"0": 1, "1": pytest.approx(0)}
    assert dict(found(model, [0, 0])) == {"0": 1, "1": 1}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("size", [HUGE, 1e25, 1e-25, 1e-38])
def test_no_distance_is_ever_not_finite(metric, size):
    vectors = [[size, size], [-size, -size], [size, -size], [size, 0], [0, 0], [1, 1]]
    model = with_vectors(*vectors)
    for query in ([size, size], [-size, size], [1, 2], [0, 0]):
        rows = found(model, query, metric)
        assert len(rows) == len(vectors)
        for inference_id, distance in rows:
            assert math.isfinite(distance)
            expected = oracle.distance(metric, query, vectors[int(inference_id)])
            largest = max(map(abs, [*query, *vectors[int(inference_id)]]))
            doubt = {
                "cosine": 1e-5,
                "l2": 1e-18 + largest * 1e-5,
                "negative_dot_product": 1e-18 + largest**2 * 1e-5,
            }
            assert distance == pytest.approx(expected, abs=doubt[metric])


@pytest.mark.parametrize("query", [[1], [1, 2, 3]])
def test_a_query_of_the_wrong_size(query):
    model = with_vectors([1, 2])
    request = NewGetInferencesRequest(embedding_filters={"query_embedding": query})
    for ask in (pages.inference_page, pages.count_inferences):
        with pytest.raises(Refusal) as refused:
            ask(model, request)
        assert refused.value.status == 400


def test_a_query_on_a_model_without_embeddings():
    with pytest.raises(Refusal) as refused:
        found(make_model(), [1, 2])
    assert refused.value.status == 400


def test_sorting_by_distance_needs_a_query():
    with pytest.raises(Refusal) as refused:
        pages.inference_page(
            make_model(embedding_size=2),
            NewGetInferencesRequest.model_validate({"pagination": {"sort": "embedding_distance"}}),
        )
    assert refused.value.status == 400


def test_what_has_no_embedding_is_neither_listed_nor_counted():
    model = with_vectors([1, 2])
    request = NewGetInferencesRequest(embedding_filters={"query_embedding": [1, 2]})
    assert pages.count_inferences(model, request) == 1
    assert pages.count_inferences(model, NewGetInferencesRequest()) == 2
