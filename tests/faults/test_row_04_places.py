"""Places at poles, on the antimeridian and everywhere: what a filter finds is what a great circle says.

The oracle (tests/oracle.py) measures each point by itself; points too near a rim to tell are left out.
"""

import math
import random

import pytest

from inference_store.contract.filters import BaseInferenceFilter, GeolocationFilter
from inference_store.models import Inference
from inference_store.query.matching import matching
from tests import oracle
from tests.cast import request_of
from tests.making import make_model, make_request, store
from tests.query import random_data
from tests.query.test_filters_oracle import listed

pytestmark = pytest.mark.django_db


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


CIRCLE = {"center": {"latitude": 0, "longitude": 0}, "radius": 1}
RECTANGLE = {"p1": {"latitude": 0, "longitude": 0}, "p2": {"latitude": 1, "longitude": 1}}
OFF_THE_GLOBE = [("latitude", 90.0001), ("latitude", -90.0001), ("longitude", 180.0001), ("longitude", -181)]


@pytest.mark.parametrize(("side", "degrees"), OFF_THE_GLOBE)
def test_nothing_lies_off_the_globe(cast, detector, side, degrees):
    standard = {"latitude": 0, "longitude": 0, side: degrees}
    answer = cast.bob.post("models/detector/inferences", request_of(standard=standard))
    assert answer.status_code == 400
    assert list(answer.json()["fields"]) == [f"data.metadata.standard_metadata.{side}"]
    assert not Inference.objects.exists()
    point = {"latitude": 0, "longitude": 0, side: degrees}
    for kind, area in (
        ("circle", CIRCLE | {"center": point}),
        ("rectangle", RECTANGLE | {"p1": point}),
        ("rectangle", RECTANGLE | {"p2": point}),
    ):
        asked = {"filters": {"location_filter": {f"gps_coordinates_{kind}": area}}}
        answer = cast.carol.post("models/detector/search", asked)
        assert answer.status_code == 400
        assert next(iter(answer.json()["fields"])).endswith(side)


@pytest.mark.parametrize("radius", [-1, -1e-9])
def test_no_circle_has_less_than_no_radius(cast, detector, radius):
    asked = {"filters": {"location_filter": {"gps_coordinates_circle": CIRCLE | {"radius": radius}}}}
    assert cast.carol.post("models/detector/search", asked).status_code == 400
