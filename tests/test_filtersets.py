"""A query string becomes the contract's request, or an error beside the parameter that is wrong."""

import math

import pytest
from django.http import QueryDict

from inference_store.contract.errors import Refusal
from inference_store.contract.filters import MetadataFilter
from inference_store.filtersets import InferenceFilterSet, metadata_text, parse_metadata


def read(query, **kwargs):
    return InferenceFilterSet(QueryDict(query), **kwargs)


def condition(key, type_, operator, value):
    return {"key": key, "type": type_, "operator": operator, "value": value}


def filters(**fields):
    return {"filters": fields}


def entries(**fields):
    return filters(deconstructed_inference_filter=fields)


def window(**fields):
    return filters(time_window_filter=fields)


def place(**fields):
    return filters(location_filter=fields)


def point(latitude, longitude):
    return {"latitude": latitude, "longitude": longitude}


READS = [
    ("", {}),
    ("label=&start=&metadata=&limit=", {}),
    ("action=detect", filters(inference_action_filter="detect")),
    ("data_hash=ab", filters(data_hash_filter="ab")),
    ("data_source=%20cam%201%20", filters(data_source_filter=" cam 1 ")),
    ("start=2026-01-31T12:00:00Z", window(start="2026-01-31T12:00:00Z")),
    ("start=2026-01-31T12:00", window(start="2026-01-31T12:00:00Z")),
    ("end=2026-01-31T12:00:30.5", window(end="2026-01-31T12:00:30.5Z")),
    ("end=2026-01-31T12:00:00%2B02:00", window(end="2026-01-31T12:00:00+02:00")),
    ("label=kestrel&label=owl", entries(labels=["kestrel", "owl"])),
    ("minimum_score=0&maximum_score=0.5", entries(minimum_score=0.0, maximum_score=0.5)),
    (
        "metadata=altitude:float:>=:100&metadata=weather.temp:json.float:>:3",
        filters(
            metadata_filter=[
                condition("altitude", "float", ">=", "100"),
                condition("weather.temp", "json.float", ">", "3"),
            ]
        ),
    ),
    (
        "metadata=url:string:=:http://x",
        filters(metadata_filter=[condition("url", "string", "=", "http://x")]),
    ),
    ('metadata="a:b":int:in:[1, 2]', filters(metadata_filter=[condition("a:b", "int", "in", "[1, 2]")])),
    ("metadata=note:string:=:", filters(metadata_filter=[condition("note", "string", "=", "")])),
    (
        "circle=47.5, 9.5,500",
        place(gps_coordinates_circle={"center": point(47.5, 9.5), "radius": 500.0}),
    ),
    (
        "rectangle=1,2,3,4",
        place(
            gps_coordinates_rectangle={"p1": point(1, 2), "p2": point(3, 4), "crosses_antimeridian": False}
        ),
    ),
    (
        "rectangle=1,2,3,4,crosses",
        place(gps_coordinates_rectangle={"p1": point(1, 2), "p2": point(3, 4), "crosses_antimeridian": True}),
    ),
    (
        "sort=score&direction=desc&limit=10&offset=20",
        {"pagination": {"sort": "score", "direction": "desc", "limit": 10, "offset": 20}},
    ),
    ("cursor=abc", {"pagination": {"cursor": "abc"}}),
    ("presign=true", {"presign": True}),
]


@pytest.mark.parametrize(("query", "expected"), READS)
def test_it_reads(query, expected):
    request = read(query).request_body()
    assert request.model_dump(mode="json", exclude_none=True) == {"filters": {}, "presign": False} | expected


REFUSES = [
    ("minimum_score=high", {"minimum_score"}),
    ("minimum_score=nan", {"minimum_score"}),
    ("maximum_score=1e400", {"maximum_score"}),
    ("start=yesterday", {"start"}),
    ("end=2026-02-30T00:00:00Z", {"end"}),
    ("start=2026-01-01T00:00:00Z&start=2026-01-02T00:00:00Z", {"start"}),
    ("metadata=altitude", {"metadata"}),
    ("metadata=altitude:float:~:1", {"metadata"}),
    ("metadata=altitude:float:>:high", {"metadata"}),
    ("metadata=a:int:=:1&metadata=a:number:=:1", {"metadata"}),
    ('metadata="a:int:=:1', {"metadata"}),
    ("metadata=:int:=:1", {"metadata"}),
    ("metadata=a:int:in:[1,", {"metadata"}),
    ("circle=91,0,1", {"circle"}),
    ("circle=1,2", {"circle"}),
    ("circle=1,2,-3", {"circle"}),
    ("rectangle=1,2,3,four", {"rectangle"}),
    ("sort=id", {"sort"}),
    ("direction=up", {"direction"}),
    ("limit=0", {"limit"}),
    ("limit=1001", {"limit"}),
    ("offset=-1", {"offset"}),
    ("cursor=a&offset=3", {"cursor"}),
    ("presign=perhaps", {"presign"}),
    ("label=%00", {"label"}),
    ("data_source=%00", {"data_source"}),
    ("registered_model__project__members__password=x", {"registered_model__project__members__password"}),
    ("minimum_scoer=0.5", {"minimum_scoer"}),
    ("__all__=1", {"__all__"}),
    ("limit=0&circle=1&foo=2", {"limit", "circle", "foo"}),
]


@pytest.mark.parametrize(("query", "names"), REFUSES)
def test_it_refuses_by_name(query, names):
    filterset = read(query)
    assert not filterset.is_valid()
    assert set(filterset.errors) == names
    with pytest.raises(Refusal) as refused:
        filterset.request_body()
    assert refused.value.status == 400
    assert set(refused.value.fields) == names
    assert all(refused.value.fields.values())


def test_a_wrong_condition_is_named():
    (message,) = read("metadata=a:int:=:1&metadata=b:int:=:x").errors["metadata"]
    assert message.startswith("b:int:=:x: ")


def test_only_a_callers_own_names_are_let_through():
    assert read("view=table", allowed=["view"]).is_valid()
    assert not read("view=table").is_valid()


def test_chips_say_each_filter_and_how_to_drop_it():
    query = (
        "label=owl&label=kestrel&metadata=altitude:float:>=:100&circle=1,2,1500&view=table&cursor=abc&limit=5"
    )
    chips = read(query, allowed=["view"]).chips()
    assert [chip.words for chip in chips] == [
        "label owl",
        "label kestrel",
        "altitude ≥ 100",
        "within 1.5 km of 1, 2",
    ]
    left = QueryDict(chips[0].query_without_it)
    assert left.getlist("label") == ["kestrel"]
    assert left["view"] == "table"
    assert left["limit"] == "5"
    assert "cursor" not in left
    assert "metadata" not in QueryDict(chips[2].query_without_it)


@pytest.mark.parametrize(
    ("highest", "words"),
    [
        (math.nextafter(0.2, 0), "score < 0.2"),
        (math.nextafter(1.0, 0), "score < 1"),
        (0.2, "score ≤ 0.2"),
        (0.12345, "score ≤ 0.12345"),
        (0.1 + 0.2, f"score ≤ {0.1 + 0.2}"),
    ],
)
def test_what_ends_just_before_a_round_score_says_so(highest, words):
    assert [chip.words for chip in read(f"maximum_score={highest!r}").chips()] == [words]


def test_a_wrong_filter_has_no_chip():
    assert [chip.words for chip in read("circle=1&label=owl").chips()] == ["label owl"]


@pytest.mark.parametrize("key", ["plain", "a:b", '"quoted"', 'mixed":"', ":", "ключ.путь", "back\\slash:"])
def test_a_condition_survives_its_text_form(key):
    assert parse_metadata(metadata_text(key, "string", "!=", "x:y")) == condition(key, "string", "!=", "x:y")
    assert MetadataFilter(**condition(key, "string", "!=", "x:y")).key == key


def test_refusals_from_below_stand_beside_their_parameter():
    filterset = read("sort=embedding_distance")
    assert filterset.is_valid()
    filterset.add_refusal(Refusal.invalid("pagination.sort", "needs embedding_filters"))
    assert filterset.errors["sort"] == ["needs embedding_filters"]
