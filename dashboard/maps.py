"""The map of what a filter leaves: cells and points as rows that a script draws, and what is drawn on it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import QueryDict
from django.urls import reverse
from pydantic import ValidationError

from dashboard.bounded import in_time
from dashboard.narrowing import on_first_page, spelled
from inference_store.contract.filters import BaseInferenceFilter
from inference_store.contract.map_cells import MapCell, MapCells, MapPoint, NewMapCellsRequest, Viewport
from inference_store.filtersets import InferenceFilterSet
from inference_store.models import RegisteredModel
from inference_store.query.cells import map_cells, sampled_cells

WORLD_ZOOM = 2
LARGEST_ZOOM = 18
TILE_PIXELS = 256
USUAL_PIXELS = (1_024, 512)
"""Width and height of a map whose size is not known: it was not drawn yet, or nobody draws it."""
STEP_IN = 2
ESTIMATE_MS = 1_000
"""What a reader waits for an estimate, after the count has not come in time."""
MOST_NAMED = 10
"""Inferences of one place by name; the others by a filter of it."""
POINTS_FROM_ZOOM, FEW_IN_A_CELL = 11, 3
"""Further away points would lie upon each other, and their number could not be seen."""
ZOOM_OF_FILTER = 17
"""From which on a cell is narrowed to rather than looked into."""


@dataclass(frozen=True)
class CellRow:
    """`share` of the fullest cell decides how it is shaded, 1 to 5."""

    cell: MapCell
    depth: int
    words: str
    query: str

    @property
    def box(self) -> str:
        return ",".join(map(repr, (self.cell.south, self.cell.west, self.cell.north, self.cell.east)))

    @property
    def at(self) -> str:
        return f"{self.cell.latitude!r},{self.cell.longitude!r}"


@dataclass(frozen=True)
class NamedInference:
    inference_id: str
    created_at: datetime
    url: str
    picture: str


@dataclass(frozen=True)
class PlaceRow:
    """The inferences of one place, newest first."""

    at: str
    words: str
    named: list[NamedInference]
    more: int
    query: str

    @property
    def count(self) -> int:
        return len(self.named) + self.more


@dataclass(frozen=True)
class Found:
    """What `_map_cells.html` shows. `count` is None where not even an estimate came in time."""

    count: int | None
    cells: list[CellRow]
    places: list[PlaceRow]
    is_estimate: bool = False


@dataclass(frozen=True)
class MapPanel:
    """What `_map.html` shows."""

    found: Found
    viewport: str
    query: str
    hidden: list[tuple[str, str]]
    circle: list[str]
    rectangle: str
    without_circle: str
    without_rectangle: str
    tiles_url: str
    tiles_attribution: str


def map_panel(model: RegisteredModel, filterset: InferenceFilterSet) -> MapPanel:
    data = filterset.data
    looked = looked_at(data.get("viewport", ""))
    kept = on_first_page(data)
    circle = data.get("circle", "")
    return MapPanel(
        found=found_in(model, filterset, *(_around(*looked) if looked else (Viewport(), WORLD_ZOOM))),
        viewport=data.get("viewport", "") if looked else "",
        query=kept.urlencode(),
        hidden=[(name, text) for name, texts in kept.lists() for text in texts if name != "circle"],
        circle=[part.strip() for part in circle.split(",")] if circle else ["", "", ""],
        rectangle=data.get("rectangle", ""),
        without_circle=_changed(data, circle=""),
        without_rectangle=_changed(data, rectangle=""),
        tiles_url=settings.MAP_TILES_URL,
        tiles_attribution=settings.MAP_TILES_ATTRIBUTION,
    )


def looked_at(text: str) -> tuple[float, float, int] | None:
    """The center and zoom that a `viewport` parameter says; None where it says none."""
    try:
        latitude, longitude, zoom = map(float, text.split(","))
        Viewport(south=latitude, north=latitude, west=longitude, east=longitude)
    except (ValueError, ValidationError):
        return None
    return (latitude, longitude, int(zoom)) if 0 <= zoom <= LARGEST_ZOOM else None


def _around(latitude: float, longitude: float, zoom: int) -> tuple[Viewport, int]:
    """What a map of the usual size shows there."""
    world = TILE_PIXELS * 2**zoom
    wide, high = USUAL_PIXELS
    middle = math.asinh(math.tan(math.radians(max(-85.0, min(85.0, latitude)))))
    reach = math.pi * high / world
    south, north = (math.degrees(math.atan(math.sinh(middle + side * reach))) for side in (-1, 1))
    across = 180 * wide / world
    west, east = -180.0, 180.0
    if across < 180:
        west, east = _wrapped(longitude - across), _wrapped(longitude + across)
    return Viewport(south=south, west=west, north=north, east=east), zoom


def _wrapped(longitude: float) -> float:
    return (longitude + 180) % 360 - 180


def found_in(model: RegisteredModel, filterset: InferenceFilterSet, viewport: Viewport, zoom: int) -> Found:
    """What lies in a viewport, in so much time as a panel has."""
    filters: BaseInferenceFilter = filterset.request_body().filters
    request = NewMapCellsRequest(filters=filters, viewport=viewport, zoom=zoom)
    found = in_time(lambda: map_cells(model, request))
    is_estimate = found is None
    if found is None:
        found = in_time(lambda: sampled_cells(model, request), ESTIMATE_MS)
    if found is None:
        return Found(None, [], [])
    data = filterset.data.copy()
    for name in ("bounds", "zoom"):
        data.pop(name, None)
    fullest = max((cell.count for cell in found.cells), default=0)
    if found.points and (found.zoom >= POINTS_FROM_ZOOM or fullest <= FEW_IN_A_CELL):
        return Found(found.count, [], list(_places(model, data, found.points)))
    return Found(found.count, list(_cells(data, found)), [], is_estimate)


def _changed(data: QueryDict, **changes: str) -> str:
    changed = on_first_page(data)
    for name, text in changes.items():
        changed.pop(name, None)
        if text:
            changed[name] = text
    return changed.urlencode()


def _cells(data: QueryDict, found: MapCells) -> Iterator[CellRow]:
    """The fullest first; each leads to a closer look, and in the end to a filter of it."""
    most = max((cell.count for cell in found.cells), default=1)
    for cell in sorted(found.cells, key=lambda cell: (-cell.count, cell.south, cell.west)):
        depth = 1 + round(4 * math.log(cell.count) / math.log(most)) if most > 1 else 1
        closer = f"{cell.latitude:.5f},{cell.longitude:.5f},{min(found.zoom + STEP_IN, LARGEST_ZOOM)}"
        if found.zoom < ZOOM_OF_FILTER:
            query = _changed(data, viewport=closer)
        else:
            query = _changed(data, rectangle=_corners(cell), view="", viewport="")
        yield CellRow(cell, depth, place_words(cell.latitude, cell.longitude, found.zoom), query)


def _corners(cell: MapCell) -> str:
    """As a rectangle, which holds its edges; a cell leaves those at north and east to the next one, and the
    longitude 180 is in the cell that begins at -180."""
    north = cell.north if cell.north == 90 else math.nextafter(cell.north, -90)
    west, crosses = (180.0, ",crosses") if cell.west == -180 else (cell.west, "")
    east = math.nextafter(cell.east, -180)
    return ",".join(spelled(each) for each in (cell.south, west, north, east)) + crosses


def _places(model: RegisteredModel, data: QueryDict, points: list[MapPoint]) -> Iterator[PlaceRow]:
    by_place: dict[tuple[float, float], list[MapPoint]] = {}
    for point in points:
        by_place.setdefault((point.latitude, point.longitude), []).append(point)
    for (latitude, longitude), here in by_place.items():
        corner = f"{spelled(latitude)},{spelled(longitude)}"
        yield PlaceRow(
            at=f"{latitude!r},{longitude!r}",
            words=place_words(latitude, longitude, LARGEST_ZOOM),
            named=[_named(model, point) for point in here[:MOST_NAMED]],
            more=len(here[MOST_NAMED:]),
            query=_changed(data, rectangle=f"{corner},{corner}", view="", viewport=""),
        )


def _named(model: RegisteredModel, point: MapPoint) -> NamedInference:
    address: list[Any] = [model.model_id, point.inference_id]
    picture = reverse("dashboard:thumbnail", args=address)
    return NamedInference(
        point.inference_id,
        point.created_at,
        reverse("dashboard:inference", args=address),
        f"{picture}?size=320",
    )


def place_words(latitude: float, longitude: float, zoom: int) -> str:
    """As exactly as the zoom shows it: 53.54° N, 9.97° E."""
    digits = max(0, min(5, zoom // 3))
    north, east = "N" if latitude >= 0 else "S", "E" if longitude >= 0 else "W"
    return f"{abs(latitude):.{digits}f}° {north}, {abs(longitude):.{digits}f}° {east}"
