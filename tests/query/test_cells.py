"""Map cells agree with brute force: every inference of the touched cells, once, under any filter."""

import random
from collections import Counter

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from inference_store.contract.map_cells import MOST_CELLS, MOST_POINTS, NewMapCellsRequest, Viewport
from inference_store.models import Inference
from inference_store.query import cells
from inference_store.query.cells import Grid, cell_of, map_cells, sampled_cells
from tests import oracle
from tests.making import make_model, make_request, store
from tests.query import random_data


def cells_of(model, filters=None, zoom=2, **viewport):
    asked = {"filters": filters or {}, "viewport": viewport, "zoom": zoom}
    return map_cells(model, NewMapCellsRequest.model_validate(asked))


# --- The oracle: in fractions of a turn, cell by cell -------------------------------------------------------
def edges(zoom):
    """The southern edges of all rows and the western edges of all columns."""
    size = 90 / 2**zoom
    return [-90 + size * n for n in range(2 * 2**zoom)], [-180 + size * n for n in range(4 * 2**zoom)]


def cell(place, zoom):
    """The (south, west) of the cell that a place is in: the last edges not above it."""
    latitude, longitude = (0.0 if abs(each) < 1e-130 else each for each in place)
    souths, wests = edges(zoom)
    return (
        max(edge for edge in souths if edge <= latitude),
        max(edge for edge in wests if edge <= (-180 if longitude == 180 else longitude)),
    )


def touches(corner, zoom, viewport):
    size = 90 / 2**zoom
    south, west = corner
    if south > viewport.north or (south + size <= viewport.south and south + size < 90):
        return False
    spans = [(viewport.west, viewport.east)]
    if viewport.west > viewport.east:
        spans = [(viewport.west, 180), (-180, viewport.east)]
    return any(
        ((west < high if high == 180 else west <= high) and west + size > low)
        # The point 180 alone is the point -180.
        or (low == 180 and west == -180)
        for low, high in spans
    )


def expected(places, zoom, viewport):
    found = Counter(cell(place, zoom) for place in places)
    return {corner: n for corner, n in found.items() if touches(corner, zoom, viewport)}


def viewports(rng):
    south, north = sorted(random_data.latitude(rng) for _ in range(2))
    return Viewport(
        south=south, north=north, west=random_data.longitude(rng), east=random_data.longitude(rng)
    )


@pytest.mark.django_db
@pytest.mark.parametrize("seed", range(4))
def test_cells_agree_with_brute_force(seed):
    rng = random.Random(seed)
    model, other = make_model(), make_model()
    requests = [random_data.random_request(rng, model, number) for number in range(150)]
    store(model, *requests)
    store(other, *(random_data.random_request(rng, other, number) for number in range(20)))
    seen = 0
    for _ in range(40):
        filters = random_data.as_filter(random_data.conditions(rng, requests) if rng.random() < 0.5 else [])
        viewport, zoom = viewports(rng), rng.randrange(6)
        try:
            matched = oracle.matching(requests, filters)
        except oracle.Unclear:
            continue
        placed = {
            request.inference_id: (standard.latitude, standard.longitude)
            for request in matched
            if (standard := request.data.metadata.standard_metadata).latitude is not None
        }
        found = cells_of(model, filters.model_dump(), zoom, **viewport.model_dump())
        assert found.zoom <= zoom
        wanted = expected(placed.values(), found.zoom, viewport)
        assert {(each.south, each.west): each.count for each in found.cells} == wanted
        assert found.count == sum(wanted.values())
        inside = [name for name, place in placed.items() if cell(place, found.zoom) in wanted]
        assert sorted(point.inference_id for point in found.points) == sorted(inside)
        seen += len(inside)
        for each in found.cells:
            within = [
                place for place in placed.values() if cell(place, found.zoom) == (each.south, each.west)
            ]
            along = [-180 if place[1] == 180 else place[1] for place in within]
            assert each.latitude == pytest.approx(sum(place[0] for place in within) / len(within), abs=1e-9)
            assert each.longitude == pytest.approx(sum(along) / len(along), abs=1e-9)
    assert seen > 100, "the filters and viewports hit too little to judge by"


def degrees(most):
    return st.floats(-most, most).map(lambda each: 0.0 if abs(each) < 1e-100 else each)


LATITUDES = st.one_of(degrees(90), st.sampled_from([-90.0, 90.0, 0.0, -0.0, 45.0, 5e-324, -5e-324]))
LONGITUDES = st.one_of(degrees(180), st.sampled_from([-180.0, 180.0, 0.0, 90.0, 179.99999999]))


@given(LATITUDES, LATITUDES, LONGITUDES, LONGITUDES, st.integers(0, 20))
def test_a_grid_touches_its_viewport_and_is_never_large(one, other, west, east, zoom):
    viewport = Viewport(south=min(one, other), north=max(one, other), west=west, east=east)
    grid = Grid.over(viewport, zoom)
    assert 1 <= len(grid.rows) * sum(map(len, grid.columns)) <= MOST_CELLS
    for latitude in (viewport.south, viewport.north):
        for longitude in (west, east):
            if longitude < 180:
                assert grid.holds(*cell_of(latitude, longitude, grid.zoom))
    assert len({column for each in grid.columns for column in each}) == sum(map(len, grid.columns))


@given(LATITUDES, LONGITUDES, st.integers(0, 6))
def test_a_place_is_in_the_cell_with_the_last_edges_below_it(latitude, longitude, zoom):
    row, column = cell_of(latitude, longitude, zoom)
    size = 90 / 2**zoom
    assert (row * size, column * size) == cell((latitude, longitude), zoom)


@pytest.mark.django_db
def test_across_the_antimeridian():
    model = make_model()
    places = [(-17, 179.9), (-17, -179.9), (-17, 180), (-17, -180), (-17, 0), (-17, 150)]
    store(model, *(make_request(model, str(n), place=place) for n, place in enumerate(places)))
    found = cells_of(model, zoom=4, south=-20, north=-10, west=178, east=-178)
    assert sorted(point.inference_id for point in found.points) == ["0", "1", "2", "3"]
    assert [(each.west, each.count) for each in sorted(found.cells, key=lambda each: each.west)] == [
        (-180.0, 3),
        (174.375, 1),
    ]


@pytest.mark.django_db
def test_points_where_few_and_cells_where_many():
    model = make_model()
    store(model, *(make_request(model, place=(n / 100, 10)) for n in range(MOST_POINTS)))
    assert len(cells_of(model).points) == MOST_POINTS
    store(model, make_request(model, place=(1, 10)))
    found = cells_of(model)
    assert (found.points, found.count) == ([], MOST_POINTS + 1)
    near = cells_of(model, zoom=10, south=1, north=1.01, west=9.9, east=10.1)
    assert 0 < len(near.points) == near.count < 20


@pytest.mark.django_db
def test_a_sample_of_everything_is_exact_and_a_sample_of_much_is_near(monkeypatch):
    rng, model, other = random.Random(3), make_model(), make_model()
    for _ in range(6):
        places = [(1, 1) if rng.random() < 0.75 else (-40, -100) for _ in range(100)]
        store(model, *(make_request(model, place=place) for place in places))
        store(other, *(make_request(other, place=(1, 1)) for _ in range(20)))
    request = NewMapCellsRequest()

    def by_cell(found):
        return {(each.south, each.west): each.count for each in found.cells}

    counted = by_cell(map_cells(model, request))
    assert by_cell(sampled_cells(model, request)) == counted
    monkeypatch.setattr(cells, "STRETCHES", 12)
    monkeypatch.setattr(cells, "STRETCH", 10)
    near = by_cell(sampled_cells(model, request))
    assert near == {corner: pytest.approx(n, rel=0.35) for corner, n in counted.items()}
    assert near != counted
    assert sampled_cells(make_model(), request).cells == []


@pytest.mark.django_db
def test_twenty_places_cost_the_queries_of_two():
    model = make_model()

    def queries():
        with CaptureQueriesContext(connection) as captured:
            cells_of(model)
        return len(captured)

    store(model, *(make_request(model, place=(n, n)) for n in range(2)))
    two = queries()
    store(model, *(make_request(model, place=(-n, n)) for n in range(18)))
    assert queries() == two == 2
    assert Inference.objects.count() == 20


@pytest.mark.parametrize(
    "wrong", [{"zoom": 21}, {"zoom": -1}, {"viewport": {"south": 1, "north": 0}}, {"viewport": {"west": 181}}]
)
def test_what_is_no_viewport(wrong):
    with pytest.raises(ValidationError):
        NewMapCellsRequest.model_validate(wrong)
