"""Circles and rectangles on the globe as conditions that an index on latitude bands can answer."""

import math
from typing import Any

from django.db.models import F, FloatField, Func, Q, Value
from django.db.models.lookups import LessThanOrEqual

from inference_store.contract.filters import GeoCircle, GeolocationFilter, GeoRectangle
from inference_store.models.inference import LATITUDE_BANDS_PER_DEGREE

EARTH_RADIUS_METERS = 6_371_008.8
MOST_BANDS = 120
"""Latitude bands (30 degrees) up to which the index is offered; a larger area is a scan anyway."""
MARGIN_DEGREES = 1e-7
"""Added to a circle's bounding box, so that rounding never excludes a point on the rim."""


def _difference(column: str) -> str:
    """The column less a parameter; 0 where its square would underflow, which is an error."""
    return f"({column} - %s::float8 + 1e-130 - 1e-130)"


class MetersFrom(Func):
    """Great-circle distance (haversine) in meters from a fixed point."""

    output_field = FloatField()

    def __init__(self, latitude: float, longitude: float) -> None:
        super().__init__(F("latitude"), F("longitude"))
        self.point = (latitude, longitude)

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **extra: Any) -> tuple[str, tuple[Any, ...]]:
        latitude, longitude = (compiler.compile(each)[0] for each in self.get_source_expressions())
        # sind(180) and cosd(90) are exactly 0: -180 and 180, and all longitudes of a pole, are one point.
        sql = (
            f"(2 * {EARTH_RADIUS_METERS} * asin(least(1.0, sqrt("
            f"power(sind({_difference(latitude)} / 2), 2) + cosd({latitude}) * "
            f"cosd(%s::float8) * power(sind({_difference(longitude)} / 2), 2)))))"
        )
        return sql, (self.point[0], self.point[0], self.point[1])


LARGEST_FLAT_RADIANS = 0.1
"""Radius (637 km) up to which plain arithmetic decides nearly all points."""
FLAT_MARGIN = 1e-9
"""Relative; a million times what rounding could make of either side."""


class Square(Func):
    """`(value - constant)²` in double precision."""

    output_field = FloatField()

    def __init__(self, field: str, constant: float) -> None:
        super().__init__(F(field))
        self.constant = constant

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **extra: Any) -> tuple[str, tuple[Any, ...]]:
        column = compiler.compile(self.get_source_expressions()[0])[0]
        return f"({_difference(column)} * {_difference(column)})", (self.constant, self.constant)


def between_latitudes(south: float, north: float) -> Q:
    """Between two latitudes, by bands of the index where they are few."""
    first, last = (math.floor(each * LATITUDE_BANDS_PER_DEGREE) for each in (south, north))
    condition = Q(latitude__gte=south, latitude__lte=north)
    if last - first < MOST_BANDS:
        condition &= Q(latitude_band__in=list(range(first, last + 1)))
    return condition


def _around(circle: GeoCircle) -> Q:
    """The circle's bounding box: one range of longitudes, two across the antimeridian, none at a pole."""
    center, reach = circle.center, circle.radius / EARTH_RADIUS_METERS
    degrees = math.degrees(reach) + MARGIN_DEGREES
    south, north = center.latitude - degrees, center.latitude + degrees
    box = between_latitudes(max(south, -90.0), min(north, 90.0))
    if south <= -90 or north >= 90:
        return box  # every meridian passes near a pole
    width = _width(circle)
    if width is None:
        return box
    west, east = center.longitude - width, center.longitude + width
    if east - west >= 360:
        return box
    if west <= -180:
        return box & (Q(longitude__gte=west + 360) | Q(longitude__lte=east))
    if east >= 180:
        return box & (Q(longitude__gte=west) | Q(longitude__lte=east - 360))
    return box & Q(longitude__gte=west, longitude__lte=east)


def _width(circle: GeoCircle) -> float | None:
    """Degrees of longitude to either side of the center; None where a pole is near or it is all of them."""
    reach = circle.radius / EARTH_RADIUS_METERS
    cosine = math.cos(math.radians(circle.center.latitude))
    if reach >= math.pi / 2 or math.sin(reach) >= cosine:
        return None
    return math.degrees(math.asin(math.sin(reach) / cosine)) * (1 + 1e-9) + MARGIN_DEGREES


def within_circle(circle: GeoCircle) -> Q:
    meters = MetersFrom(circle.center.latitude, circle.center.longitude)
    exactly = Q(LessThanOrEqual(meters, circle.radius))
    if flat := _flat(circle):
        surely, perhaps = flat
        return _around(circle) & (surely | (perhaps & exactly))
    return _around(circle) & exactly


def _flat(circle: GeoCircle) -> tuple[Q, Q] | None:
    """Ellipses in degrees: what is in the inner one is surely in the circle, what is not in the outer is not.

    With x and y the differences in latitude and longitude, as angles, and c the product of the two cosines of
    latitude, the haversine is h = sin²(x/2) + c sin²(y/2), and the point is in where h ≤ sin²(radius/2).
    From t(1 - t²/6) ≤ sin t ≤ t follows x²(1 - x²/12) + c y²(1 - y²/12) ≤ 4h ≤ x² + c y²; over the circle's
    bounding box x, y and c have bounds of their own. Only where the box is one range of longitudes.
    """
    center, reach = circle.center, circle.radius / EARTH_RADIUS_METERS
    degrees = math.degrees(reach) + MARGIN_DEGREES
    south, north = center.latitude - degrees, center.latitude + degrees
    if reach > LARGEST_FLAT_RADIANS or south <= -90 or north >= 90 or not (width := _width(circle)):
        return None
    if center.longitude - width <= -180 or center.longitude + width >= 180:
        return None
    cosines = [math.cos(math.radians(each)) for each in (south, north)]
    widest = 1.0 if south <= 0 <= north else max(cosines)
    at_center = math.cos(math.radians(center.latitude))
    limit = math.degrees(2 * math.sin(reach / 2)) ** 2
    up, across = Square("latitude", center.latitude), Square("longitude", center.longitude)
    shrink_up = 1 - math.radians(degrees) ** 2 / 12
    shrink_across = (1 - math.radians(width) ** 2 / 12) * at_center * min(cosines)
    inner, outer = limit * (1 - FLAT_MARGIN), limit * (1 + FLAT_MARGIN)
    surely = LessThanOrEqual(up + across * Value(at_center * widest), inner)
    perhaps = LessThanOrEqual(up * Value(shrink_up) + across * Value(shrink_across), outer)
    return Q(surely), Q(perhaps)


def within_rectangle(rectangle: GeoRectangle) -> Q:
    south, north = sorted((rectangle.p1.latitude, rectangle.p2.latitude))
    west, east = sorted((rectangle.p1.longitude, rectangle.p2.longitude))
    box = between_latitudes(south, north)
    if rectangle.crosses_antimeridian:
        return box & (Q(longitude__lte=west) | Q(longitude__gte=east))
    return box & Q(longitude__gte=west, longitude__lte=east)


def located(wanted: GeolocationFilter) -> Q:
    """In the circle and in the rectangle, whichever are given; without coordinates: nowhere."""
    condition = Q()
    if wanted.gps_coordinates_circle or wanted.gps_coordinates_rectangle:
        condition &= Q(latitude__isnull=False)
    if wanted.gps_coordinates_circle:
        condition &= within_circle(wanted.gps_coordinates_circle)
    if wanted.gps_coordinates_rectangle:
        condition &= within_rectangle(wanted.gps_coordinates_rectangle)
    return condition
