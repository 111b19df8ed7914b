"""Segments over whatever there is, read whatever an index would find, and what is asked of them."""

from datetime import timedelta
from uuid import uuid4

from django.db import connection, transaction

from inference_store.contract.filters import BaseInferenceFilter
from inference_store.models import SearchSlot, Segment
from inference_store.query import segments as reading
from inference_store.query.matching import conditions_of, stated
from inference_store.query.segments import number_of, numbers_of
from inference_store.services import deletion, segments, soft_deletion
from tests.making import LONG_AGO, make_model, make_request

SPEEDS = [-3.5, -1.0, 0.0, 0.1, 1.0, 2.0, 2.5, 7.0, 1e300]


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


def chain_of(model):
    return [(each.row_count, each.after) for each in Segment.objects.chain(model)]


def always(monkeypatch):
    monkeypatch.setattr(segments, "FEWEST_ROWS", 0)
    monkeypatch.setattr(segments, "FEWEST_NEW", 1)
    monkeypatch.setattr(segments, "REST", 0)
    monkeypatch.setattr(reading, "NANOSECONDS_BY_INDEX", 0)
    monkeypatch.setattr(reading, "NANOSECONDS_BY_COLUMN", 0)
    monkeypatch.setattr(reading, "NANOSECONDS_AT_LEAST", 0)
    reading.forget()
