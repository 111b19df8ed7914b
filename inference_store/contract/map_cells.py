"""What a map asks for and shows: a grid of counts, or points where they are few."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, model_validator

from inference_store.contract.base import Latitude, Longitude, RequestModel, ResponseModel
from inference_store.contract.filters import BaseInferenceFilter

LARGEST_ZOOM = 20
MOST_CELLS = 1_000
"""In one answer; a viewport of more is shown in larger cells."""
MOST_POINTS = 500
"""Up to which a viewport's inferences are shown one by one."""


class Viewport(RequestModel):
    """What of the globe is seen; with `east` below `west`, across the antimeridian. By default everything."""

    south: Latitude = -90.0
    west: Longitude = -180.0
    north: Latitude = 90.0
    east: Longitude = 180.0

    @model_validator(mode="after")
    def _south_is_below(self) -> Self:
        if self.south > self.north:
            raise ValueError("south is above north")
        return self


class NewMapCellsRequest(RequestModel):
    """Where the matching inferences are: cells of 90/2^zoom degrees, those that the viewport touches."""

    filters: BaseInferenceFilter = BaseInferenceFilter()
    viewport: Viewport = Viewport()
    zoom: Annotated[int, Field(ge=0, le=LARGEST_ZOOM)] = 2


class MapCell(ResponseModel):
    """A cell that holds something; `latitude` and `longitude` are the mean of what it holds.

    Its southern and western edges are its own, but for longitude 180, which is -180.
    """

    south: float
    west: float
    north: float
    east: float
    latitude: float
    longitude: float
    count: int


class MapPoint(ResponseModel):
    """One inference on the map."""

    inference_id: str
    created_at: datetime
    latitude: float
    longitude: float


class MapCells(ResponseModel):
    """`count` inferences in the cells that the viewport touches, each with its whole count.

    Where they are 500 or fewer, `points` has each of them, newest first. `zoom` is the grid's: less than was
    asked for where there would be more than 1,000 cells.
    """

    zoom: int
    count: int
    cells: list[MapCell]
    points: list[MapPoint]
