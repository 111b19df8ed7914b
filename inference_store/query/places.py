"""Circles and rectangles on the globe as conditions that an index on latitude bands can answer."""

import math

from inference_store.contract.filters import GeoCircle, GeolocationFilter, GeoRectangle
from inference_store.models.inference import LATITUDE_BANDS_PER_DEGREE
from inference_store.query.conditions import Condition, all_of, any_of
from inference_store.query.numbers import Compared, joined

EARTH_RADIUS_METERS = 6_371_008.8
MOST_BANDS = 120
"""Latitude bands (30 degrees) up to which the index is offered; a larger area is a scan anyway."""
MARGIN_DEGREES = 1e-7
"""Added to a circle's bounding box, so that rounding never excludes a point on the rim."""

# The column less a parameter; 0 where its square would underflow, which is an error.
UP = "(r.latitude - %s::float8 + 1e-130 - 1e-130)"
ACROSS = "(r.longitude - %s::float8 + 1e-130 - 1e-130)"
# The great-circle distance (haversine) from a fixed point. sind(180) and cosd(90) are exactly 0: -180 and
# 180, and all longitudes of a pole, are one point.
METERS = (
    f"2 * {EARTH_RADIUS_METERS} * asin(least(1.0, sqrt(power(sind({UP} / 2), 2) + "
    f"cosd(r.latitude) * cosd(%s::float8) * power(sind({ACROSS} / 2), 2))))"
)
UP_SQUARED, ACROSS_SQUARED = f"{UP} * {UP}", f"{ACROSS} * {ACROSS}"

LARGEST_FLAT_RADIANS = 0.1
"""Radius (637 km) up to which plain arithmetic decides nearly all points."""
FLAT_MARGIN = 1e-9
"""Relative; a million times what rounding could make of either side."""


def between_latitudes(south: float, north: float) -> Condition:
    """Between two latitudes, by bands of the index where they are few."""
    first, last = (math.floor(each * LATITUDE_BANDS_PER_DEGREE) for each in (south, north))
    asked = joined("and", [Compared("latitude", ">=", south), Compared("latitude", "<=", north)])
    between = Condition("r.latitude >= %s::float8 and r.latitude <= %s::float8", south, north, asked=asked)
    if last - first >= MOST_BANDS:
        return between
    bands = Condition("r.latitude_band = any(%s::smallint[])", list(range(first, last + 1)))
    both = all_of([between, bands])
    both.asked = asked  # the bands say nothing more
    return both


def east_of(west: float) -> Condition:
    return Condition("r.longitude >= %s::float8", west, asked=Compared("longitude", ">=", west))


def west_of(east: float) -> Condition:
    return Condition("r.longitude <= %s::float8", east, asked=Compared("longitude", "<=", east))


def _around(circle: GeoCircle) -> list[Condition]:
    """The circle's bounding box: one range of longitudes, two across the antimeridian, none at a pole."""
    center, reach = circle.center, circle.radius / EARTH_RADIUS_METERS
    degrees = math.degrees(reach) + MARGIN_DEGREES
    south, north = center.latitude - degrees, center.latitude + degrees
    box = between_latitudes(max(south, -90.0), min(north, 90.0))
    width = _width(circle)
    if south <= -90 or north >= 90 or width is None:
        return [box]  # every meridian passes near a pole
    west, east = center.longitude - width, center.longitude + width
    if east - west >= 360:
        return [box]
    if west <= -180:
        return [box, any_of([east_of(west + 360), west_of(east)])]
    if east >= 180:
        return [box, any_of([east_of(west), west_of(east - 360)])]
    return [box, east_of(west), west_of(east)]


def _width(circle: GeoCircle) -> float | None:
    """Degrees of longitude to either side of the center; None where a pole is near or it is all of them."""
    reach = circle.radius / EARTH_RADIUS_METERS
    cosine = math.cos(math.radians(circle.center.latitude))
    if reach >= math.pi / 2 or math.sin(reach) >= cosine:
        return None
    return math.degrees(math.asin(math.sin(reach) / cosine)) * (1 + 1e-9) + MARGIN_DEGREES


def _within_circle(circle: GeoCircle) -> list[Condition]:
    center = circle.center
    exactly = Condition(
        f"{METERS} <= %s::float8", center.latitude, center.latitude, center.longitude, circle.radius
    )
    if flat := _flat(circle):
        surely, perhaps = flat
        return [*_around(circle), any_of([surely, all_of([perhaps, exactly])])]
    return [*_around(circle), exactly]


def _flat(circle: GeoCircle) -> tuple[Condition, Condition] | None:
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
    shrink_up = 1 - math.radians(degrees) ** 2 / 12
    shrink_across = (1 - math.radians(width) ** 2 / 12) * at_center * min(cosines)
    inner, outer = limit * (1 - FLAT_MARGIN), limit * (1 + FLAT_MARGIN)
    up, across = (center.latitude, center.latitude), (center.longitude, center.longitude)
    surely = Condition(
        f"{UP_SQUARED} + {ACROSS_SQUARED} * %s::float8 <= %s::float8",
        *up, *across, at_center * widest, inner,
    )  # fmt: skip
    perhaps = Condition(
        f"{UP_SQUARED} * %s::float8 + {ACROSS_SQUARED} * %s::float8 <= %s::float8",
        *up, shrink_up, *across, shrink_across, outer,
    )  # fmt: skip
    return surely, perhaps


def _within_rectangle(rectangle: GeoRectangle) -> list[Condition]:
    south, north = sorted((rectangle.p1.latitude, rectangle.p2.latitude))
    west, east = sorted((rectangle.p1.longitude, rectangle.p2.longitude))
    box = between_latitudes(south, north)
    if rectangle.crosses_antimeridian:
        return [box, any_of([west_of(west), east_of(east)])]
    return [box, east_of(west), west_of(east)]


def located(wanted: GeolocationFilter) -> Condition:
    """In the circle and in the rectangle, whichever are given; without coordinates: nowhere."""
    held: list[Condition] = []
    if wanted.gps_coordinates_circle:
        held += _within_circle(wanted.gps_coordinates_circle)
    if wanted.gps_coordinates_rectangle:
        held += _within_rectangle(wanted.gps_coordinates_rectangle)
    somewhere = Condition("r.latitude is not null", asked=Compared("latitude", "is not null"))
    return all_of([somewhere, *held] if held else [])
