"""Charts count what the filter matches, each inference or entry once: against brute force."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from inference_store.contract.filters import BaseInferenceFilter, DeconstructedInferenceFilter
from inference_store.models import Leftover
from inference_store.query import charts
from inference_store.services import catalogues, deletion
from tests import oracle
from tests.making import LONG_AGO, make_model, make_request, store
from tests.query import random_data

EVERYTHING = BaseInferenceFilter()
MOST = 4


def some(rng, model, count):
    requests = []
    for number in range(count):
        request = random_data.random_request(rng, model, number)
        spread = rng.choice([timedelta(minutes=3), timedelta(days=2), timedelta(days=900)])
        requests.append(request.model_copy(update={"created_at": LONG_AGO - spread * rng.random()}))
    return requests


def entries_of(requests, filters):
    """(label, score) of the entries that are asked for."""
    wanted = filters.deconstructed_inference_filter or DeconstructedInferenceFilter()
    found = [entry for request in requests for entry in oracle.entries(request)]
    return [entry for entry in found if oracle.entry_fits(entry, wanted)]


def agree_on_numbers(found, values):
    values = [float(value) for value in values]
    if not values:
        assert (found.edges, found.counts) == ([], [])
        return
    assert found.edges == sorted(set(found.edges))
    assert found.edges[0] <= min(values) <= max(values) <= found.edges[-1]
    assert found.counts == oracle.bins(values, found.edges)
    assert sum(found.counts) == len(values)


def agree_on_texts(found, values):
    counted = sorted(Counter(values).items(), key=lambda each: (-each[1], each[0]))
    assert found.counts == counted[:MOST]
    assert found.others == sum(n for _, n in counted[MOST:])


def agree_on_time(found, moments):
    assert len(found.counts) <= charts.MOST_BUCKETS + 1
    if not moments:
        assert (found.edges, found.counts) == ([], [])
        return
    inside = [
        sum(low <= moment < high for moment in moments)
        for low, high in zip(found.edges, found.edges[1:], strict=False)
    ]
    assert found.counts == inside
    assert sum(inside) == len(moments)
    assert found.counts[0]
    assert found.counts[-1]


@pytest.mark.django_db
@pytest.mark.parametrize("seed", range(4))
def test_charts_agree_with_brute_force(seed):
    rng = random.Random(seed)
    model, other = make_model(), make_model()
    requests = some(rng, model, 120)
    if seed % 2:
        random_data.give_slots(rng, model, random_data.searched_keys(requests))
    store(model, *requests)
    store(other, *some(rng, other, 10))
    for _ in range(25):
        filters = random_data.as_filter(random_data.conditions(rng, requests) if rng.random() < 0.7 else [])
        try:
            matched = oracle.matching(requests, filters)
        except oracle.Unclear:
            continue
        entries = entries_of(matched, filters)
        bins, key = rng.choice([1, 5, 20]), rng.choice(random_data.KEYS)
        agree_on_time(charts.volume(model, filters), [request.created_at for request in matched])
        agree_on_texts(charts.label_counts(model, filters, MOST), [label for label, _ in entries])
        scores = [score for _, score in entries if score is not None]
        agree_on_numbers(charts.score_bins(model, filters, bins), scores)
        sources = [request.data.metadata.standard_metadata.data_source for request in matched]
        agree_on_texts(
            charts.source_counts(model, filters, MOST), [each for each in sources if each is not None]
        )
        texts = oracle.observations(requests, filters, key, "string")
        agree_on_texts(charts.text_counts(model, filters, key, MOST), texts)
        for type_ in ("int", "float"):
            values = oracle.observations(requests, filters, key, type_)
            agree_on_numbers(charts.number_bins(model, filters, type_, key, bins), values)


@pytest.mark.django_db(transaction=True)
def test_catalogues_say_the_same_as_counting(monkeypatch):
    rng = random.Random(5)
    model = make_model()
    requests = some(rng, model, 80)
    store(model, *requests)
    monkeypatch.setattr(catalogues, "FEWEST_ROWS", 10)
    catalogues.keep_catalogues()
    store(model, *(later := [make_request(model, created_at=LONG_AGO, source="z")]))
    requests += later
    with CaptureQueriesContext(connection) as captured:
        found = [
            charts.volume(model, EVERYTHING),
            charts.label_counts(model, EVERYTHING, MOST),
            charts.source_counts(model, EVERYTHING, MOST),
        ]
    assert not [each for each in captured if "GROUP BY" in each["sql"] and "catalogue" not in each["sql"]]
    agree_on_time(found[0], [request.created_at for request in requests])
    agree_on_texts(found[1], [label for label, _ in entries_of(requests, EVERYTHING)])
    sources = [request.data.metadata.standard_metadata.data_source for request in requests]
    agree_on_texts(found[2], [each for each in sources if each is not None])


@pytest.mark.parametrize(
    ("low", "high", "bins", "whole", "edges"),
    [
        (0.0, 1.0, 10, False, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        (12.3, 87.9, 5, False, [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]),
        (3.0, 3.0, 10, False, [3.0]),
        (3.0, 3.0, 10, True, [3.0, 4.0]),
        (0.0, 9.0, 20, True, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]),
        (-7.0, 99.0, 6, True, [-20.0, 0.0, 20.0, 40.0, 60.0, 80.0, 100.0]),
    ],
)
def test_edges_are_round(low, high, bins, whole, edges):
    assert charts.round_edges(low, high, bins, whole=whole) == edges


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(FINITE, FINITE, st.integers(1, 100))
def test_edges_hold_every_value_and_are_few(one, other, bins):
    low, high = sorted((one, other))
    edges = charts.round_edges(low, high, bins, whole=False)
    assert edges == sorted(set(edges))
    assert edges[0] <= low <= high <= edges[-1]
    assert len(edges) <= bins + 2


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1), st.integers(1, 100))
def test_edges_of_whole_numbers_are_whole(one, other, bins):
    low, high = sorted((float(one), float(other)))
    edges = charts.round_edges(low, high, bins, whole=True)
    assert all(edge == int(edge) for edge in edges)
    assert edges[0] <= low <= high <= edges[-1]
    assert len(edges) <= bins + 3


TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)).map(lambda each: each.replace(tzinfo=UTC))  # noqa: DTZ001


@given(TIMES, TIMES)
def test_time_is_divided_into_few_parts(one, other):
    first, last = sorted((one, other))
    edges = list(charts._edges(charts._unit(last - first), first, last))
    assert edges == sorted(set(edges))
    assert edges[0] <= first <= last < edges[-1]
    assert edges[1] > first
    assert len(edges) <= charts.MOST_BUCKETS + 3


@pytest.mark.django_db
def test_charts_cost_the_same_queries_whatever_they_count():
    model = make_model()

    def queries():
        with CaptureQueriesContext(connection) as captured:
            charts.volume(model, EVERYTHING)
            charts.label_counts(model, EVERYTHING, MOST)
            charts.score_bins(model, EVERYTHING, 10)
            charts.source_counts(model, EVERYTHING, MOST)
            charts.number_bins(model, EVERYTHING, "int", "k", 10)
        return len(captured)

    def rows(numbers):
        return [
            make_request(
                model,
                metadata=[("k", "int", str(n))],
                entries=[{"label": "a", "score": n / 20}],
                created_at=LONG_AGO + timedelta(hours=n),
            )
            for n in numbers
        ]

    store(model, *rows(range(2)))
    two = queries()
    store(model, *rows(range(2, 20)))
    assert queries() == two


@pytest.mark.django_db(transaction=True)
def test_what_a_large_deletion_left_behind_is_not_counted(monkeypatch):
    monkeypatch.setattr(deletion, "REMOVED_AT_ONCE", 0)
    monkeypatch.setattr(catalogues, "FEWEST_ROWS", 1)
    model = make_model()
    entries = [{"label": "a", "score": 0.5}, {"label": "b", "score": 0.9}]
    store(model, *(make_request(model, source=source, entries=entries) for source in "xxxyy"))
    catalogues.keep_catalogues()
    deletion.delete_matching(model=model, filters=BaseInferenceFilter(data_source_filter="x"))
    assert Leftover.objects.exists()
    assert charts.label_counts(model, EVERYTHING, MOST).counts == [("a", 2), ("b", 2)]
    high = BaseInferenceFilter(deconstructed_inference_filter={"minimum_score": 0.6})
    assert charts.label_counts(model, high, MOST).counts == [("b", 2)]
    assert sum(charts.score_bins(model, EVERYTHING, 10).counts) == 4
