"""What indexes find is what brute force finds, whatever the filter leaves."""

import re

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inference_store.contract.errors import Refusal
from inference_store.models import Inference, VectorIndex
from inference_store.query import neighbours, pages
from inference_store.query.rows import Wanted, bodies
from inference_store.services import vector_indexes
from tests.making import make_model
from tests.neighbourhood import (
    CLUSTERS,
    clustered,
    distances,
    make_units,
    nearest,
    plant,
    request_of,
    share_found,
)

pytestmark = pytest.mark.django_db
METRICS = ["cosine", "l2", "negative_dot_product"]
COUNT, NEWER, SIZE = 8_000, 300, 24


class Planted:
    """A model with indexes over all but its newest embeddings."""

    def __init__(self):
        self.model = make_model(embedding_size=SIZE)
        self.vectors, self.cluster = clustered(COUNT + NEWER, SIZE)
        self.vectors[5] = 0
        self.keys = plant(self.model, self.vectors[:COUNT], self.cluster)
        for metric in METRICS[1:]:
            VectorIndex.objects.create(registered_model=self.model, metric=metric, state="wanted")
        self.built = vector_indexes.build_due(self.model)
        self.keys += plant(self.model, self.vectors[COUNT:], self.cluster[COUNT:], COUNT)
        rows = Inference.objects.filter(pk__in=self.keys).order_by("pk").values_list("metadata", flat=True)
        self.at = np.array([metadata["float"]["at"] for metadata in rows])
        neighbours.look_up_again()


def queries(count, seed=9):
    return clustered(count, SIZE, seed)[0]


def below(value):
    return {"metadata_filter": [{"key": "at", "operator": "<", "type": "float", "value": repr(float(value))}]}


def of_cluster(number):
    return {"metadata_filter": [{"key": "cluster", "operator": "=", "type": "int", "value": str(number)}]}


def test_every_metric_has_its_index(planted):
    assert planted.built == 3
    for index in VectorIndex.objects.filter(registered_model=planted.model):
        assert (index.state, index.row_count, index.after) == ("ready", COUNT, 0)
        assert index.recall >= 0.995


@pytest.fixture(params=["few are few", "few are many"])
def few(request, monkeypatch):
    """Where a filter's matches are read one by one, and where the indexes are asked."""
    if request.param == "few are few":
        monkeypatch.setattr(neighbours, "FEW_PER_ROOT", dict.fromkeys(neighbours.FEW_PER_ROOT, 1))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("share", [0.0001, 0.001, 0.01, 0.05, 0.1, 0.3, 0.6, 0.9, None])
def test_recall_whatever_the_filter_leaves(planted, metric, share, few):
    passing = planted.at < (2 if share is None else share)
    found = []
    for query in queries(8, int((share or 1) * 10_000)):
        expected = distances(metric, query, planted.vectors[passing])
        rows = nearest(planted.model, query, metric, share and below(share))
        found.append(share_found(rows, expected, 50))
        exact = distances(metric, query, planted.vectors)
        assert [distance for _, distance in rows] == sorted(distance for _, distance in rows)
        for key, distance in rows:
            assert distance == pytest.approx(exact[int(key)], abs=2e-5 * max(1.0, abs(exact[int(key)])))
    assert np.mean(found) >= 0.99


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("limit", [1, 50, 700])
def test_a_filter_that_leaves_only_what_is_far_away(planted, metric, limit, few):
    found = []
    for number, query in enumerate(queries(CLUSTERS)):
        passing = planted.cluster == number
        rows = nearest(planted.model, query, metric, of_cluster(number), limit=limit)
        expected = distances(metric, query, planted.vectors[passing])
        found.append(share_found(rows, expected, limit))
    assert np.mean(found) >= 0.995


@pytest.mark.parametrize("metric", METRICS)
def test_a_query_that_is_like_nothing_stored(planted, metric):
    random = np.random.default_rng(5)
    for query in random.normal(0, 4, (12, SIZE)).astype(np.float32):
        expected = distances(metric, query, planted.vectors)
        assert share_found(nearest(planted.model, query, metric), expected, 50) == 1


def test_what_is_newer_than_the_index(planted):
    for number in (COUNT, COUNT + NEWER - 1):
        assert nearest(planted.model, planted.vectors[number])[0][0] == str(number)


def test_a_zero_vector_is_found(planted):
    vectors = planted.vectors[planted.cluster == planted.cluster[5]]
    query = -vectors.mean(axis=0)
    expected = distances("cosine", query, planted.vectors)
    found = dict(nearest(planted.model, query, limit=1000))
    assert ("5" in found) == (np.sum(expected < 1) < 1000)
    assert len(nearest(planted.model, np.zeros(SIZE, np.float32), limit=100)) == 100


@pytest.mark.parametrize("metric", METRICS)
def test_pages_by_offset_are_parts_of_one_list(planted, metric):
    query = queries(1)[0]
    whole = nearest(planted.model, query, metric, limit=400)
    parts = [nearest(planted.model, query, metric, limit=80, offset=start) for start in range(0, 400, 80)]
    assert [row for part in parts for row in part] == whole


def walk(model, query, limit, **more):
    found, cursor = [], None
    while True:
        page = pages.inference_page(model, request_of(query, limit=limit, cursor=cursor, **more))
        found += [each.inference_id for each in page.inferences]
        if page.next_cursor is None:
            return found
        assert len(page.inferences) == limit
        cursor = page.next_cursor


@pytest.mark.parametrize("limit", [330, 1_000])
def test_a_walk_misses_nothing_that_the_index_missed(planted, limit, monkeypatch):
    query = queries(1, 4)[0]
    monkeypatch.setattr(VectorIndex, "probes_for", lambda index, depth: 10)
    monkeypatch.setattr(
        VectorIndex, "ordering", lambda index, size, query: f"-inference_id, ({query}) is null"
    )
    monkeypatch.setattr(neighbours, "ROUNDING", {neighbours.COSINE: -3})
    found = walk(planted.model, query, limit)
    assert len(found) == len(set(found)) == COUNT + NEWER
    first = np.argsort(distances("cosine", query, planted.vectors))[:limit]
    assert {str(each) for each in first} - set(found[:limit])  # the index did miss some


def test_a_walk_in_order(planted):
    query = queries(1, 5)[0]
    found = walk(planted.model, query, 500, filters=below(0.5))
    passing = np.flatnonzero(planted.at < 0.5)
    expected = passing[np.argsort(distances("cosine", query, planted.vectors[passing]))]
    assert sorted(found) == sorted(map(str, expected))
    agreeing = sum(one == str(other) for one, other in zip(found, expected, strict=True))
    assert agreeing > 0.99 * len(expected)


@pytest.mark.parametrize("tail", ["", "!", "AAAA", "eJxjYGBgAAAABAAB"])
def test_a_cursor_that_nobody_gave(planted, tail):
    query = queries(1)[0]
    page = pages.inference_page(planted.model, request_of(query, limit=2))
    position, _, packed = page.next_cursor.partition(".")
    assert packed
    for cursor in (f"{position}.{tail}", f".{packed}", f"AAAA.{packed}"):
        with pytest.raises(Refusal) as refused:
            pages.inference_page(planted.model, request_of(query, limit=2, cursor=cursor))
        assert (refused.value.status, list(refused.value.fields)) == (400, ["pagination.cursor"])


def test_the_same_vector_a_thousand_times_in_order_of_storing(planted):
    model, (vectors, cluster) = planted.model, clustered(1_500, SIZE, 77)
    vectors[:] = vectors[0]
    keys = plant(model, vectors, cluster, 100_000)
    # As if the index held them.
    make_units(keys)
    VectorIndex.objects.filter(registered_model=model).update(watermark=max(keys))
    neighbours.look_up_again()
    found = nearest(model, vectors[0], limit=100)
    assert [each for each, _ in found] == [str(100_000 + number) for number in range(100)]
    neighbours.look_up_again()


def plans(ask):
    """The plans of the statements that looked for neighbours."""
    with CaptureQueriesContext(connection) as captured:
        ask()
    found = []
    with connection.cursor() as cursor:
        for each in captured:
            statement = each["sql"]
            if "inference_store_embedding" in statement and " raw" in statement:
                cursor.execute(f"explain {statement}")
                found.append("\n".join(row for (row,) in cursor.fetchall()))
    return found


@pytest.mark.parametrize("metric", METRICS)
def test_the_index_answers(planted, metric):
    query = queries(1)[0]
    index = VectorIndex.objects.get(registered_model=planted.model, metric=metric)
    (plan,) = plans(lambda: nearest(planted.model, query, metric))
    assert f"Index Scan using {index.name}" in plan
    # What is newer is found by an index, too.
    assert re.search(rf"Index Cond: .*\binference_id > '?{index.watermark}\b", plan)
    walked = plans(lambda: nearest(planted.model, query, metric, below(0.9)))
    assert any(index.name in plan for plan in walked)
    for each in (plan, *walked):
        assert "Seq Scan on inference_store_embedding" not in each


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("share", [0.02, 0.1])
def test_few_are_read_by_their_keys(planted, metric, share):
    """Of ten times as many as are wanted, and more, halves tell for cosines which are worth it."""
    (plan,) = plans(lambda: nearest(planted.model, queries(1)[0], metric, below(share)))
    assert "Index Scan using inference_store_embedding_pkey" in plan
    by_halves = (metric, share) == ("cosine", 0.1)
    assert ("Index Scan using inference_store_unitembedding_pkey" in plan) == by_halves
    assert "Seq Scan on inference_store_embedding" not in plan
    assert "Seq Scan on inference_store_unitembedding" not in plan


@pytest.mark.parametrize("form", ["base64", "none"])
@pytest.mark.parametrize(("filters", "statements"), [(None, 1), (below(0.05), 2)])
def test_rows_come_with_their_distances(planted, filters, statements, form):
    """A filter takes one statement more for what matches."""
    request = request_of(queries(1)[0], "cosine", filters, limit=20)
    request.embeddings = form
    pages.inference_page(planted.model, request)
    with CaptureQueriesContext(connection) as captured:
        found = pages.inference_page(planted.model, request).inferences
    assert len(captured) == statements
    assert len(found) == 20
    for each in found:
        by_name = Wanted.by_name(planted.model, each.inference_id)
        (alone,) = bodies(planted.model, by_name, form=form).values()
        alone.embedding_distance = each.embedding_distance
        assert each == alone


def test_few_that_halves_cannot_tell_apart(planted):
    model, (vectors, _) = planted.model, clustered(600, SIZE, 78)
    vectors[:] = vectors[0]
    vectors[:, 0] *= 1 + np.linspace(0.25, 0, 600, dtype=np.float32)
    keys = plant(model, vectors, np.full(600, 99), 200_000)
    make_units(keys)
    VectorIndex.objects.filter(registered_model=model).update(watermark=max(keys))
    neighbours.look_up_again()
    found = {key for key, _ in nearest(model, vectors[-1], filters=of_cluster(99))}
    assert len(found & {str(200_599 - number) for number in range(50)}) >= 48
    neighbours.look_up_again()


def test_deep_pages_and_other_orders_are_exact(planted):
    query = queries(1)[0]
    by_distance = {"sort": "embedding_distance", "direction": "desc"}
    for pagination in ({"offset": 990}, by_distance, {"sort": "created_at"}):
        with CaptureQueriesContext(connection) as captured:
            assert len(nearest(planted.model, query, **pagination)) == 50
        assert not any("ivfflat" in each["sql"] for each in captured)
    farthest = nearest(planted.model, query, limit=10, **by_distance)
    expected = np.argsort(-distances("cosine", query, planted.vectors))[:10]
    assert [each for each, _ in farthest] == [str(each) for each in expected]
