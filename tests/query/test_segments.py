"""What segments tell is what the rows say, at every moment, whoever writes meanwhile."""

import random
import threading

import pytest
from cachetools import LRUCache
from django.db import connection, connections, transaction

from inference_store.contract.filters import BaseInferenceFilter
from inference_store.contract.metadata import NewExtendedMetadataRequest, NewGetMetadataStatisticsRequest
from inference_store.models import Inference, Segment, SegmentChange, SegmentColumn
from inference_store.query import column_cache
from inference_store.query import segments as reading
from inference_store.query.counts import count_matching
from inference_store.query.matching import conditions_of
from inference_store.query.segments import number_of, numbers_of
from inference_store.query.statistics import metadata_statistics
from inference_store.services import deletion, metadata, segments, soft_deletion
from tests import oracle, segmented
from tests.making import LONG_AGO, make_model, make_request, store
from tests.query import random_data
from tests.query.test_statistics_oracle import agrees
from tests.segmented import (
    SPEEDS,
    a_filter,
    a_request,
    assert_told,
    delete_softly,
    slotted,
)


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch):
    segmented.always(monkeypatch)


# --- Against rows, and against plain Python -----------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("seed", range(8))
def test_after_every_write_as_the_rows_say(seed):
    rng, model, others = random.Random(seed), slotted(), slotted()
    live, softly, names = [], [], iter(range(10_000))

    def add():
        new = [str(next(names)) for _ in range(rng.randrange(1, 30))]
        store(model, *(a_request(rng, model, each) for each in new))
        store(others, *(a_request(rng, others, f"o{each}") for each in new[:3]))
        live.extend(new)

    def change():
        for each in rng.sample(live, min(3, len(live))):
            value = {"key": "speed", "type": "float", "value": repr(rng.choice(SPEEDS))}
            request = NewExtendedMetadataRequest.model_validate(value)
            metadata.put_metadata(model=model, inference_id=each, request=request)

    def put_away():
        chosen = [live.pop(rng.randrange(len(live))) for _ in range(min(4, len(live)))]
        delete_softly(model, *chosen)
        softly.extend(chosen)

    def bring_back():
        back = soft_deletion.restore_deleted(model=model)
        assert sorted(back.restored) == sorted(softly)
        live.extend(softly)
        softly.clear()

    def delete():
        filters = a_filter(rng)
        gone = deletion.delete_matching(model=model, filters=filters)
        live[:] = [each for each in live if each not in set(gone)]

    add()
    assert segments.build_due() == 2
    for _ in range(40):
        rng.choice([add, add, add, change, change, put_away, bring_back, delete, segments.build_due])()
        for _ in range(4):
            assert_told(model, a_filter(rng))
    segments.build_due()
    assert sum(each.row_count for each in model.segments.all()) >= len(live)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("seed", range(6))
def test_any_filter_agrees_with_brute_force(seed):
    rng, model = random.Random(seed), make_model()
    requests = [random_data.random_request(rng, model, number) for number in range(90)]
    random_data.give_slots(rng, model, random_data.searched_keys(requests))
    store(model, *requests[:60])
    segments.build_due()
    store(model, *requests[60:])
    told = 0
    for _ in range(80):
        filters = random_data.as_filter(random_data.conditions(rng, requests))
        try:
            expected = sum(oracle.matches(each, filters) for each in requests)
        except oracle.Unclear:
            continue
        assert count_matching(model, filters) == expected
        conditions = conditions_of(model, filters).all
        told += reading._Reading(model, conditions, None).found() is not None
    assert told > 3


@pytest.mark.django_db(transaction=True)
def test_histograms_agree_with_brute_force():
    rng, model = random.Random(4), slotted()
    requests = [a_request(rng, model, str(number)) for number in range(400)]
    store(model, *requests[:300])
    assert segments.build_due() == 1
    store(model, *requests[300:])
    for _ in range(40):
        filters = a_filter(rng)
        key, type_ = rng.choice([("speed", "float"), ("lanes", "int")])
        bins = rng.choice([{}, {"bin_count": 90}, {"minimum_value": 0.0}, {"maximum_value": 2.0}])
        fields = {f"distribution_{name}": value for name, value in bins.items()}
        request = {"key": key, "type": type_, "filters": filters, **fields}
        found = metadata_statistics(model, NewGetMetadataStatisticsRequest.model_validate(request))
        values = oracle.observations(requests, filters, key, type_)
        if values:
            agrees(found, values, bins.get("minimum_value"), bins.get("maximum_value"))
        else:
            assert (found.count, found.distribution) == (0, {})


# --- While others write -------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_one_moment_whoever_writes_and_builds_meanwhile():
    """Of one snapshot both ways of telling say the same, while rows are written and segments are replaced."""
    model, done, failures = slotted(), threading.Event(), []
    store(model, *(a_request(random.Random(1), model, str(number)) for number in range(200)))
    segments.build_due()

    def alongside(work):
        def run():
            try:
                while not done.is_set():
                    work()
            except BaseException as failure:
                failures.append(failure)
                raise
            finally:
                connections.close_all()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    rng, names = random.Random(2), iter(range(1_000, 100_000))

    def write():
        with transaction.atomic():
            store(model, *(a_request(rng, model, str(next(names))) for _ in range(5)))
            keys = list(model.inferences.order_by("?").values_list("pk", flat=True)[:6])
            Inference.objects.filter(pk__in=keys[:3]).update(n1=rng.choice(SPEEDS))
            Inference.objects.filter(pk__in=keys[3:]).delete()

    threads = [alongside(write), alongside(segments.build_due)]
    looked, told, reader = 0, 0, random.Random(3)
    try:
        while looked < 300 and not failures:
            looked += 1
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute("set transaction isolation level repeatable read")
                filters = a_filter(reader)
                told += reading._Reading(model, conditions_of(model, filters).all, None).found() is not None
                assert_told(model, filters, by_segments=None)
    finally:
        done.set()
        for thread in threads:
            thread.join(60)
    assert not failures
    assert told > 100
    segments.build_due()
    assert_told(model, a_filter(reader))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["stored", "changed", "deleted"])
def test_who_began_to_write_before_is_waited_for(kind):
    model = slotted()
    rng = random.Random(1)
    store(model, *(a_request(rng, model, str(number)) for number in range(20)))
    early = None

    def build():
        store(model, *(a_request(rng, model, f"later {number}") for number in range(5)))
        segments.build_due()
        connections.close_all()

    builder = threading.Thread(target=build)
    first = model.inferences.order_by("pk").first()
    with transaction.atomic():
        if kind == "stored":
            with connection.cursor() as cursor:
                cursor.execute("select nextval('inference_store_inference_id_seq')")
                (early,) = cursor.fetchone()
        elif kind == "changed":
            model.inferences.filter(pk=first.pk).update(n1=123.0)
        else:
            model.inferences.filter(pk=first.pk).delete()
        builder.start()
        while not Segment.objects.filter(state="building").exists():
            assert builder.is_alive()
        builder.join(1)
        assert builder.is_alive()  # it waits
        if kind == "stored":
            first.pk, first.inference_id, first.n1 = early, "early", 123.0
            first.save(force_insert=True)
    builder.join(60)
    (segment,) = model.segments.all()
    assert segment.row_count == {"stored": 26, "changed": 25, "deleted": 24}[kind]
    assert not SegmentChange.objects.exists()
    for _ in range(20):
        assert_told(model, a_filter(rng))
    equal = {"metadata_filter": [{"key": "speed", "type": "float", "operator": "=", "value": "123"}]}
    found = numbers_of(model, conditions_of(model, BaseInferenceFilter.model_validate(equal)).all, "n1")
    assert len(found) == (kind != "deleted")


@pytest.mark.django_db(transaction=True)
def test_a_segment_that_was_replaced_is_looked_up_again(django_assert_num_queries):
    rng, model = random.Random(1), slotted()
    store(model, *(a_request(rng, model, str(number)) for number in range(20)))
    segments.build_due()
    everything = BaseInferenceFilter.model_validate({"time_window_filter": {"start": LONG_AGO.isoformat()}})
    conditions = conditions_of(model, everything).all
    assert number_of(model, conditions) == 20
    with django_assert_num_queries(1):
        assert number_of(model, conditions) == 20
    store(model, *(a_request(rng, model, f"more {number}") for number in range(20)))
    with django_assert_num_queries(2):
        assert number_of(model, conditions) == 40
    segments.build_due()
    with django_assert_num_queries(
        6
    ):  # both statements, the segments, a column and its sample, one statement
        assert number_of(model, conditions) == 40
    with django_assert_num_queries(1):
        assert number_of(model, conditions) == 40


# --- When they are read -------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_few_are_found_by_an_index(monkeypatch):
    monkeypatch.setattr(reading, "NANOSECONDS_BY_INDEX", 120)
    monkeypatch.setattr(reading, "NANOSECONDS_AT_LEAST", 120 * 20)
    rng, model = random.Random(1), slotted()
    store(model, *(a_request(rng, model, str(number)) for number in range(200)))
    segments.build_due()
    model.inferences.filter(inference_id__in=[str(number) for number in range(19)]).update(n1=99.0)
    monkeypatch.setattr(segments, "MOST_CHANGES", 0)
    assert segments.build_due() == 1
    few = {"metadata_filter": [{"key": "speed", "type": "float", "operator": "=", "value": "99"}]}
    many = {"metadata_filter": [{"key": "speed", "type": "float", "operator": "<", "value": "99"}]}
    for asked, by_segments in ((few, False), (many, True)):
        filters = BaseInferenceFilter.model_validate(asked)
        found = reading._Reading(model, conditions_of(model, filters).all, None).found()
        assert (found is not None) == by_segments


@pytest.mark.django_db(transaction=True)
def test_columns_that_memory_has_no_room_for(monkeypatch):
    rng, model = random.Random(1), slotted()
    store(model, *(a_request(rng, model, str(number)) for number in range(200)))
    segments.build_due()
    monkeypatch.setattr(column_cache, "_kept", LRUCache(8 * 200 * 3, getsizeof=lambda each: each.nbytes))
    two = {"metadata_filter": [
        {"key": "speed", "type": "float", "operator": ">", "value": "1"},
        {"key": "lanes", "type": "int", "operator": ">", "value": "1"},
    ]}  # fmt: skip
    assert_told(model, BaseInferenceFilter.model_validate(two))
    three = two | {"time_window_filter": {"start": LONG_AGO.isoformat()}}
    assert_told(model, BaseInferenceFilter.model_validate(three), by_segments=False)


@pytest.mark.django_db(transaction=True)
def test_a_column_that_is_null_in_each_row():
    model = slotted()
    store(model, *(make_request(model, str(number), created_at=LONG_AGO) for number in range(20)))
    segments.build_due()
    assert {each.name for each in SegmentColumn.objects.all()} == {"id", "created_at"}
    assert_told(model, a_filter(random.Random(1)))
    assert numbers_of(model, [], "n1").tolist() == []
    store(model, make_request(model, "new", metadata=[("speed", "float", "2.5")]))
    assert numbers_of(model, [], "n1").tolist() == [2.5]


@pytest.mark.django_db(transaction=True)
def test_the_statement_reads_what_is_newer_and_what_has_changed_alone():
    rng, model = random.Random(1), slotted()
    store(model, *(a_request(rng, model, str(number)) for number in range(2_000)))
    segments.build_due()
    store(model, *(a_request(rng, model, f"new {number}") for number in range(5)))
    model.inferences.filter(inference_id="7").update(n1=2.5)
    with connection.cursor() as cursor:
        cursor.execute("analyze")
    filters = {"metadata_filter": [{"key": "speed", "type": "float", "operator": ">", "value": "0"}]}
    conditions = conditions_of(model, BaseInferenceFilter.model_validate(filters)).all
    read = reading._Reading(model, conditions, None)
    statement = reading.READ.format(what=reading.HELD, condition=read.condition)
    watermark = model.segments.get().watermark
    values = [model.pk, watermark, model.pk, model.pk, *read.values, watermark, *read.values, model.pk]
    with connection.cursor() as cursor:
        cursor.execute(f"explain (analyze, format json) {statement}", values)
        (plan,) = cursor.fetchone()[0]
    assert rows_read(plan) == 6


@pytest.mark.django_db(transaction=True)
def test_whether_all_is_as_it_was_built_is_asked_of_the_key_alone():
    rng, model = random.Random(1), slotted()
    store(model, *(a_request(rng, model, str(number)) for number in range(2_000)))
    segments.build_due()
    with connection.cursor() as cursor:
        cursor.execute("analyze")
        # As once the statement is prepared for whatever values.
        cursor.execute("set plan_cache_mode = force_generic_plan")
        cursor.execute(f"prepare asked as {reading.ARE_AS_BUILT % ('$1', '$2', '$3', '$4')}")
        cursor.execute(
            f"explain (analyze, format json) execute asked ({model.pk}, {model.pk}, 0, {model.pk})"
        )
        (plan,) = cursor.fetchone()[0]
        cursor.execute("deallocate asked; reset plan_cache_mode")
    assert rows_read(plan) == 1


def rows_read(plan):
    """How many inferences, each by its key."""
    scans = [each for each in nodes(plan["Plan"]) if each.get("Relation Name") == "inference_store_inference"]
    assert {each["Index Name"] for each in scans} == {"inference_store_inference_pkey"}
    return sum(each["Actual Rows"] + each.get("Rows Removed by Filter", 0) for each in scans)


def nodes(plan):
    yield plan
    for each in plan.get("Plans", []):
        yield from nodes(each)
