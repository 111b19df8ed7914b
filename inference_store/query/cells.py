"""Map cells: where the matching inferences of a viewport are, as counts by cell or one by one."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import (
    Avg,
    Case,
    Count,
    F,
    FloatField,
    Func,
    IntegerField,
    Max,
    Min,
    Q,
    QuerySet,
    Value,
    When,
)

from inference_store.contract.map_cells import (
    MOST_CELLS,
    MOST_POINTS,
    MapCell,
    MapCells,
    MapPoint,
    NewMapCellsRequest,
    Viewport,
)
from inference_store.models import Inference, RegisteredModel
from inference_store.query.conditions import Condition, all_of, any_of
from inference_store.query.matching import matching
from inference_store.query.places import MARGIN_DEGREES, between_latitudes, east_of, west_of

LARGEST_CELL_DEGREES = 90.0
TINY = 1e-130
"""Degrees; added and taken away, it makes what is far smaller 0."""


class Steps(Func):
    """`floor(degrees / size)`: which row or column that is. What would underflow, an error, is 0."""

    template = "floor((%(expressions)s)::int"
    arg_joiner = f" + {TINY} - {TINY}) / "
    output_field = IntegerField()


STRETCHES, STRETCH = 100, 1_000
"""How many parts of the table a sample reads, and how many keys each has."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The cells of one size that a viewport touches.

    Rows and columns count from latitude and longitude 0. `columns` are one range, or two across ±180.
    """

    zoom: int
    rows: range
    columns: list[range]

    @classmethod
    def over(cls, viewport: Viewport, zoom: int) -> "Grid":
        """In cells of that zoom's size, or of the largest below it that are not too many."""
        grid = cls(zoom, *_touched(viewport, zoom))
        while len(grid.rows) * sum(map(len, grid.columns)) > MOST_CELLS:
            zoom -= 1
            grid = cls(zoom, *_touched(viewport, zoom))
        return grid

    @property
    def size(self) -> float:
        return _size(self.zoom)

    @property
    def has_all_columns(self) -> bool:
        return sum(map(len, self.columns)) == 4 << self.zoom

    def holds(self, row: int, column: int) -> bool:
        return row in self.rows and any(column in each for each in self.columns)

    def box(self) -> Condition:
        """What lies in these cells, and a rim around them that rounding may put there."""
        size = self.size
        south, north = self.rows.start * size, self.rows.stop * size
        latitudes = between_latitudes(max(south - MARGIN_DEGREES, -90), min(north + MARGIN_DEGREES, 90))
        box = [Condition("r.latitude is not null"), latitudes]
        if not self.has_all_columns:
            box.append(any_of(list(self._longitudes())))
        return all_of(box)

    def _longitudes(self) -> Iterator[Condition]:
        for each in self.columns:
            west, east = each.start * self.size - MARGIN_DEGREES, each.stop * self.size + MARGIN_DEGREES
            yield all_of([east_of(west), west_of(east)])
            if each.start * self.size == -180:
                yield east_of(180 - MARGIN_DEGREES)

    def cell(self, row: int, column: int, latitude: float, longitude: float, count: int) -> MapCell:
        size = self.size
        return MapCell.model_construct(
            south=row * size,
            west=column * size,
            north=(row + 1) * size,
            east=(column + 1) * size,
            latitude=latitude,
            longitude=longitude,
            count=count,
        )


def _size(zoom: int) -> float:
    """Degrees: 90 halved, which binary can spell."""
    return math.ldexp(LARGEST_CELL_DEGREES, -zoom)


def cell_of(latitude: float, longitude: float, zoom: int) -> tuple[int, int]:
    """Row and column: the poles are in the outermost rows, and longitude 180 is -180."""
    size, half = _size(zoom), 2 << zoom
    row, column = (math.floor((each + TINY - TINY) / size) for each in (latitude, longitude))
    return min(row, (1 << zoom) - 1), (column + half) % (2 * half) - half


def _touched(viewport: Viewport, zoom: int) -> tuple[range, list[range]]:
    half = 2 << zoom
    south, west = cell_of(viewport.south, viewport.west, zoom)
    north, east = cell_of(viewport.north, viewport.east, zoom)
    rows = range(south, north + 1)
    if viewport.west == 180:
        return rows, [range(-half, east + 1)]
    if viewport.west <= viewport.east:
        # An eastern edge at 180 touches the last column, though the point 180 itself is in the first.
        return rows, [range(west, half if viewport.east == 180 else east + 1)]
    if east + 1 >= west:
        return rows, [range(-half, half)]
    return rows, [range(west, half), range(-half, east + 1)]


def map_cells(model: RegisteredModel, request: NewMapCellsRequest) -> MapCells:
    """Where the matching inferences are. Two queries at most, beyond those that a filter needs."""
    grid = Grid.over(request.viewport, request.zoom)
    placed = matching(model, request.filters).filter(grid.box())
    cells = [grid.cell(*found) for found in _counted(placed, grid) if grid.holds(found[0], found[1])]
    count = sum(cell.count for cell in cells)
    points = _points(placed, grid) if 0 < count <= MOST_POINTS else []
    return MapCells.model_construct(zoom=grid.zoom, count=count, cells=cells, points=points)


def sampled_cells(model: RegisteredModel, request: NewMapCellsRequest) -> MapCells:
    """About what `map_cells` would say, for what can't be counted in time: from 100,000 rows at most.

    These are read in stretches, evenly spaced over all that was ever stored, so a place that was busy for a
    short time only may come out wrong. No points.
    """
    ends = Inference.objects.aggregate(first=Min("pk"), last=Max("pk"))
    first, span = ends["first"] or 0, (ends["last"] or 0) - (ends["first"] or 0) + 1
    step = max(STRETCH, math.ceil(span / STRETCHES))
    stretches = [Q(pk__gte=start, pk__lt=start + STRETCH) for start in range(first, first + span, step)]
    grid = Grid.over(request.viewport, request.zoom)
    placed = matching(model, request.filters).filter(grid.box(), reduce(or_, stretches))
    cells = [
        grid.cell(row, column, latitude, longitude, round(n * step / STRETCH))
        for row, column, latitude, longitude, n in _counted(placed, grid)
        if grid.holds(row, column)
    ]
    count = sum(cell.count for cell in cells)
    return MapCells.model_construct(zoom=grid.zoom, count=count, cells=cells, points=[])


def _counted(placed: QuerySet[Inference], grid: Grid) -> QuerySet[Any, Any]:
    """(row, column, mean latitude, mean longitude, count)."""
    size, half = Value(grid.size, FloatField()), 2 << grid.zoom
    west_of_180 = Case(When(longitude=180, then=Value(-180.0)), default=F("longitude"))
    numbered: Any = placed.annotate(
        row=Func(
            Steps(F("latitude"), size),
            Value((1 << grid.zoom) - 1),
            function="least",
            output_field=IntegerField(),
        ),
        column=(Steps(F("longitude"), size) + half) % (2 * half) - half,
    )
    counted = numbered.order_by().values_list("row", "column")
    return counted.annotate(up=Avg("latitude"), along=Avg(west_of_180), n=Count("*"))  # type: ignore[no-any-return]


def _points(placed: QuerySet[Inference], grid: Grid) -> list[MapPoint]:
    columns = ("inference_id", "created_at", "latitude", "longitude")
    rows: Any = placed.order_by("-created_at", "-id").values_list(*columns)
    return [
        MapPoint.model_construct(
            inference_id=inference_id, created_at=created_at, latitude=latitude, longitude=longitude
        )
        for inference_id, created_at, latitude, longitude in rows[: 2 * MOST_POINTS]
        if grid.holds(*cell_of(latitude, longitude, grid.zoom))
    ][:MOST_POINTS]
