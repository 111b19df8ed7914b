"""For systems with less to express: entries as one score a label, circles as the box around them."""

import math
from typing import NamedTuple

from bench.compare.operations import meters_from
from bench.compare.workload import Array, Record

METERS_A_DEGREE = 111_195


class Box(NamedTuple):
    south: float
    north: float
    west: float
    east: float


def box_around(latitude: float, longitude: float, meters: float) -> Box:
    """A rectangle in degrees that holds the circle; none asked for lies at a pole or the date line."""
    high = meters / METERS_A_DEGREE
    wide = high / math.cos(math.radians(abs(latitude) + high))
    return Box(latitude - high, latitude + high, longitude - wide, longitude + wide)


def is_within(latitude: float, longitude: float, meters: float, place: tuple[Array, Array]) -> Array:
    """Which of the places, as arrays of latitudes and longitudes, lie in the circle."""
    within: Array = meters_from(latitude, longitude, *place) <= meters
    return within


def best_scores(record: Record) -> dict[str, float]:
    """The highest score of each label of an inference."""
    best: dict[str, float] = {}
    for entry in record["entries"]:
        best[entry["label"]] = max(entry["score"], best.get(entry["label"], 0.0))
    return best
