"""A count that would take minutes: a bounded answer that says so, and the results meanwhile.

The table is exchanged for one that takes its time over every row, as a disk does that is read for the first
time: pages are quick, for they read a few rows, and whatever reads all of them is not.
"""

import re
import time

import pytest
from django.db import connection

from inference_store.models import Inference
from tests.cast import BASE
from tests.faults.many import multiply
from tests.making import LONG_AGO

URL = "/models/detector/"
ROWS, ROW_SECONDS = 1_500, 0.001
TABLE = Inference._meta.db_table
FILTER = "circle=47.5,9.5,1000"


@pytest.fixture
def slow(cast, detector, client, settings):
    """A model whose rows take a millisecond each, and a viewer at its pages."""
    multiply(detector, ROWS, place=(47.5, 9.5), created_at=LONG_AGO, source="camera")
    with connection.cursor() as cursor:
        cursor.execute(f"alter table {TABLE} rename to slowly_read")
        cursor.execute(
            f"create view {TABLE} as select * from slowly_read where pg_sleep({ROW_SECONDS}) is not null"
        )
    client.force_login(cast.users["carol"])
    return client


@pytest.fixture
def patience(monkeypatch):
    """A tenth of what a reader has."""
    monkeypatch.setattr("dashboard.counting.PATIENCE_MS", 300)


def test_counting_them_all_takes_too_long(slow):
    """Or nothing here would be tried."""
    with connection.cursor() as cursor:
        began = time.monotonic()
        cursor.execute(f"select count(*) from {TABLE}")
        assert time.monotonic() - began > ROWS * ROW_SECONDS


def test_the_page_is_there_and_says_at_least(slow, patience):
    answer = slow.get(f"{URL}?{FILTER}&limit=20")
    text = answer.content.decode()
    assert answer.status_code == 200
    assert len(set(re.findall(r"/inferences/((?:n-|first)[^/\"]*)/", text))) >= 20
    assert "at least 20 inferences" in text
    assert 'aria-label="Filter"' in text


def test_the_count_is_bounded_and_says_so(slow, patience, monkeypatch):
    monkeypatch.setattr("dashboard.counting.MOST_COUNTED", 300)
    counted = slow.get(f"{URL}count?{FILTER}", headers={"HX-Request": "true"})
    assert "more than <strong>300</strong>" in counted.content.decode()


def test_a_count_that_is_not_even_bounded_says_so(slow, patience, monkeypatch):
    monkeypatch.setattr("dashboard.counting.BOUND_MS", 100)
    for headers in ({"HX-Request": "true"}, {}):
        counted = slow.get(f"{URL}count?{FILTER}", headers=headers)
        assert counted.status_code == 200
        assert "counting took too long" in counted.content.decode()


def test_results_that_are_late_are_no_blank_page(slow, patience, monkeypatch):
    monkeypatch.setattr("dashboard.results.PAGE_MS", 100)
    nothing_near = slow.get(f"{URL}?circle=-47.5,9.5,1000")
    text = nothing_near.content.decode()
    assert nothing_near.status_code == 200
    assert "This took too long" in text
    assert 'aria-label="Filter"' in text


def test_charts_and_exports_say_so_too(slow, monkeypatch):
    monkeypatch.setattr("dashboard.bounded.in_time.__defaults__", (100,))
    for path in (f"{URL}charts/?{FILTER}", f"{URL}exports/new?{FILTER}", f"{URL}?view=map&{FILTER}", "/"):
        answer = slow.get(path)
        assert answer.status_code == 200, path
        assert "<main" in answer.content.decode(), path


def test_the_api_ends_at_the_statement_timeout(slow, cast):
    with connection.cursor() as cursor:
        cursor.execute("set local statement_timeout = '400ms'")
    area = {"center": {"latitude": 47.5, "longitude": 9.5}, "radius": 1_000}
    asked = {"filters": {"location_filter": {"gps_coordinates_circle": area}}}
    page = cast.carol.post("models/detector/search", asked | {"pagination": {"limit": 20}})
    assert (page.status_code, len(page.json()["inferences"])) == (200, 20)
    answer = cast.carol.post("models/detector/count", asked)
    assert (answer.status_code, answer.json()["code"]) == (503, "query_timeout")
    assert "narrow" in answer.json()["error"]
    assert answer["Retry-After"]
    assert BASE in answer.wsgi_request.path
