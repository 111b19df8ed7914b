"""Filters: what they take, what they refuse, and how lists, paths and instants are read."""

import json
import math
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inference_store.contract import filters
from inference_store.contract.enums import MetadataFilterOperator as Operator
from inference_store.contract.enums import MetadataFilterType as Type
from inference_store.contract.enums import PaginationEmbeddingSortField as SortField
from inference_store.contract.filters import MetadataFilter, parse_instant, split_list, split_path

TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))


# --- Lists -------------------------------------------------------------------------------------------------
@given(st.lists(TEXTS))
@example(["a,b", ' "', '"', '"a"', "", "[", "]", "\\", '\\"', "\u2003a", "a\n", "[1, 2]", ",", "{"])
def test_a_list_of_any_strings_comes_back_as_it_was(values: list[str]) -> None:
    text = MetadataFilter.form_values_for_in_operator(Type.STRING, values)
    assert text is not None
    assert split_list(text) == values
    assert MetadataFilter(key="k", operator=Operator.IN, type=Type.STRING, value=text).operands == values


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_a_list_of_integers_comes_back_as_it_was(values: list[int]) -> None:
    text = MetadataFilter.form_values_for_in_operator(Type.JSON_INT, values)
    assert MetadataFilter(key="k", operator=Operator.IN, type=Type.JSON_INT, value=text).operands == values


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_a_list_of_numbers_comes_back_as_it_was(values: list[float]) -> None:
    text = MetadataFilter.form_values_for_in_operator(Type.FLOAT, values)
    assert MetadataFilter(key="k", operator=Operator.IN, type=Type.FLOAT, value=text).operands == values


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("[]", []),
        ("[ ]", []),
        (" [a,b] ", ["a", "b"]),
        ("[ a ,  b c ]", ["a", "b c"]),
        ("[a,]", ["a", ""]),
        ("[,]", ["", ""]),
        ('["a, b", c]', ["a, b", "c"]),
        ('["a" , "b"]', ["a", "b"]),
        ('["\\u00e9"]', ["é"]),
        ('["a" b, c]', ['"a" b', "c"]),
        ('["a, b]', ['"a', "b"]),
        ("['a']", ["'a'"]),
        ("[[1], 2]", ["[1]", "2"]),
    ],
)
def test_a_list_as_people_write_it(text: str, items: list[str]) -> None:
    assert split_list(text) == items


@pytest.mark.parametrize("text", ["", "[", "]", "a", "[a", "a]", "a, b", "(a)", "]["])
def test_what_is_no_list(text: str) -> None:
    with pytest.raises(ValueError, match="takes a list in brackets"):
        split_list(text)


@pytest.mark.parametrize(
    "text", ["[ " + "a, " * 200_000 + "a ]", "[" + '"a", ' * 200_000 + "]", '[ "' * 200_000 + "]"]
)
def test_a_long_list_is_split_in_linear_time(text: str) -> None:
    before = time.process_time()
    assert split_list(text)
    assert time.process_time() - before < 3


# --- Metadata filters --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("type_", "value", "operands"),
    [
        ("string", " a ", [" a "]),
        ("string", "[a]", ["[a]"]),
        ("json.string", "", [""]),
        ("int", " 7 ", [7]),
        ("json.int", "-7", [-7]),
        ("float", "1e3", [1000.0]),
        ("json.float", "7", [7.0]),
    ],
)
def test_one_operand_is_of_the_filters_type(type_: str, value: str, operands: list[Any]) -> None:
    found = MetadataFilter(key="k", operator="=", type=type_, value=value).operands
    assert found == operands
    assert type(found[0]) is type(operands[0])


@pytest.mark.parametrize(
    ("operator", "type_", "value"),
    [
        ("=", "int", "1.0"),
        ("=", "int", str(2**63)),
        ("=", "float", "nan"),
        ("=", "float", "1e400"),
        ("in", "int", "[1, x]"),
        ("in", "int", "[1,]"),
        ("in", "float", "[1, NaN]"),
        ("in", "string", "a, b"),
        ("in", "string", '["a\\u0000"]'),
        ("in", "string", '["\\ud800"]'),
        ("=", "string", "\x00"),
        ("=", "string", "\ud800"),
        ("==", "string", "a"),
        ("=", "json", "a"),
    ],
)
def test_a_value_that_fits_neither_type_nor_operator_is_refused(
    operator: str, type_: str, value: str
) -> None:
    with pytest.raises(ValueError, match="1 validation error"):
        MetadataFilter(key="k", operator=operator, type=type_, value=value)


def test_a_value_is_a_string() -> None:
    with pytest.raises(ValueError, match="valid string"):
        MetadataFilter(key="k", operator="=", type="int", value=1)


@pytest.mark.parametrize(
    ("key", "segments"),
    [
        ("a", ["a"]),
        ("a.b.c", ["a", "b", "c"]),
        (r"a\.b.c", ["a.b", "c"]),
        ("a..b", ["a", "", "b"]),
        (".", ["", ""]),
        ("\\", ["\\"]),
        (r"a\b", [r"a\b"]),
    ],
)
def test_a_dotted_key_is_a_path(key: str, segments: list[str]) -> None:
    assert split_path(key) == segments


# --- Instants ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31t12:00:00z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31 12:00:00+02:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
        ("2026-01-31T12:00:00.5Z", datetime(2026, 1, 31, 12, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-01-31T12:00:00.123456789Z", datetime(2026, 1, 31, 12, 0, 0, 123_456, tzinfo=UTC)),
        ("1970-01-01T00:00:00-00:00", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_an_instant_in_every_spelling(text: str, instant: datetime) -> None:
    assert parse_instant(text) == instant


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)), st.integers(-1439, 1439))  # noqa: DTZ001
def test_an_instant_comes_back_whatever_its_offset(moment: datetime, minutes: int) -> None:
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert parse_instant(aware.isoformat()) == aware


def test_the_documented_format_is_read() -> None:
    moment = datetime(2026, 1, 31, 12, 0, 0, 1, tzinfo=UTC)
    assert parse_instant(moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-02-30T12:00:00Z",
        "2026-01-31T24:00:01Z",
        "2026-01-31T12:00:60Z",
        "2026-01-31T12:00:00+99:00",
        "0001-01-01T00:00:00+23:00",
        "20260131T120000Z",
        "2026-01-31T12:00:00ZZ",
        "2026-01-31T12:00:00Z\n",
        "٢٠٢٦-01-31T12:00:00Z",
        "1769860800",
    ],
)
def test_what_is_no_instant(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time like"):
        parse_instant(text)
    with pytest.raises(ValueError, match="is not a time like"):
        filters.TimeWindowFilter(start=text)


# --- Bounds ------------------------------------------------------------------------------------------------
POINT = {"latitude": 0, "longitude": 0}


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("GeoPoint", {"latitude": 90.0001, "longitude": 0}),
        ("GeoPoint", {"latitude": math.nan, "longitude": 0}),
        ("GeoCircle", {"center": POINT, "radius": -1}),
        ("GeoCircle", {"center": POINT, "radius": math.inf}),
        ("GeoRectangle", {"p1": POINT, "p2": {"latitude": 0, "longitude": 181}}),
        ("DeconstructedInferenceFilter", {"minimum_score": math.nan}),
        ("DeconstructedInferenceFilter", {"labels": ["\x00"]}),
        ("EmbeddingFilter", {"query_embedding": []}),
        ("EmbeddingFilter", {"query_embedding": [1, None]}),
        ("EmbeddingFilter", {"query_embedding": [1e39]}),
        ("EmbeddingFilter", {"query_embedding": [0] * 16_001}),
        ("EmbeddingFilter", {"query_embedding": [1], "distance_metric": "manhattan"}),
        ("Pagination", {"limit": 0}),
        ("Pagination", {"limit": 2**63}),
        ("Pagination", {"offset": -1}),
        ("Pagination", {"sort": "id"}),
        ("Pagination", {"direction": "up"}),
        ("Pagination", {"cursor": "x", "offset": 1}),
        ("BaseInferenceFilter", {"data_source_filter": "\x00"}),
        ("BaseInferenceFilter", {"data_sorce_filter": "a"}),
        ("BaseInferenceFilter", {"location_filter": {"gps_coordinates_circle": POINT}}),
    ],
)
def test_what_is_out_of_bounds_is_refused(model: str, fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        getattr(filters, model)(**fields)


@pytest.mark.parametrize(
    ("given_", "metric"), [(None, "cosine"), ("l2", "l2"), ("negative_dot_product", "negative_dot_product")]
)
def test_the_metric_of_a_query(given_: str | None, metric: str) -> None:
    assert filters.EmbeddingFilter(query_embedding=[1], distance_metric=given_).metric.value == metric
    assert filters.EmbeddingFilter(query_embedding=[1]).metric.value == "cosine"


def test_requests_that_share_a_default_share_no_state() -> None:
    one, other = filters.NewGetInferencesRequest(), filters.NewGetInferencesRequest()
    one.filters.data_source_filter = "camera"
    assert other.filters == filters.BaseInferenceFilter()


def test_a_filter_is_the_same_after_a_journey() -> None:
    request = filters.NewGetInferencesRequest(
        filters=filters.BaseInferenceFilter(
            metadata_filter=[
                MetadataFilter(key="k", operator=Operator.IN, type=Type.STRING, value='["a, b"]')
            ],
            time_window_filter=filters.TimeWindowFilter(end="2026-01-31T12:00:00Z"),
        ),
        embedding_filters=filters.EmbeddingFilter(query_embedding=[1, 0.1]),
        pagination=filters.Pagination(sort=SortField.EMBEDDING_DISTANCE),
    )
    wire = request.model_dump_json(exclude_none=True)
    assert json.loads(wire)["embedding_filters"]["distance_metric"] == "cosine"
    assert filters.NewGetInferencesRequest.model_validate_json(wire) == request
