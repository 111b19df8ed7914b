"""What a process remembers of search slots never tells: the statement says whether they are still so."""

import random
from datetime import timedelta
from itertools import product

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inference_store.contract.filters import BaseInferenceFilter
from inference_store.contract.metadata import NewGetMetadataStatisticsRequest
from inference_store.models import SearchSlot, Segment
from inference_store.query import known_slots, neighbours
from inference_store.query.counts import count_matching
from inference_store.query.statistics import metadata_statistics
from inference_store.services import segments, vector_indexes
from tests import segmented
from tests.making import LONG_AGO, make_model, make_request, store
from tests.neighbourhood import nearest

pytestmark = pytest.mark.django_db(transaction=True)
COUNT, SIZE = 1_200, 8


@pytest.fixture(params=["rows", "segments"])
def model(request, monkeypatch, settings):
    """Of inferences with a `speed`, which has a slot, and a `height`, which has none; both from 0 to 99."""
    settings.VECTOR_INDEX_ROWS = 1_000
    monkeypatch.setattr(neighbours, "CODED_FROM", 100)
    segmented.always(monkeypatch)
    model = make_model(embedding_size=SIZE)
    SearchSlot.objects.create(registered_model=model, key="speed", type="float", slot="n1", state="ready")
    rng = random.Random(1)
    store(model, *(an_inference(rng, model, rng.randrange(100), number) for number in range(COUNT)))
    vector_indexes.build_due(model)
    if request.param == "segments":
        assert segments.build_due(model) == 1
    known_slots._known.forget_all()
    yield model
    vector_indexes.VectorIndex.objects.all().delete()
    vector_indexes.drop_unneeded()
    assert Segment.objects.exists() == (request.param == "segments")


def an_inference(rng, model, speed, number):
    return make_request(
        model,
        f"{number}-{speed}",
        metadata=[("speed", "float", str(speed)), ("height", "float", str(99 - speed))],
        embedding=[rng.uniform(-1, 1) for _ in range(SIZE)],
        created_at=LONG_AGO + timedelta(seconds=number),
    )


def above(key, value):
    """With a window, so that no catalogue says how many there are."""
    asked = [{"key": key, "type": "float", "operator": ">", "value": str(value)}]
    return {"metadata_filter": asked, "time_window_filter": {"start": LONG_AGO.isoformat()}}


@pytest.fixture(params=["count", "histogram", "neighbours"])
def number_told(request):
    """How many there are above a value, as each of these tells; none of them asks before another."""

    def of_count(model, key, filters):
        return count_matching(model, BaseInferenceFilter.model_validate(filters))

    def of_histogram(model, key, filters):
        asked = NewGetMetadataStatisticsRequest.model_validate(
            {"filters": filters, "key": key, "type": "float"}
        )
        return metadata_statistics(model, asked).count

    def of_neighbours(model, key, filters):
        return len(nearest(model, np.ones(SIZE, np.float32), filters=filters, limit=900))

    return {"count": of_count, "histogram": of_histogram, "neighbours": of_neighbours}[request.param]


def true_number(model, key, value):
    speeds = model.inferences.values_list("metadata", flat=True)
    return sum(held["float"][key] > value for held in speeds)


def assert_told(model, number_told):
    for key, value in product(("speed", "height"), (40, 97)):
        number = true_number(model, key, value)
        assert number > 0
        assert number_told(model, key, above(key, value)) == number


def test_nobody_asks_for_slots_that_are_known(model):
    filters = BaseInferenceFilter.model_validate(above("speed", 40))
    request = NewGetMetadataStatisticsRequest(filters=filters, key="speed", type="float")
    count_matching(model, filters)
    metadata_statistics(model, request)
    nearest(model, np.ones(SIZE, np.float32), filters=above("speed", 40))
    with CaptureQueriesContext(connection) as captured:
        count_matching(model, filters)
    assert len(captured) == 1
    with CaptureQueriesContext(connection) as captured:
        nearest(model, np.ones(SIZE, np.float32), filters=above("speed", 40))
    assert len(captured) == 2
    if Segment.objects.exists():
        with CaptureQueriesContext(connection) as captured:
            metadata_statistics(model, request)
        assert len(captured) == 1


@pytest.mark.parametrize("state", ["leaving", "unfit"])
def test_a_slot_that_writers_no_longer_fill(model, number_told, state):
    assert_told(model, number_told)
    SearchSlot.objects.update(state=state)
    store(model, an_inference(random.Random(2), model, 98, COUNT))
    assert model.inferences.get(inference_id=f"{COUNT}-98").n1 is None
    assert_told(model, number_told)


def test_a_column_that_is_now_another_keys(model, number_told):
    assert_told(model, number_told)
    SearchSlot.objects.all().delete()
    SearchSlot.objects.create(registered_model=model, key="height", type="float", slot="n1", state="ready")
    with connection.cursor() as cursor:
        cursor.execute(
            "update inference_store_inference set n1 = (metadata -> 'float' ->> 'height')::float8, n2 = null"
        )
    assert_told(model, number_told)


def test_a_slot_that_is_new(model, number_told):
    SearchSlot.objects.all().delete()
    assert_told(model, number_told)
    SearchSlot.objects.create(registered_model=model, key="speed", type="float", slot="n1", state="ready")
    store(model, an_inference(random.Random(2), model, 98, COUNT))
    assert_told(model, number_told)
