"""Catalogues say, right after every write, exactly what a count would; and counts that use them agree."""

import operator as op
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

import psycopg
import pytest
from django.db import connection, transaction
from django.db.models import Count

from inference_store.contract.errors import Refusal
from inference_store.contract.filters import BaseInferenceFilter, NewGetInferencesRequest
from inference_store.contract.metadata import NewGetMetadataStatisticsRequest
from inference_store.models import Catalogue, CatalogueCount, Entry, Inference, SearchSlot
from inference_store.models.inference import NUMBER_SLOTS, STRING_SLOTS
from inference_store.models.search_slot import Unfit, double_of
from inference_store.query import facets, pages, volumes
from inference_store.query.counts import count_matching
from inference_store.query.matching import matching
from inference_store.query.statistics import metadata_statistics
from inference_store.services import catalogues, deletion, slot_assignment
from tests.making import LONG_AGO, make_model, make_request, store
from tests.services.test_slots import KEYS, write
from tests.workers import database

COLUMNS = ["created_at", "data_source", "label", *NUMBER_SLOTS, *STRING_SLOTS]
LARGEST = sys.float_info.max
COMPARE = {">": op.gt, ">=": op.ge, "<": op.lt, "<=": op.le, "=": op.eq}
SPREAD = [-1e308, -7.5, -1, 0, 5e-324, 1e-300, 0.1, 1, 2, 2.5, 3, 7, 100, 1e10, 1.7e308]


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch):
    monkeypatch.setattr(catalogues, "FEWEST_ROWS", 1)


def counted(model, column):
    """{value: rows} by reading every row; times and numbers as they are."""
    rows = (Entry if column == "label" else Inference).objects.filter(registered_model=model)
    rows = rows.filter(**{f"{column}__isnull": False}).order_by()
    return dict(rows.values_list(column).annotate(n=Count("*")))


def disagreeing(model):
    """The columns whose catalogue is exact and does not agree with the rows."""
    wrong = []
    for column in COLUMNS:
        truth = counted(model, column)
        total = Catalogue.objects.total(model, column)
        if total is not None and total != sum(truth.values()):
            wrong.append((column, total, truth))
        if column in ("data_source", "label", *STRING_SLOTS):
            kept = Catalogue.objects.values_of(model, column)
            if kept is not None and kept != sorted(
                truth.items(), key=lambda each: (-each[1], each[0].encode())
            ):
                wrong.append((column, kept, truth))
    return wrong


def asking(type_, key, operator, value):
    wanted = {"key": key, "type": type_, "operator": operator, "value": str(value)}
    return BaseInferenceFilter(metadata_filter=[wanted])


def with_catalogues(model, *keys):
    for type_, key in keys:
        slot_assignment.assign(model=model, type_=type_, key=key)
    catalogues.keep_catalogues()


# --- Exact --------------------------------------------------------------------------------------------------
@pytest.mark.django_db
@pytest.mark.parametrize("seed", range(4))
def test_exact_after_every_write(seed):
    rng = random.Random(seed)
    model, other = make_model(), make_model()
    store(other, make_request(other, source="other", metadata=[("k", "int", "1")], entries=[{"label": "x"}]))
    for turn in range(40):
        if rng.random() < 0.15:
            with suppress(Refusal):  # the key's slot was unfit
                with_catalogues(model, rng.choice(KEYS))
        if rng.random() < 0.05:
            catalogues.drop(model, "s1")
        write(rng, model)
        entries = [{"label": rng.choice("abc")} for _ in range(rng.randrange(3))]
        at = LONG_AGO + timedelta(hours=rng.randrange(5))
        store(
            model, make_request(model, f"t{turn}", source=rng.choice("xyz"), entries=entries, created_at=at)
        )
        if rng.random() < 0.2:
            deletion.delete_matching(
                model=model, filters=BaseInferenceFilter(data_source_filter=rng.choice("xyz"))
            )
        assert disagreeing(model) == []
    with_catalogues(model)
    assert (
        Catalogue.objects.total(model, "created_at")
        == Inference.objects.filter(registered_model=model).count()
    )
    assert Catalogue.objects.totals([model.pk, other.pk], "created_at") == volumes.inference_counts(
        [model.pk, other.pk]
    )


@pytest.mark.django_db(transaction=True)
def test_exact_when_begun_while_all_write():
    model = make_model()
    for type_, key in KEYS[:2]:
        slot_assignment.assign(model=model, type_=type_, key=key)
    done = threading.Event()

    def writer(number):
        rng = random.Random(number)
        try:
            while not done.is_set():
                write(rng, model, f"{number // 2}-")
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(writer, number) for number in range(4)]
        try:
            for _ in range(8):
                for column in COLUMNS:
                    catalogues.drop(model, column)
                catalogues.keep_catalogues()
                with transaction.atomic():
                    with connection.cursor() as cursor:
                        cursor.execute("set transaction isolation level repeatable read")
                    assert disagreeing(model) == []
        finally:
            done.set()
        for each in writers:
            each.result()
    assert Catalogue.objects.filter(state=Catalogue.State.EXACT).count() >= 4
    assert disagreeing(model) == []


@pytest.mark.django_db(transaction=True)
def test_the_newest_writer_is_waited_for_too():
    """None that is newer has ended yet, so that no snapshot names it."""
    with psycopg.connect(**database()) as writer:
        writer.execute("select pg_current_xact_id()")
        assert not catalogues._wait_for_transactions(0.1)
    assert catalogues._wait_for_transactions(60)


@pytest.mark.django_db(transaction=True)
def test_what_a_writer_stored_before_is_counted_once(monkeypatch):
    """One that wrote before there was a catalogue, and commits after that was begun."""
    model = make_model()
    store(model, make_request(model, source="x"))
    stored, go_on = threading.Event(), threading.Event()

    def writer():
        try:
            with transaction.atomic():
                store(model, make_request(model, source="x"))
                stored.set()
                assert go_on.wait(30)
        finally:
            connection.close()

    def beginner():
        try:
            catalogues.begin(model, "data_source")
        finally:
            connection.close()

    polled = threading.Event()
    monkeypatch.setattr(catalogues.time, "sleep", lambda seconds: polled.set())
    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(writer)
        assert stored.wait(30)
        beginning = pool.submit(beginner)
        assert polled.wait(30)
        store(model, make_request(model, source="x"))
        assert Catalogue.objects.get().state == Catalogue.State.COUNTING
        go_on.set()
        writing.result()
        beginning.result()
    assert Catalogue.objects.values_of(model, "data_source") == [("x", 3)]


# --- Counts -------------------------------------------------------------------------------------------------
@pytest.mark.django_db
@pytest.mark.parametrize(
    "spread",
    [
        *(SPREAD, SPREAD[1:-2], [-0.0, 5e-324, 1e-323], [1e16, 1e16 + 2, 1e16 + 4], [3, 3]),
        *([-LARGEST, 0, 7, 1_000], [-5, 0, LARGEST], [-LARGEST, LARGEST]),
    ],
)
def test_counts_by_bucket_agree(spread):
    rng = random.Random(1)
    model = make_model()
    values = [rng.choice(spread) for _ in range(60)]
    store(model, *(make_request(model, metadata=[("f", "float", repr(float(each)))]) for each in values))
    with_catalogues(model, ("float", "f"))
    # What comes later may lie beyond the buckets.
    later = [rng.choice(SPREAD) for _ in range(30)]
    store(model, *(make_request(model, metadata=[("f", "float", repr(float(each)))]) for each in later))
    bounds = [*SPREAD, *(rng.uniform(-10, 10) for _ in range(20)), 1e16 + 2, -1.7e308, -LARGEST, LARGEST]
    for bound in bounds:
        for operator, holds in COMPARE.items():
            found = count_matching(model, asking("float", "f", operator, repr(float(bound))))
            assert found == sum(holds(each, bound) for each in [*values, *later]), (operator, bound)


@pytest.mark.django_db
@pytest.mark.parametrize("first", [2**53 - 2, 10**18, 1_700_000_000_000_013_000])
def test_counts_of_integers_whose_bounds_are_no_doubles(first):
    """Two of them are one double, but not one number."""
    model = make_model()
    step = 1 if first < 2**53 else 1_000
    # So far apart that there are buckets.
    values = [0, *(each for each in range(first, first + 40 * step, step) if double_of_or_none(each))]
    store(model, *(make_request(model, metadata=[("k", "int", str(each))]) for each in values))
    with_catalogues(model, ("int", "k"))
    assert SearchSlot.objects.get().state == "ready"
    for bound in range(first - 3, first + 6):
        for operator, holds in COMPARE.items():
            found = count_matching(model, asking("int", "k", operator, bound))
            assert found == sum(holds(each, bound) for each in values), (operator, bound)


def double_of_or_none(number):
    try:
        return double_of(number)
    except Unfit:
        return None


@pytest.mark.django_db
def test_counts_from_catalogues_are_those_of_the_rows():
    rng = random.Random(2)
    model = make_model()
    for number in range(40):
        metadata = [("k", "string", rng.choice("abc")), ("j", "json", f'{{"a": {rng.choice([1, 1.5, 2])}}}')]
        entries = [{"label": rng.choice("pq"), "score": rng.random()} for _ in range(3)]
        store(
            model,
            make_request(model, str(number), metadata=metadata, source=rng.choice("xy"), entries=entries),
        )
    with_catalogues(model, ("string", "k"), ("json.float", "j.a"))
    asked = [
        BaseInferenceFilter(),
        BaseInferenceFilter(data_source_filter="x"),
        BaseInferenceFilter(data_source_filter="nobody"),
        BaseInferenceFilter(deconstructed_inference_filter={"labels": ["p"], "minimum_score": 0.8}),
        BaseInferenceFilter(deconstructed_inference_filter={"labels": []}),
        *(asking("string", "k", operator, "a") for operator in ("=", "!=", "<", ">")),
        asking("string", "k", "in", "[a, a, c, nothing]"),
        asking("string", "k", "in", "[]"),
        *(
            asking(type_, "j.a", operator, "1")
            for type_ in ("json.int", "json.float")
            for operator in ("=", ">", "<=")
        ),
    ]
    for filters in asked:
        assert count_matching(model, filters) == matching(model, filters).count(), filters
    assert pages.count_inferences(model, NewGetInferencesRequest()) == 40


@pytest.mark.django_db
def test_lists_from_catalogues_are_those_of_the_rows():
    rng = random.Random(3)
    model = make_model()

    def lists():
        request = NewGetMetadataStatisticsRequest(key="k", type="string")
        return metadata_statistics(model, request), facets.labels(model), facets.data_sources(model)

    requests = [
        make_request(
            model, metadata=[("k", "string", rng.choice(["a", "é", "😀", ""]))], source=rng.choice("xy")
        )
        for _ in range(30)
    ]
    store(model, *requests, make_request(model, entries=[{"label": "p"}, {"label": "q"}, {"label": "p"}]))
    before = lists()
    with_catalogues(model, ("string", "k"))
    assert Catalogue.objects.exact(model, "s1").exists()
    assert lists() == before
    assert list(lists()[0].distribution) == list(before[0].distribution)


# --- Bounded ------------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_of_many_values_none_are_counted(monkeypatch):
    monkeypatch.setattr(catalogues, "MOST_VALUES", 3)
    model = make_model()
    store(
        model, *(make_request(model, metadata=[("k", "string", str(n))], source=str(n % 2)) for n in range(3))
    )
    with_catalogues(model, ("string", "k"))
    assert Catalogue.objects.values_of(model, "s1") == [("0", 1), ("1", 1), ("2", 1)]
    store(model, make_request(model, metadata=[("k", "string", "3")]))
    catalogues.keep_catalogues()
    catalogues.keep_catalogues()
    assert Catalogue.objects.values_of(model, "s1") is None
    assert not CatalogueCount.objects.filter(catalogue__column="s1").exists()
    assert Catalogue.objects.values_of(model, "data_source") == [("0", 2), ("1", 1)]
    assert count_matching(model, asking("string", "k", "=", "3")) == 1


@pytest.mark.django_db
def test_small_models_and_unused_columns_have_none(monkeypatch):
    monkeypatch.setattr(catalogues, "FEWEST_ROWS", 3)
    model = make_model()
    store(model, make_request(model, metadata=[("k", "int", "1")]), make_request(model))
    with_catalogues(model, ("int", "k"))
    assert not Catalogue.objects.exists()
    store(model, make_request(model, metadata=[("k", "int", "5")]))
    catalogues.keep_catalogues()
    assert set(Catalogue.objects.values_list("column", flat=True)) == {
        "created_at",
        "data_source",
        "label",
        "n1",
    }
    SearchSlot.objects.update(state=SearchSlot.State.LEAVING)
    catalogues.keep_catalogues()
    assert not Catalogue.objects.filter(column="n1").exists()
    assert not CatalogueCount.objects.exclude(catalogue__in=Catalogue.objects.all()).exists()
