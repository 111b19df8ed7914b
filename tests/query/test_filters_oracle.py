"""Random filters over random inferences: lists, counts, granular rows and deletes agree with brute force.

A failure names its seed and the fewest conditions that still disagree.
"""

import math
import random

import pytest
from django.db import transaction

from inference_store.contract.filters import BaseInferenceFilter, GeolocationFilter, NewGetInferencesRequest
from inference_store.models import SearchSlot
from inference_store.models.inference import NUMBER_SLOTS, STRING_SLOTS
from inference_store.models.search_slot import Unfit
from inference_store.query import granular, pages
from inference_store.query.matching import matching
from inference_store.services import deletion
from tests import oracle
from tests.making import make_model, make_request, store
from tests.query import random_data

pytestmark = pytest.mark.django_db
DATA_SETS, INFERENCES, FILTERS = 25, 60, 200
SOAKED_DATA_SETS = 500


def asked(filters, sort, descending):
    direction = "desc" if descending else "asc"
    pagination = {"sort": sort, "direction": direction, "limit": 1000}
    return NewGetInferencesRequest.model_validate({"filters": filters, "pagination": pagination})


def listed(model, filters, sort="created_at", descending=False):
    page = pages.inference_page(model, asked(filters, sort, descending))
    return [inference.inference_id for inference in page.inferences]


def granular_rows(model, filters, sort, descending):
    page = granular.granular_page(model, asked(filters, sort, descending))
    return [
        (row.inference.inference_id, row.position, row.label, row.score) for row in page.granular_inferences
    ]


def deleted(model, filters):
    """The ids that a delete with this filter takes, and takes back."""
    with transaction.atomic():
        ids = deletion.delete_matching(model=model, filters=filters)
        left = listed(model, BaseInferenceFilter())
        transaction.set_rollback(True)
    return ids, left


def fewest(model, requests, chosen):
    """The conditions without those that the disagreement does not need, and the ids in dispute."""

    def dispute(some):
        filters = random_data.as_filter(some)
        expected = {each.inference_id for each in oracle.matching(requests, filters)}
        return expected ^ set(listed(model, filters))

    for condition in list(chosen):
        rest = [each for each in chosen if each is not condition]
        if rest and dispute(rest):
            chosen = rest
    disputed = dispute(chosen)
    return chosen, [
        each.model_dump_json(exclude_none=True) for each in requests if each.inference_id in disputed
    ]


def fits_a_slot(searched, requests):
    """Whether a slot can hold all values of this (type, key)."""
    type_, key = searched
    reader = SearchSlot(type=type_, key=key).reader
    try:
        for request in requests:
            reader.value(held_by(request))
    except Unfit:
        return False
    return True


def held_by(request):
    """The metadata as the column holds them."""
    held = {}
    for item in request.data.metadata.extended_metadata:
        held.setdefault(item.type, {})[item.key] = item.parsed()
    return held


@pytest.mark.soak
@pytest.mark.parametrize("with_slots", [False, True])
@pytest.mark.parametrize("seed", range(DATA_SETS, SOAKED_DATA_SETS))
def test_filters_agree_with_brute_force_for_long(seed, with_slots):
    test_filters_agree_with_brute_force(seed, with_slots)


@pytest.mark.parametrize("with_slots", [False, True])
@pytest.mark.parametrize("seed", range(DATA_SETS))
def test_filters_agree_with_brute_force(seed, with_slots):
    rng = random.Random(seed * 2 + with_slots)
    model, other = make_model(), make_model()
    requests = [random_data.random_request(rng, model, number) for number in range(INFERENCES)]
    if with_slots:
        fit = [each for each in random_data.searched_keys(requests) if fits_a_slot(each, requests)]
        random_data.give_slots(rng, model, fit)
    store(model, *requests)
    store(other, *(random_data.random_request(rng, other, number) for number in range(5)))
    hits = judged = 0
    for turn in range(FILTERS):
        chosen = random_data.conditions(rng, requests)
        filters = random_data.as_filter(chosen)
        sort, descending = rng.choice(["created_at", "label", "score"]), rng.random() < 0.5
        try:
            expected = oracle.ordered_ids(requests, filters, sort, descending)
        except oracle.Unclear:
            continue
        judged += 1
        hits += bool(expected)
        found = listed(model, filters, sort, descending)
        if set(found) != set(expected):
            pytest.fail(f"seed {seed}, filter {turn}: disagree on {fewest(model, requests, chosen)}")
        assert found == expected, f"seed {seed}, filter {turn}: order by {sort}, {descending=}, {chosen}"
        count = pages.count_inferences(model, asked(filters, sort, descending))
        assert count == len(expected), f"seed {seed}, filter {turn}: {chosen}"
        if turn % 4 == 0:
            rows = oracle.granular_rows(requests, filters, sort, descending)
            assert granular_rows(model, filters, sort, descending) == rows, f"seed {seed}: {sort} {chosen}"
        if turn % 20 == 0:
            gone, left = deleted(model, filters)
            assert sorted(gone) == sorted(expected), f"seed {seed}, filter {turn}: {chosen}"
            assert set(left) == {each.inference_id for each in requests} - set(gone)
    assert len(SearchSlot.objects.searched(model)) == (len(NUMBER_SLOTS) + len(STRING_SLOTS)) * with_slots
    assert judged > FILTERS * 0.9
    assert FILTERS * 0.15 < hits < FILTERS * 0.95, "the filters are not apt to tell right from wrong"


def test_places_agree_with_brute_force():
    rng = random.Random(4)
    model = make_model()
    points = [(random_data.latitude(rng), random_data.longitude(rng)) for _ in range(90)]
    points += [(90.0, lon) for lon in (-180, 0, 77.7)] + [(-90.0, lon) for lon in (180, 0, 77.7)]
    points += [(lat, lon) for lat in (0.0, 45.0, -89.5) for lon in (-180.0, 180.0)]
    requests = [make_request(model, str(number), place=at) for number, at in enumerate(points)]
    requests.append(make_request(model, "nowhere"))
    store(model, *requests)
    judged = 0
    for turn in range(10_000):
        if turn % 2:
            wanted = GeolocationFilter(gps_coordinates_circle=random_data.circle(rng, points))
        else:
            wanted = GeolocationFilter(gps_coordinates_rectangle=random_data.rectangle(rng, points))
        expected, unclear = set(), set()
        for request in requests:
            try:
                if oracle.located(request, wanted):
                    expected.add(request.inference_id)
            except oracle.Unclear:
                unclear.add(request.inference_id)
        filters = BaseInferenceFilter(location_filter=wanted)
        found = set(matching(model, filters).values_list("inference_id", flat=True))
        differ = (found ^ expected) - unclear
        assert not differ, f"case {turn}: {wanted!r}: {[points[int(each)] for each in differ]}"
        judged += len(requests) - len(unclear)
    assert judged > 900_000


def at(center, bearing, meters):
    """The point so far from the center in that direction."""
    latitude, longitude, reach = (
        math.radians(center[0]),
        math.radians(center[1]),
        meters / oracle.EARTH_RADIUS,
    )
    up = math.asin(
        math.sin(latitude) * math.cos(reach) + math.cos(latitude) * math.sin(reach) * math.cos(bearing)
    )
    across = math.atan2(
        math.sin(bearing) * math.sin(reach) * math.cos(latitude),
        math.cos(reach) - math.sin(latitude) * math.sin(up),
    )
    return math.degrees(up), (math.degrees(longitude + across) + 180) % 360 - 180


def test_points_near_the_rim_agree_with_brute_force():
    """Of circles small enough for plain arithmetic, near poles and the antimeridian too."""
    rng = random.Random(5)
    model, circles, points = make_model(), [], []
    for _ in range(250):
        center = (rng.choice([rng.uniform(-89, 89), 0.0]), rng.choice([rng.uniform(-180, 180), 179.9]))
        radius = 10 ** rng.uniform(0, 5.8)
        circles.append({"center": {"latitude": center[0], "longitude": center[1]}, "radius": radius})
        for _ in range(12):
            away = 1 + rng.choice([-1, 1]) * 10 ** rng.uniform(-7, -0.5)
            points.append(at(center, rng.uniform(0, 2 * math.pi), radius * away))
    requests = [make_request(model, str(number), place=point) for number, point in enumerate(points)]
    store(model, *requests)
    judged = 0
    for circle in circles:
        wanted = GeolocationFilter(gps_coordinates_circle=circle)
        filters = BaseInferenceFilter(location_filter=wanted)
        found = set(matching(model, filters).values_list("inference_id", flat=True))
        for number, point in enumerate(points):
            try:
                expected = oracle.in_circle(point, wanted.gps_coordinates_circle)
            except oracle.Unclear:
                continue
            judged += 1
            assert (str(number) in found) == expected, f"{point} in {circle}"
    assert judged > 700_000


@pytest.mark.parametrize(
    ("one", "other"),
    [((90, 0), (90, 77)), ((-90, -180), (-90, 3)), ((12.5, 180), (12.5, -180)), ((0, -180), (-0.0, 180))],
)
def test_two_names_of_one_point_are_no_distance_apart(one, other):
    model = make_model()
    store(model, make_request(model, "here", place=other))
    circle = {"center": {"latitude": one[0], "longitude": one[1]}, "radius": 0}
    filters = BaseInferenceFilter(location_filter={"gps_coordinates_circle": circle})
    assert listed(model, filters) == ["here"]


@pytest.mark.parametrize("radius", [0, 1e-9, 1, 1e5, 2e6])
@pytest.mark.parametrize("place", [(1e-200, 0), (0, -1e-200), (5e-324, 5e-324), (1e-170, -1e-131)])
def test_coordinates_too_small_to_square(place, radius):
    model = make_model()
    store(model, make_request(model, "here", place=place))
    circle = {"center": {"latitude": 0, "longitude": 0}, "radius": radius}
    filters = BaseInferenceFilter(location_filter={"gps_coordinates_circle": circle})
    assert listed(model, filters) == ["here"] or radius == 0


def test_half_the_circumference_reaches_the_antipode():
    model = make_model()
    store(model, make_request(model, "antipode", place=(-12.5, -170)))
    center = {"latitude": 12.5, "longitude": 10}
    for radius, ids in [(math.pi * oracle.EARTH_RADIUS + 1, ["antipode"]), (2e7, [])]:
        circle = {"center": center, "radius": radius}
        assert listed(model, BaseInferenceFilter(location_filter={"gps_coordinates_circle": circle})) == ids


def test_a_filter_with_nothing_set_restricts_nothing():
    model = make_model()
    store(model, make_request(model, "a"), make_request(model, "b", entries=[{"label": "x"}]))
    assert listed(model, random_data.nothing_asked()) == ["a", "b"]
    assert listed(
        model, BaseInferenceFilter(metadata_filter=[], location_filter={}, time_window_filter={})
    ) == [
        "a",
        "b",
    ]


def test_a_hundred_thousand_values_are_answered():
    model = make_model()
    store(model, make_request(model, "a", metadata=[("k", "string", "v7")]), make_request(model, "b"))
    values = "[" + ", ".join(f"v{number}" for number in range(100_000)) + "]"
    wanted = {"key": "k", "type": "string", "operator": "in", "value": values}
    assert listed(model, BaseInferenceFilter(metadata_filter=[wanted])) == ["a"]
