"""What every system is asked: thirteen operations, each in nine variants, deletes in three."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from bench.compare.workload import CITIES, DAY, LABELS, QUERY_VECTORS, SENSORS, START, Array, Workload

VARIANTS = 9
PAGE = 50
NEIGHBOURS = 50
QUERIES_A_VARIANT = QUERY_VECTORS // VARIANTS
BINS = 10
EARTH_METERS = 6_371_008.8
END = START + 30 * DAY

Parameters: TypeAlias = dict[str, Any]
Mask: TypeAlias = Array


@dataclass(frozen=True)
class Operation:
    """`method` is the name of the method of a store that answers it; `title` is for people."""

    code: str
    method: str
    title: str
    variants: Callable[[Workload], list[Parameters]]
    matches: Callable[[Workload, Parameters], Mask]

    @property
    def is_search(self) -> bool:
        """Whether it is asked once for each of several query vectors."""
        return self.code in ("Q8", "Q9")

    @property
    def is_delete(self) -> bool:
        return self.code == "D1"


def _everything(workload: Workload, parameters: Parameters) -> Mask:
    return np.ones(workload.size, bool)


def _in_window(workload: Workload, parameters: Parameters) -> Mask:
    in_window: Mask = (workload.created >= parameters["start"]) & (workload.created < parameters["end"])
    return in_window


def _of_sensor(workload: Workload, parameters: Parameters) -> Mask:
    of_sensor: Mask = workload.columns.sensor == SENSORS.index(parameters["sensor"])
    return of_sensor


def _of_sensor_lately(workload: Workload, parameters: Parameters) -> Mask:
    lately: Mask = workload.created >= parameters["start"]
    return _of_sensor(workload, parameters) & lately


def _in_ranges(workload: Workload, parameters: Parameters) -> Mask:
    held = workload.columns
    in_ranges: Mask = (held.altitude >= parameters["altitude"]) & (held.frame < parameters["frame"])
    return in_ranges


def _windier(workload: Workload, parameters: Parameters) -> Mask:
    windier: Mask = workload.columns.wind > parameters["speed"]
    return windier


def meters_from(latitude: float, longitude: float, latitudes: Array, longitudes: Array) -> Array:
    """Great-circle distances by the haversine formula."""
    here, there = np.radians(latitude), np.radians(latitudes)
    half = np.sin((there - here) / 2) ** 2
    half += np.cos(here) * np.cos(there) * np.sin(np.radians(longitudes - longitude) / 2) ** 2
    meters: Array = 2 * EARTH_METERS * np.arcsin(np.sqrt(half))
    return meters


def _in_circle(workload: Workload, parameters: Parameters) -> Mask:
    held, (latitude, longitude) = workload.columns, (parameters["latitude"], parameters["longitude"])
    in_circle: Mask = meters_from(latitude, longitude, held.latitude, held.longitude) <= parameters["meters"]
    return in_circle


def _in_rectangle(workload: Workload, parameters: Parameters) -> Mask:
    held = workload.columns
    high: Mask = (held.latitude >= parameters["south"]) & (held.latitude <= parameters["north"])
    wide: Mask = (held.longitude >= parameters["west"]) & (held.longitude <= parameters["east"])
    return high & wide


def _with_entry(workload: Workload, parameters: Parameters) -> Mask:
    held = workload.columns
    numbers = [LABELS.index(label) for label in parameters["labels"]]
    fits = np.isin(held.entry_label, numbers) & (held.entry_score >= parameters["score"])
    before = np.concatenate([[0], np.cumsum(fits)])
    with_entry: Mask = before[held.first_entry[1:]] > before[held.first_entry[:-1]]
    return with_entry


def _between_values(number: float) -> float:
    """A threshold that no stored value, of two decimals, is equal to."""
    return float(np.floor(number)) + 0.005


def _range_variants(workload: Workload) -> list[Parameters]:
    low, high = np.quantile(workload.columns.altitude, [0.65, 0.9])
    return [
        {"altitude": _between_values(low + (high - low) * step / 8), "frame": 20_000 + 2_000 * step}
        for step in range(VARIANTS)
    ]


def _circle_variants(workload: Workload) -> list[Parameters]:
    cities = CITIES[:VARIANTS].tolist()
    return [{"latitude": north, "longitude": east, "meters": 50_000.0} for north, east in cities]


def _rectangle_variants(workload: Workload) -> list[Parameters]:
    cities = CITIES[:VARIANTS].tolist()
    return [
        {"south": north - 0.5, "north": north + 0.7, "west": east - 0.6, "east": east + 0.8}
        for north, east in cities
    ]


def _search_variants(workload: Workload) -> list[Parameters]:
    steps = range(0, VARIANTS * QUERIES_A_VARIANT, QUERIES_A_VARIANT)
    return [{"queries": [first, first + QUERIES_A_VARIANT]} for first in steps]


def _filtered_search_variants(workload: Workload) -> list[Parameters]:
    asked = zip(_search_variants(workload), SENSORS, strict=False)
    return [{**each, "sensor": sensor, "start": END - 7 * DAY} for each, sensor in asked]


def _deep_variants(workload: Workload) -> list[Parameters]:
    deepest = min(50_000, workload.size // 2)
    return [{"offset": deepest - PAGE * step} for step in range(VARIANTS)]


OPERATIONS = {
    operation.code: operation
    for operation in (
        Operation(
            "Q1",
            "day_page",
            "newest 50 of a day",
            lambda workload: [
                {"start": START + (3 * step + 1) * DAY, "end": START + (3 * step + 2) * DAY}
                for step in range(VARIANTS)
            ],
            _in_window,
        ),
        Operation(
            "Q2",
            "sensor_page",
            "sensor = x, page and count",
            lambda workload: [{"sensor": sensor} for sensor in SENSORS[:VARIANTS]],
            _of_sensor,
        ),
        Operation("Q3", "ranges_page", "two ranges, page and count", _range_variants, _in_ranges),
        Operation(
            "Q4",
            "wind_count",
            "a number in nested JSON, count",
            lambda workload: [{"speed": 10.005 + step} for step in range(VARIANTS)],
            _windier,
        ),
        Operation("Q5", "circle_page", "50 km circle, page and count", _circle_variants, _in_circle),
        Operation("Q6", "rectangle_count", "rectangle, count", _rectangle_variants, _in_rectangle),
        Operation(
            "Q7",
            "entry_page",
            "label and score, page and count",
            lambda workload: [
                {"labels": [LABELS[step], LABELS[step + 8]], "score": 0.79995} for step in range(VARIANTS)
            ],
            _with_entry,
        ),
        Operation("Q8", "nearest", "50 nearest", _search_variants, _everything),
        Operation(
            "Q9",
            "nearest_filtered",
            "50 nearest under a filter",
            _filtered_search_variants,
            _of_sensor_lately,
        ),
        Operation(
            "Q10",
            "altitude_histogram",
            "histogram of 7 days",
            lambda workload: [
                {"start": START + 2 * step * DAY, "end": START + (2 * step + 7) * DAY}
                for step in range(VARIANTS)
            ],
            _in_window,
        ),
        Operation("Q11", "sensor_values", "values of a key", lambda workload: [{}] * VARIANTS, _everything),
        Operation("Q12", "deep_page", "page at an offset of 50,000", _deep_variants, _everything),
        Operation(
            "D1",
            "delete_sensor",
            "delete 3 % by a filter",
            lambda workload: [{"sensor": sensor} for sensor in SENSORS[:8:-1]],
            _of_sensor,
        ),
    )
}
