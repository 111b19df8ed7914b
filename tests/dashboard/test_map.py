"""The map's table: cells that lead closer, places that lead to their inferences, with or without a script."""

import re
from html import unescape

import pytest
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext

from dashboard import maps
from inference_store.filtersets import InferenceFilterSet
from inference_store.query.pages import count_inferences
from tests.dashboard.conftest import box
from tests.making import make_request, store

URL = "/models/detector/"
WORLD = "bounds=-90,-180,90,180&zoom=2"


def placed(model, *places, label="owl"):
    store(model, *(make_request(model, place=place, entries=[box(label)]) for place in places))


def rows(html):
    """(where, count, query string or first address) of each row."""
    found = re.findall(r"<tr data-(cell|place).*?</tr>", html, re.DOTALL)
    counts = [int(each) for each in re.findall(r'data-count="(\d+)"', html)]
    links = [unescape(each) for each in re.findall(r'<th scope="row"><a href="[^"]*?\?([^"]*)"', html)]
    return found, counts, links


def spread(count):
    return [(10 + n % 7, 20 + n % 5) for n in range(count)]


@pytest.mark.django_db
def test_the_map_comes_with_its_table(page, detector):
    placed(detector, *spread(40), (-17, 180), (-17, -179.9))
    text = page(f"{URL}?view=map&label=owl").content.decode()
    kinds, counts, _ = rows(text)
    assert set(kinds) == {"cell"}
    assert sum(counts) == 42
    assert "<strong>42</strong> with a place here" in text
    assert f'data-cells="{URL}map/cells?view=map&amp;label=owl"' in text
    assert 'rel="next"' not in text


@pytest.mark.django_db
def test_cells_lead_closer_until_they_are_a_filter(page, detector):
    placed(detector, *[(53.5, 9.9)] * 30, *[(53.500003, 9.9)] * 2, *[(53.6, 9.8)] * 3, (0, 0))
    query, seen = "view=map", []
    for _ in range(12):
        text = page(f"{URL}?{query}").content.decode()
        kinds, counts, links = rows(text)
        seen.append(kinds[0])
        if kinds[0] == "place":
            break
        assert counts[0] >= 30
        query = links[0]
    assert seen[0] == "cell"
    assert seen[-1] == "place"
    assert "All 30 of this place" in text
    more = unescape(re.search(r'<a href="[^"]*\?([^"]*)">All 30', text)[1])
    assert more == "rectangle=53.5%2C9.9%2C53.5%2C9.9"
    assert count_inferences(detector, InferenceFilterSet(QueryDict(more)).request_body()) == 30


@pytest.mark.django_db
@pytest.mark.parametrize("zoom", [17, 18])
@pytest.mark.parametrize(
    ("bounds", "places"),
    [
        ("-0.001,-0.001,0.001,0.001", {(0, 0): 6, (-0.0001, -0.0001): 5, (0, -0.0001): 3, (-0.0001, 0): 2}),
        ("9.999,179.999,10.001,-179.999", {(10, 180): 6, (10.0001, -179.9999): 5, (10, 179.9999): 4}),
        ("89.999,179.999,90,-179.999", {(90, 180): 6, (90, -180): 5, (90, 179.9999): 4}),
    ],
)
def test_a_cell_leads_to_what_it_counts(page, detector, monkeypatch, bounds, places, zoom):
    """What lies on an edge is in one cell, and longitude 180 is -180."""
    monkeypatch.setattr("inference_store.query.cells.MOST_POINTS", 0)
    placed(detector, *(place for place, count in places.items() for _ in range(count)))
    text = page(f"{URL}map/cells?view=map&bounds={bounds}&zoom={zoom}").content.decode()
    kinds, counts, links = rows(text)
    assert set(kinds) == {"cell"}
    assert sum(counts) == sum(places.values())
    found = [
        count_inferences(detector, InferenceFilterSet(QueryDict(each)).request_body())
        for each in links
        if each.startswith("rectangle")
    ]
    assert found == counts


@pytest.mark.django_db
def test_the_closest_cell_is_narrowed_to(page, detector, monkeypatch):
    monkeypatch.setattr("inference_store.query.cells.MOST_POINTS", 5)
    placed(detector, *[(53.5, 9.9)] * 9)
    text = page(f"{URL}map/cells?view=map&bounds=53.499,9.899,53.501,9.901&zoom=17").content.decode()
    _, counts, links = rows(text)
    assert counts == [9]
    assert links[0].startswith("rectangle=53.")
    assert count_inferences(detector, InferenceFilterSet(QueryDict(links[0])).request_body()) == 9


@pytest.mark.django_db
def test_a_viewport_across_the_antimeridian(page, detector):
    placed(detector, (-17, 179.95), (-17, -179.95), (-17, 0))
    text = page(f"{URL}map/cells?bounds=-18,179,-16,-179&zoom=8").content.decode()
    assert text.count("<tr data-place") == 2
    assert "16.99" not in text
    assert "17.00000° S, 179.95000° W" in text


@pytest.mark.parametrize(
    ("viewport", "expected"),
    [
        ("0,0,2", (-66.5, 66.5, -180, 180)),
        ("0,0,3", (-41, 41, -90, 90)),
        ("0,179,6", (-5.6, 5.6, 167.75, -169.75)),
        ("89,0,4", (82.4, 86.9, -45, 45)),
    ],
)
def test_a_map_of_the_usual_size(viewport, expected):
    found, _ = maps._around(*maps.looked_at(viewport))
    assert (found.south, found.north, found.west, found.east) == pytest.approx(expected, abs=0.6)


@pytest.mark.parametrize(
    "text", ["", "x", "1,2", "1,2,3,4", "91,0,3", "0,181,3", "0,0,19", "nan,0,1", "0,0,-1"]
)
def test_what_is_no_viewport_is_ignored(text):
    assert maps.looked_at(text) is None


@pytest.mark.django_db
@pytest.mark.parametrize(
    "query",
    [
        "",
        "bounds=1,2,3&zoom=2",
        "bounds=2,0,1,0&zoom=2",
        "bounds=0,0,1,1&zoom=x",
        "bounds=0,0,1,1&zoom=19",
        f"{WORLD}&minimum_score=x",
        f"{WORLD}&no=1",
    ],
)
def test_what_is_no_address_of_cells(query, page, detector):
    assert page(f"{URL}map/cells?{query}").status_code == 404


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "leads_to"),
    [
        ("view=map&label=owl&latitude=1&longitude=2&radius=300", "view=map&label=owl&circle=1%2C2%2C300"),
        ("view=map&circle=9,9,9&viewport=1,1,1&latitude=&longitude=&radius=", "view=map"),
        ("view=map&latitude=1&longitude=&radius=300", "view=map&circle=1%2C%2C300"),
    ],
)
def test_a_typed_circle_is_the_filter(query, leads_to, page, detector):
    response = page(f"{URL}map/circle?{query}")
    assert (response.status_code, response["Location"]) == (302, f"{URL}?{leads_to}")


@pytest.mark.django_db
def test_a_circle_that_is_none_is_said_beside_the_filter(page, detector):
    placed(detector, (1, 2))
    response = page(f"{URL}?view=map&circle=1,,300")
    assert response.status_code == 400
    assert 'id="circle-error"' in response.content.decode()


@pytest.mark.django_db
def test_a_circle_stands_in_its_fields(page, detector):
    placed(detector, (1, 2))
    text = page(f"{URL}?view=map&circle=1,2,300").content.decode()
    assert (
        'name="radius" inputmode="decimal" placeholder="radius, metres" autocomplete="off" value="300"'
        in text
    )
    assert 'data-circle="1,2,300"' in text
    assert f'href="{URL}?view=map">Take it away' in text


@pytest.mark.django_db
def test_too_many_to_count_in_time(page, detector, monkeypatch):
    placed(detector, (1, 2))

    def slow(*args):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(5)")

    monkeypatch.setattr("dashboard.maps.map_cells", slow)
    monkeypatch.setattr("dashboard.bounded.in_time.__defaults__", (50,))
    text = page(f"{URL}?view=map").content.decode()
    assert "About <strong>1</strong> with a place here" in text
    assert "estimated from a sample" in text
    monkeypatch.setattr("dashboard.maps.sampled_cells", slow)
    monkeypatch.setattr("dashboard.maps.ESTIMATE_MS", 50)
    assert "Not counted within 2 seconds" in page(f"{URL}?view=map").content.decode()


@pytest.mark.django_db
def test_twenty_rows_cost_the_queries_of_two(page, detector):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            assert page(f"{URL}map/cells?{WORLD}").status_code == 200
        return len(captured)

    placed(detector, *spread(2))
    two = queries()
    placed(detector, *spread(18))
    assert queries() == two


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("tiles", "allowed"),
    [
        ("", "img-src 'self' data: blob:;"),
        ("https://tiles.example:8443/{z}/{x}/{y}.png", "blob: https://tiles.example:8443;"),
        ("https://{s}.tiles.example/{z}/{x}/{y}.png", "blob: https://*.tiles.example;"),
        ("/tiles/{z}/{x}/{y}.png", "img-src 'self' data: blob:;"),
    ],
)
def test_pictures_come_from_a_tile_server_only_where_one_is_set(tiles, allowed, page, detector, settings):
    settings.MAP_TILES_URL, settings.MAP_TILES_ATTRIBUTION = tiles, "© <Somebody>"
    placed(detector, (1, 2))
    response = page(f"{URL}?view=map")
    assert allowed in response["Content-Security-Policy"]
    text = response.content.decode()
    assert f'data-tiles="{tiles}"' in text
    assert ("© &lt;Somebody&gt;" in text) == bool(tiles)
