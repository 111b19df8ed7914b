"""What segments tell is what the rows say, at every moment, whoever writes meanwhile."""

import random
import threading
from datetime import timedelta
from uuid import uuid4

import pytest
from cachetools import LRUCache
from django.db import connection, connections, transaction
from django.db.models.functions import Now

from inference_store import tasks
from inference_store.contract.filters import BaseInferenceFilter
from inference_store.contract.metadata import NewExtendedMetadataRequest, NewGetMetadataStatisticsRequest
from inference_store.models import Inference, SearchSlot, Segment, SegmentChange, SegmentColumn
from inference_store.query import column_cache
from inference_store.query import segments as reading
from inference_store.query.counts import count_matching
from inference_store.query.matching import conditions_of, stated
from inference_store.query.segments import number_of, numbers_of
from inference_store.query.statistics import metadata_statistics
from inference_store.services import deletion, metadata, segments, soft_deletion
from inference_store.services.background import Background
from tests import oracle, segmented
from tests.making import LONG_AGO, make_model, make_request, store
from tests.query import random_data
from tests.query.test_statistics_oracle import agrees

SPEEDS = [-3.5, -1.0, 0.0, 0.1, 1.0, 2.0, 2.5, 7.0, 1e300]


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch):
    segmented.always(monkeypatch)


def slotted(**fields):
    """A model with slots for `speed` and `lanes`."""
    model = make_model(**fields)
    for key, type_, slot in (("speed", "float", "n1"), ("lanes", "int", "n2")):
        SearchSlot.objects.create(registered_model=model, key=key, type=type_, slot=slot, state="ready")
    return model


def a_request(rng, model, name):
    held = []
    if rng.random() < 0.8:
        held.append(("speed", "float", repr(rng.choice(SPEEDS))))
    if rng.random() < 0.8:
        held.append(("lanes", "int", str(rng.randrange(6))))
    place = (rng.randrange(-90, 91) / 1.0, rng.randrange(-180, 181) / 1.0) if rng.random() < 0.8 else None
    moment = LONG_AGO + timedelta(minutes=rng.randrange(60))
    return make_request(model, name, metadata=held, place=place, created_at=moment)


def a_filter(rng):
    """One that segments can tell of."""
    asked = []
    for key, type_, values in (("speed", "float", SPEEDS), ("lanes", "int", range(6))):
        if rng.random() < 0.6:
            operator = rng.choice(["=", "!=", "<", "<=", ">", ">=", "in"])
            chosen = [str(each) for each in rng.sample(list(values), 2)]
            value = f"[{', '.join(chosen)}]" if operator == "in" else chosen[0]
            asked.append({"key": key, "type": type_, "operator": operator, "value": value})
    filters = {"metadata_filter": asked}
    if rng.random() < 0.5:
        first, last = sorted(LONG_AGO + timedelta(minutes=rng.randrange(60)) for _ in range(2))
        window = {"start": first.isoformat(), "end": last.isoformat()}
        filters["time_window_filter"] = {
            name: value for name, value in window.items() if rng.random() < 0.8
        } or window
    if rng.random() < 0.4 or (not asked and len(filters) == 1):
        corners = [(rng.uniform(-90, 90), rng.uniform(-180, 180)) for _ in range(2)]
        p1, p2 = ({"latitude": up, "longitude": along} for up, along in corners)
        rectangle = {"p1": p1, "p2": p2, "crosses_antimeridian": rng.random() < 0.3}
        filters["location_filter"] = {"gps_coordinates_rectangle": rectangle}
    return BaseInferenceFilter.model_validate(filters)


def by_rows(model, filters, column=None):
    """The ids of the rows that the filter matches, or the numbers in a column, without segments."""
    condition, values = stated(model, conditions_of(model, filters).all)
    what, also = ("r.id", "true") if column is None else (f"r.{column}", f"r.{column} is not null")
    with connection.cursor() as cursor:
        cursor.execute(f"select {what} from inference_store_inference r where {condition} and {also}", values)
        return sorted(each for (each,) in cursor.fetchall())


def assert_told(model, filters, *, by_segments=True):
    """Both ways of telling agree; by segments, unless some are void."""
    conditions = conditions_of(model, filters).all
    if by_segments is not None:
        assert (reading._Reading(model, conditions, None).found() is not None) == by_segments
    assert number_of(model, conditions) == len(by_rows(model, filters))
    for column in ("n1", "n2"):
        numbers = numbers_of(model, conditions, column)
        assert numbers is not None or not by_segments
        if numbers is not None:
            assert sorted(numbers.tolist()) == by_rows(model, filters, column)


def delete_softly(model, *ids):
    keys = list(model.inferences.filter(inference_id__in=ids).values_list("pk", flat=True))
    with transaction.atomic():
        soft_deletion.keep(keys, uuid4())
        deletion.delete_rows(keys)


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


# --- When they are built ------------------------------------------------------------------------------------
def chain_of(model):
    return [(each.row_count, each.after) for each in Segment.objects.chain(model)]


@pytest.mark.django_db(transaction=True)
def test_each_is_smaller_than_the_one_before_it():
    rng, model = random.Random(1), slotted()
    sizes = []
    for turn in range(16):
        store(model, *(a_request(rng, model, f"{turn} {number}") for number in range(10)))
        segments.build_due()
        sizes.append([rows for rows, _ in chain_of(model)])
    assert sizes[0] == [10]
    assert sizes[6] == [40, 20, 10]
    assert sizes[15] == [160]
    assert SegmentColumn.objects.exclude(segment__in=Segment.objects.all()).count() == 0
    assert_told(model, a_filter(rng))


@pytest.mark.django_db(transaction=True)
def test_no_more_rows_in_one_than_memory_is_for(monkeypatch):
    monkeypatch.setattr(segments, "MOST_ROWS", 30)
    rng, model = random.Random(1), slotted()
    store(model, *(a_request(rng, model, str(number)) for number in range(100)))
    assert segments.build_due() == 4
    assert [rows for rows, _ in chain_of(model)] == [30, 30, 30, 10]
    for _ in range(20):
        assert_told(model, a_filter(rng))


@pytest.mark.django_db(transaction=True)
def test_few_rows_and_few_new_ones_have_none(monkeypatch):
    monkeypatch.setattr(segments, "FEWEST_ROWS", 50)
    monkeypatch.setattr(segments, "FEWEST_NEW", 10)
    monkeypatch.setattr(segments, "MOST_PASSED_BY", 40)
    monkeypatch.setattr(
        "inference_store.models.Catalogue.objects.total", lambda model, _: model.inferences.count()
    )
    rng, model, others = random.Random(1), slotted(), slotted()
    store(model, *(a_request(rng, model, str(number)) for number in range(49)))
    assert segments.build_due() == 0
    assert_told(model, a_filter(rng), by_segments=False)
    store(model, a_request(rng, model, "one more"))
    assert segments.build_due() == 1
    store(model, *(a_request(rng, model, f"new {number}") for number in range(9)))
    assert segments.build_due() == 0
    reading.forget()
    assert_told(model, a_filter(rng))
    # So many of others lie there that a count would read them all.
    store(others, *(a_request(rng, others, f"new {number}") for number in range(40)))
    assert segments.build_due() == 1
    assert [rows for rows, _ in chain_of(model)] == [50, 9]
    assert_told(model, a_filter(rng))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", ["changed", "deleted"])
def test_where_many_have_changed_all_is_counted_until_it_is_built_again(how):
    rng, model = random.Random(1), slotted()
    store(model, *(a_request(rng, model, str(number)) for number in range(700)))
    segments.build_due()
    assert_told(model, a_filter(rng))
    of = model.inferences.filter(pk__in=model.inferences.order_by("pk").values("pk")[:501])
    if how == "changed":
        assert of.update(n1=5.0) == 501
    else:
        with connection.cursor() as cursor:
            cursor.execute(
                "delete from inference_store_inference where id = any(%s)",
                [list(of.values_list("pk", flat=True))],
            )
    (change,) = SegmentChange.objects.all()
    assert (change.segment_id, change.inference_id) == (model.segments.get().pk, None)
    assert_told(model, a_filter(rng), by_segments=False)
    assert segments.build_due() == 1
    assert not SegmentChange.objects.exists()
    assert model.segments.get().row_count == (700 if how == "changed" else 199)
    for _ in range(10):
        assert_told(model, a_filter(rng))


@pytest.mark.django_db(transaction=True)
def test_what_is_not_in_segments_is_no_change():
    rng, model = random.Random(1), slotted()
    store(model, *(a_request(rng, model, str(number)) for number in range(20)))
    segments.build_due()
    model.inferences.update(is_protected=True, metadata={}, data_source="another", updated_at=Now())
    store(model, a_request(rng, model, "new"))
    model.inferences.filter(inference_id="new").update(n1=7.0)
    model.inferences.filter(inference_id="new").delete()
    assert not SegmentChange.objects.exists()
    model.inferences.filter(inference_id="3").update(n1=7.0)
    assert [each.inference_id for each in SegmentChange.objects.all()] == [
        model.inferences.get(inference_id="3").pk
    ]
    assert_told(model, a_filter(rng))


@pytest.mark.django_db(transaction=True)
def test_some_changes_are_taken_in_when_they_are_many(monkeypatch):
    rng, model = random.Random(1), slotted()
    store(model, *(a_request(rng, model, str(number)) for number in range(50)))
    segments.build_due()
    monkeypatch.setattr(segments, "MOST_CHANGES", 5)
    monkeypatch.setattr(reading, "MOST_CHANGES", 9)
    for number in range(5):
        model.inferences.filter(inference_id=str(number)).update(n1=77.0)
    assert segments.build_due() == 0
    assert_told(model, a_filter(rng))
    for number in range(5, 10):
        model.inferences.filter(inference_id=str(number)).update(n1=77.0)
    assert_told(model, a_filter(rng), by_segments=False)
    monkeypatch.setattr(segments, "REST", 10**6)
    assert segments.build_due() == 0  # it was built only just now
    monkeypatch.setattr(segments, "REST", 0)
    assert segments.build_due() == 1
    assert_told(model, a_filter(rng))


@pytest.mark.django_db(transaction=True)
def test_what_is_restored_after_its_segment_was_built_again(monkeypatch):
    rng, model = random.Random(1), slotted()
    store(model, *(a_request(rng, model, str(number)) for number in range(49)))
    # One without numbers of its own, which no trigger has a word for either.
    store(model, make_request(model, "49", place=(1.0, 2.0), created_at=LONG_AGO))
    segments.build_due()
    delete_softly(model, "3", "7", "49")
    monkeypatch.setattr(segments, "MOST_CHANGES", 0)
    assert segments.build_due() == 1
    assert chain_of(model) == [(47, 0)]
    assert soft_deletion.restore_deleted(model=model).restored == ["3", "49", "7"]
    everything = {"time_window_filter": {"start": LONG_AGO.isoformat()}}
    conditions = conditions_of(model, BaseInferenceFilter.model_validate(everything)).all
    assert number_of(model, conditions) == 50
    for _ in range(10):
        assert_told(model, a_filter(rng))
    assert segments.build_due() == 1
    assert chain_of(model) == [(50, 0)]


@pytest.mark.django_db(transaction=True)
def test_a_slot_that_came_later():
    rng, model = random.Random(1), make_model()
    SearchSlot.objects.create(registered_model=model, key="lanes", type="int", slot="n2", state="ready")
    store(model, *(a_request(rng, model, str(number)) for number in range(50)))
    segments.build_due()
    SearchSlot.objects.create(registered_model=model, key="speed", type="float", slot="n1", state="ready")
    model.inferences.filter(inference_id__in=["1", "2"]).update(n1=2.5)
    asked = {"metadata_filter": [{"key": "speed", "type": "float", "operator": ">", "value": "1"}]}
    filters = BaseInferenceFilter.model_validate(asked)
    assert number_of(model, conditions_of(model, filters).all) == 2
    assert reading._Reading(model, conditions_of(model, filters).all, None).found() is None
    assert segments.build_due() == 1
    reading.forget()
    assert reading._Reading(model, conditions_of(model, filters).all, None).found() is not None
    assert number_of(model, conditions_of(model, filters).all) == 2


@pytest.mark.django_db(transaction=True)
def test_what_a_builder_left_that_died_is_cleared_up():
    rng, model = random.Random(1), slotted()
    store(model, *(a_request(rng, model, str(number)) for number in range(20)))
    watermark = model.inferences.get(inference_id="10").pk
    Segment.objects.create(registered_model=model, after=0, watermark=watermark)
    model.inferences.filter(inference_id__in=["1", "15"]).update(n1=2.5)
    assert SegmentChange.objects.count() == 1
    assert_told(model, a_filter(rng), by_segments=False)
    assert segments.build_due() == 1
    assert (Segment.objects.count(), SegmentChange.objects.count()) == (1, 0)
    reading.forget()
    assert_told(model, a_filter(rng))


@pytest.mark.django_db(transaction=True)
def test_one_builds_at_a_time():
    model = slotted()
    store(model, a_request(random.Random(1), model, "1"))
    with segments._alone() as alone:
        assert alone
        found = []
        thread = threading.Thread(
            target=lambda: (found.append(segments.build_due()), connections.close_all())
        )
        thread.start()
        thread.join(60)
        assert found == [0]
    assert segments.build_due() == 1


@pytest.mark.django_db(transaction=True)
def test_who_writes_for_too_long_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("inference_store.services.writers.SECONDS", 0.2)
    model = slotted()
    store(model, *(a_request(random.Random(1), model, str(number)) for number in range(20)))
    built = []
    thread = threading.Thread(target=lambda: (built.append(segments.build_due()), connections.close_all()))
    with transaction.atomic():
        model.inferences.filter(inference_id="1").update(n1=2.5)
        thread.start()
        thread.join(60)
    assert built == [0]
    assert not Segment.objects.exists()
    assert segments.build_due() == 1


@pytest.mark.django_db(transaction=True)
def test_the_task_builds_in_a_thread_once(monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def build():
        begun.set()
        assert go_on.wait(60)

    monkeypatch.setattr(segments, "build_due", build)
    assert tasks.build_segments() is True
    assert begun.wait(60)
    assert tasks.build_segments() is False
    go_on.set()
    with segments._building.at_it:  # it is given back
        pass


@pytest.mark.django_db(transaction=True)
def test_a_thread_has_its_connection_before_the_task_is_over():
    """For then the worker closes its pool."""
    taken, held, background = threading.Event(), [], Background("Anything")

    def work():
        held.append(connection.connection is not None)
        assert taken.wait(60)

    assert background.begin(work)
    taken.set()
    with background.at_it:
        assert held == [True]


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
