"""Segments are built in the background, as few of them as there need be, whoever writes or dies meanwhile."""

import random
import threading

import pytest
from django.db import connection, connections, transaction
from django.db.models.functions import Now

from inference_store.contract.filters import BaseInferenceFilter
from inference_store.models import SearchSlot, Segment, SegmentChange, SegmentColumn
from inference_store.query import segments as reading
from inference_store.query.matching import conditions_of
from inference_store.query.segments import number_of
from inference_store.services import segments, soft_deletion
from tests import segmented
from tests.making import LONG_AGO, make_model, make_request, store
from tests.segmented import (
    a_filter,
    a_request,
    assert_told,
    chain_of,
    delete_softly,
    slotted,
)


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch):
    segmented.always(monkeypatch)


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
