"""What each query of the benchmark's workload reads at 100,000 inferences: little beyond its answer.

Another model's inferences lie beside them, so that the planner's statistics are of both.
"""

import json
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from inference_store.contract.filters import BaseInferenceFilter, NewGetInferencesRequest
from inference_store.contract.map_cells import NewMapCellsRequest
from inference_store.contract.metadata import NewGetMetadataStatisticsRequest
from inference_store.models import Catalogue, Project, RegisteredModel, SearchSlot
from inference_store.query import cells, charts, granular, pages, statistics
from inference_store.query.matching import conditions_of, matching
from inference_store.query.order import order_of
from inference_store.query.page_keys import rows_in_time
from inference_store.services import catalogues, deletion, leftovers
from tests.making import make_model

ROWS = 100_000
START = datetime(2026, 1, 1, tzinfo=UTC)
SLOTS = [
    ("float", "altitude", "n1"),
    ("int", "frame", "n2"),
    ("json.float", "weather.wind.speed", "n3"),
    ("string", "sensor", "s1"),
]
INFERENCES = """
    insert into inference_store_inference
           (registered_model_id, inference_id, created_at, updated_at, latitude, longitude, data_size,
            version, has_list, is_protected, action, data_source, data_hash, content_digest, metadata,
            n1, n2, n3, s1)
    select %(model)s, 'i' || at, %(start)s::timestamptz + at * interval '26 seconds', now(),
           50 + sin(at) * 0.9, 10 + cos(at * 1.7) * 1.2, 10, 2, true, false, 'detect', 'source-' || at %% 8,
           '\\x00', '\\x00', jsonb_build_object('string', jsonb_build_object('sensor', sensor),
               'float', jsonb_build_object('altitude', altitude), 'int', jsonb_build_object('frame', frame),
               'json', jsonb_build_object('weather', jsonb_build_object('wind',
                           jsonb_build_object('speed', wind)))),
           altitude, frame, wind, sensor
      from generate_series(1::bigint, %(rows)s) at,
           lateral (select (at * 7919 %% 100000) / 10.0 as altitude, at * 104729 %% 100000 as frame,
                           (at * 1299709 %% 4000) / 100.0 as wind, 'sensor-' || at %% 12 as sensor) held
"""
ENTRIES = """
    insert into inference_store_entry (inference_id, registered_model_id, position, label, score)
    select id, registered_model_id, position, 'label-' || (id * 31 + position * 17) %% 20,
           ((id * 7 + position * 13) %% 1000) / 1000.0
      from inference_store_inference, generate_series(0, 2) position where registered_model_id = %(model)s
"""
WHOLE_TABLES = {"inference_store_inference", "inference_store_entry"}
TABLES = "inference, entry, cataloguecount, catalogue, searchslot, metadatakey"


@pytest.fixture(scope="module")
def stocked(django_db_setup, django_db_blocker):
    """A model of so many inferences, vacuumed, its slots and catalogues ready; and another one."""
    with django_db_blocker.unblock():
        try:
            model = make_model()
            for each, rows in ((make_model(), ROWS // 4), (model, ROWS)):
                _stock(each, rows)
            for type_, key, slot in SLOTS:
                SearchSlot.objects.create(
                    registered_model=model, type=type_, key=key, slot=slot, state="ready"
                )
            catalogues.keep_catalogues()
            assert Catalogue.objects.filter(registered_model=model, state=Catalogue.State.EXACT).count() == 7
            with connection.cursor() as cursor:
                for table in ("inference", "entry", "cataloguecount"):
                    cursor.execute(f"vacuum (analyze) inference_store_{table}")
            yield model
        finally:
            with connection.cursor() as cursor:
                names = ", ".join(f"inference_store_{name}" for name in TABLES.split(", "))
                cursor.execute(f"truncate {names}")
            RegisteredModel.objects.all().delete()
            Project.objects.all().delete()
            connection.close()


def _stock(model, rows):
    with connection.cursor() as cursor:
        cursor.execute("set statement_timeout = 0")  # on a busy machine this takes long
        cursor.execute(INFERENCES, {"model": model.pk, "rows": rows, "start": START})
        cursor.execute(ENTRIES, {"model": model.pk})
        cursor.execute("reset statement_timeout")


class Undone(Exception):  # noqa: N818  (not an error)
    """Rolls back."""


# --- Plans --------------------------------------------------------------------------------------------------
class Reads:
    """What the statements of one question read: indexes and tables by name, and rows."""

    def __init__(self, statements):
        self.indexes, self.scanned, self.rows = set(), set(), 0
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(f"explain (analyze, timing off, format json) {statement}")
                found = cursor.fetchone()[0]
                self._see((json.loads(found) if isinstance(found, str) else found)[0]["Plan"])

    @classmethod
    def of(cls, ask):
        """What is read for an answer."""
        with CaptureQueriesContext(connection) as captured:
            ask()
        return cls(
            each["sql"]
            for each in captured
            if each["sql"].lstrip(" \n(").lower().startswith(("select", "with"))
        )

    @classmethod
    def during(cls, act):
        """What is read and written as something is done: each statement is explained, undone, then done."""
        reads = cls([])

        def explain(execute, sql, parameters, many, context):
            sql = sql if isinstance(sql, str) else sql.as_string()
            if sql.lstrip(" \n(").lower().startswith(("select", "with", "delete", "update", "insert")):
                with suppress(Undone), transaction.atomic():
                    found = execute(
                        f"explain (analyze, timing off, format json) {sql}", parameters, many, context
                    )
                    found = context["cursor"].fetchone()[0]
                    reads._see((json.loads(found) if isinstance(found, str) else found)[0]["Plan"])
                    raise Undone
            return execute(sql, parameters, many, context)

        with connection.execute_wrapper(explain):
            act()
        return reads

    def _see(self, node):
        kind = node["Node Type"]
        if "Scan" in kind and ("Relation Name" in node or "Index Name" in node):
            removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
            self.rows += (node["Actual Rows"] + removed) * node["Actual Loops"]
        if "Index Name" in node:
            self.indexes.add(node["Index Name"])
        if kind == "Seq Scan":
            self.scanned.add(node["Relation Name"])
        for each in node.get("Plans", []):
            self._see(each)


def wanted(key, type_, operator, value):
    return {"key": key, "type": type_, "operator": operator, "value": str(value)}


def page_request(filters, offset):
    pagination = {"direction": "desc", "limit": 50, "offset": offset}
    return NewGetInferencesRequest.model_validate({"filters": filters or {}, "pagination": pagination})


def page(model, filters=None, offset=None):
    return lambda: pages.inference_page(model, page_request(filters, offset))


def count(model, filters=None):
    request = NewGetInferencesRequest.model_validate({"filters": filters or {}})
    return lambda: pages.count_inferences(model, request)


def histogram(model, filters=None, **key):
    request = NewGetMetadataStatisticsRequest.model_validate({"filters": filters or {}, **key})
    return lambda: statistics.metadata_statistics(model, request)


def places(model, filters=None, zoom=8, **viewport):
    asked = {"filters": filters or {}, "viewport": viewport, "zoom": zoom}
    request = NewMapCellsRequest.model_validate(asked)
    return lambda: cells.map_cells(model, request)


def chart(ask, model, *about, filters=None):
    return lambda: ask(model, BaseInferenceFilter.model_validate(filters or {}), *about)


def window(first, days):
    start, end = START + timedelta(days=first), START + timedelta(days=first + days)
    return {"time_window_filter": {"start": start.isoformat(), "end": end.isoformat()}}


SENSOR = {"metadata_filter": [wanted("sensor", "string", "=", "sensor-3")]}
RANGES = {"metadata_filter": [wanted("altitude", "float", ">=", 7000), wanted("frame", "int", "<", 30_000)]}
RARE_RANGES = {"metadata_filter": [wanted("altitude", "float", ">=", 9990), wanted("frame", "int", "<", 500)]}
WIND = {"metadata_filter": [wanted("weather.wind.speed", "json.float", ">", 20.005)]}
CENTER = {"center": {"latitude": 50.2, "longitude": 10.1}}
CIRCLE = {"location_filter": {"gps_coordinates_circle": {**CENTER, "radius": 40_000}}}
SMALL_CIRCLE = {"location_filter": {"gps_coordinates_circle": {**CENTER, "radius": 5_000}}}
RECTANGLE = {
    "location_filter": {
        "gps_coordinates_rectangle": {
            "p1": {"latitude": 50.1, "longitude": 10},
            "p2": {"latitude": 50.4, "longitude": 10.4},
        }
    }
}
ENTRY = {"deconstructed_inference_filter": {"labels": ["label-3", "label-11"], "minimum_score": 0.8}}
ONE_LABEL_BY_SCORE = NewGetInferencesRequest.model_validate(
    {
        "filters": {"deconstructed_inference_filter": {"labels": ["label-3"], "maximum_score": 0.2}},
        "pagination": {"sort": "score", "direction": "desc", "limit": 50},
    }
)
DELETED = BaseInferenceFilter(metadata_filter=[wanted("sensor", "string", "=", "sensor-11")])
SPEED = {"key": "altitude", "type": "float"}

QUESTIONS = {
    # What is asked, indexes that answer it, and how many rows these and all others may give.
    "Q1 newest of a day": (lambda model: page(model, window(3, 1)), ["inference_page"], 51 + 50),
    "Q2 page of a string": (lambda model: page(model, SENSOR), ["inference_s1"], 51 + 50 + 10),
    "Q2 count of a string": (lambda model: count(model, SENSOR), [], 50),
    "Q3 page of two ranges, many": (lambda model: page(model, RANGES), ["inference_page"], 2_000),
    "Q3 page of two ranges, few": (
        lambda model: page(model, RARE_RANGES),
        ["inference_page"],
        2 * 2_001 + 200,
    ),
    "Q3 count of two ranges": (lambda model: count(model, RANGES), [], 30_100),
    "Q4 count of a number in JSON": (lambda model: count(model, WIND), ["inference_n3"], 512 + 1_000),
    "Q5 page of a circle, many": (lambda model: page(model, CIRCLE), ["inference_page"], 2_000),
    "Q5 page of a circle, few": (
        lambda model: page(model, SMALL_CIRCLE),
        ["inference_page", "inference_place"],
        2 * 2_001 + 600,
    ),
    "Q5 count of a circle": (lambda model: count(model, CIRCLE), ["inference_place"], 20_000),
    "Q6 count of a rectangle": (lambda model: count(model, RECTANGLE), ["inference_place"], 16_000),
    "Q7 page of label and score": (lambda model: page(model, ENTRY), ["inference_page"], 9_000),
    "Q7 count of label and score": (lambda model: count(model, ENTRY), ["entry_label"], 12_100),
    "Q10 histogram of 7 days": (
        lambda model: histogram(model, window(3, 7), **SPEED),
        ["inference_page", "inference_n1"],
        7 * 86_400 // 26 + 200,
    ),
    "Q11 values of a key": (lambda model: histogram(model, key="sensor", type="string"), [], 50),
    "Q12 page far down": (lambda model: page(model, offset=50_000), ["inference_page"], 50_000 + 51 + 51),
    "D1 what a delete takes": (
        lambda model: lambda: list(matching(model, DELETED).order_by("pk").values_list("pk")),
        ["inference_s1"],
        ROWS // 12 + 10,
    ),
    # A viewport reads what lies in the cells that it touches, once, or twice where they are few.
    "map of many": (
        lambda model: places(model, south=50.1, north=50.4, west=10, east=10.4),
        ["inference_place"],
        35_000,
    ),
    "map of few": (
        lambda model: places(model, zoom=13, south=50.2, north=50.22, west=10.1, east=10.14),
        ["inference_place"],
        2_000,
    ),
    "granular of one label by score": (
        lambda model: lambda: granular.granular_page(model, ONE_LABEL_BY_SCORE),
        ["entry_label"],
        51 + 51 + 50,
    ),
    "chart of time": (lambda model: chart(charts.volume, model), ["inference_page"], 31 * 24 + 10),
    "chart of labels": (lambda model: chart(charts.label_counts, model, 12), [], 50),
    "chart of sources": (lambda model: chart(charts.source_counts, model, 12), [], 50),
    "chart of scores of labels": (
        lambda model: chart(charts.score_bins, model, 20, filters=ENTRY),
        ["entry_label"],
        2 * 6_100,
    ),
    "chart of a number": (
        lambda model: chart(charts.number_bins, model, "float", "altitude", 20),
        ["inference_n1"],
        ROWS + 10,
    ),
    "count of all": (lambda model: count(model), [], 31 * 24 + 10),
}


@pytest.mark.django_db
@pytest.mark.parametrize("question", QUESTIONS)
def test_it_reads_little_more_than_it_gives(stocked, question):
    ask, indexes, rows = QUESTIONS[question]
    found = Reads.of(ask(stocked))
    assert not found.scanned & WHOLE_TABLES, "reads a whole table"
    assert set(indexes) <= found.indexes
    assert found.rows <= rows


SMALL_AND_LARGE = [
    (window(3, 1), window(3, 7)),
    (RARE_RANGES, RANGES),
    (SMALL_CIRCLE, CIRCLE),
    ({**SENSOR, **window(3, 1)}, {**SENSOR, **window(3, 7)}),
]


@pytest.mark.django_db
@pytest.mark.parametrize("ask", [count, lambda model, filters: histogram(model, filters, **SPEED)])
@pytest.mark.parametrize("sizes", SMALL_AND_LARGE)
def test_what_is_counted_is_read_and_little_else(stocked, ask, sizes):
    """A count, or a histogram, costs in proportion to the rows it counts."""
    for filters in sizes:
        matched = matching(stocked, BaseInferenceFilter.model_validate(filters)).count()
        assert Reads.of(ask(stocked, filters)).rows <= 4 * matched + 400


@pytest.mark.django_db
def test_a_delete_reads_and_writes_its_rows_alone(stocked):
    doomed = ROWS // 12
    gone = []
    reads = Reads.during(lambda: gone.extend(deletion.delete_matching(model=stocked, filters=DELETED)))
    assert len(gone) in (doomed, doomed + 1)
    assert not reads.scanned & {"inference_store_inference", "inference_store_entry"}, "reads a whole table"
    assert {"inference_s1", "inference_store_inference_pkey"} <= reads.indexes
    # Found, deleted and given back; nothing of theirs in other tables.
    assert reads.rows <= 2 * len(gone) + 200


@pytest.mark.django_db
def test_leftovers_are_removed_by_their_keys(stocked):
    keys = list(stocked.inferences.order_by("pk").values_list("pk", flat=True)[:2_000])
    leftovers.leave(stocked, keys)
    reads = Reads.during(leftovers.remove_leftovers)
    assert "inference_store_entry" not in reads.scanned, "reads a whole table"
    assert reads.rows <= 3 * len(keys) + 100


@pytest.mark.django_db
@pytest.mark.parametrize("filters", [SENSOR, RANGES, RARE_RANGES, CIRCLE, SMALL_CIRCLE, ENTRY])
def test_pages_are_those_of_the_plain_query(stocked, filters):
    request = NewGetInferencesRequest.model_validate({"filters": filters})
    plain = (
        matching(stocked, request.filters)
        .order_by("-created_at", "-id")
        .values_list("inference_id", flat=True)
    )
    assert [each.inference_id for each in page(stocked, filters)().inferences] == list(plain[:50])
    assert count(stocked, filters)() == len(plain)


@pytest.mark.django_db
@pytest.mark.parametrize("offset", [0, 5_000])
@pytest.mark.parametrize("with_vectors", [False, True])
@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({}, "inference_page"),
        (window(3, 1), "inference_page"),
        ({"data_source_filter": "source-3"}, "inference_source"),
        (SENSOR, "inference_s1"),
        (SENSOR | window(3, 20), "inference_s1"),
    ],
)
def test_a_prepared_page_walks_its_index_whatever_the_values(stocked, filters, index, with_vectors, offset):
    """The server may plan it once for all values, and then knows neither the model nor the time."""
    request = page_request(filters, offset)
    order = order_of(request, fields=pages.FIELDS, ties=("id",), nullable=set())
    asked = conditions_of(stocked, request.filters)
    wanted = rows_in_time(stocked, asked, order, None, slice(offset, offset + 51))
    statement, values = wanted.statement(with_vectors=with_vectors), wanted.values
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("set local plan_cache_mode = force_generic_plan")
        places = iter(range(1, len(values) + 1))
        cursor.execute("prepare page as " + re.sub("%s", lambda _: f"${next(places)}", statement))
        try:
            found = Reads([cursor.mogrify(f"execute page ({', '.join(['%s'] * len(values))})", values)])
        finally:
            cursor.execute("deallocate page")
    assert index in found.indexes
    assert not found.scanned & {"inference_store_inference"}
    assert found.rows <= offset + 51 + (51 if offset else 0) + 51


# --- Orders -------------------------------------------------------------------------------------------------
ORDERS = {
    # The order, the index that has it, and how many rows a page may read: in order of labels all of the
    # label that the page begins with are sorted.
    "page score desc": (pages.inference_page, "score", "desc", "entry_score", 3_000),
    "page score asc": (pages.inference_page, "score", "asc", "entry_score", 3_000),
    "page label asc": (pages.inference_page, "label", "asc", "entry_label", 3 * ROWS // 20 + 3_000),
    "granular score desc": (granular.granular_page, "score", "desc", "entry_score", 500),
    "granular score asc": (granular.granular_page, "score", "asc", "entry_score", 500),
    "granular label desc": (granular.granular_page, "label", "desc", "entry_label", 3 * ROWS // 20 + 500),
    "granular created_at desc": (granular.granular_page, "created_at", "desc", "inference_page", 500),
    "page created_at asc": (pages.inference_page, "created_at", "asc", "inference_page", 200),
}


@pytest.mark.django_db
@pytest.mark.parametrize("name", ORDERS)
def test_a_page_far_down_reads_as_little_as_the_first(stocked, name):
    ask, sort, direction, index, rows = ORDERS[name]

    def asked(**pagination):
        pagination = {"sort": sort, "direction": direction, "limit": 20, **pagination}
        return lambda: ask(stocked, NewGetInferencesRequest.model_validate({"pagination": pagination}))

    cursor = None
    for skipped in (0, 10_000):
        cursor = asked(cursor=cursor, limit=1)().next_cursor if not skipped else deep_cursor(asked, skipped)
        found = Reads.of(asked(cursor=cursor))
        assert index in found.indexes
        assert not found.scanned & {"inference_store_inference", "inference_store_entry"}, (
            "reads a whole table"
        )
        assert found.rows <= rows


def deep_cursor(asked, rows):
    """The cursor after so many rows."""
    cursor = None
    for _ in range(rows // 1_000):
        cursor = asked(cursor=cursor, limit=1_000)().next_cursor
    return cursor
