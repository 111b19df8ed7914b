"""What must be refused with a 4xx that names the field, never a 500 (faults 1, 3, 5, 8, 26)."""

import json
from typing import Any

import pytest

from inference_store.models import Inference, RegisteredModel
from tests.cast import Cast, request_of

ONE = "models/detector/inferences"
EVERY_BODY = ["search", "count", "granular", "bulk-delete", "protection", "metadata-statistics", "inferences"]


def put_at(body: Any, path: str, value: Any) -> Any:
    """The body with the value at that dotted path."""
    copy = json.loads(json.dumps(body))
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place = copy
    for parent in parents:
        place = place[parent]
    place[last] = value
    return copy


STRINGS = [
    "model_id",
    "inference_id",
    "data_storage_key",
    "data.object_detection.0.label",
    "data.object_detection.0.note",
    "data.metadata.standard_metadata.data_source",
    "data.metadata.standard_metadata.data_hash",
    "data.metadata.extended_metadata.0.key",
    "data.metadata.extended_metadata.0.value",
]


@pytest.mark.parametrize("bad", ["a\x00b", "a\ud800b"], ids=["nul", "surrogate"])
@pytest.mark.parametrize("path", STRINGS)
def test_nul_and_surrogates_in_every_string_stored(
    cast: Cast, detector: RegisteredModel, path: str, bad: str
) -> None:
    answer = cast.bob.post(
        ONE, put_at(request_of(extended=[{"key": "k", "type": "string", "value": "v"}]), path, bad)
    )
    assert answer.status_code == 400, answer.content
    told = answer.json()["fields"]
    assert any(path.startswith(name.removesuffix(".value")) or name.startswith(path) for name in told), told
    assert Inference.objects.count() == 0


FILTERS: list[dict[str, Any]] = [
    {"inference_action_filter": "BAD"},
    {"data_hash_filter": "BAD"},
    {"data_source_filter": "BAD"},
    {"time_window_filter": {"start": "BAD"}},
    {"metadata_filter": [{"key": "BAD", "operator": "=", "type": "string", "value": "v"}]},
    {"metadata_filter": [{"key": "k", "operator": "=", "type": "string", "value": "BAD"}]},
    {"metadata_filter": [{"key": "k", "operator": "in", "type": "string", "value": '["BAD"]'}]},
    {"deconstructed_inference_filter": {"labels": ["BAD"]}},
]


@pytest.mark.parametrize("bad", ["a\x00b", "a\ud800b", "\\u0000", "\\ud800"])
@pytest.mark.parametrize("filters", FILTERS, ids=lambda each: json.dumps(each)[:60])
def test_nul_and_surrogates_in_every_filter(
    cast: Cast, detector: RegisteredModel, filters: dict[str, Any], bad: str
) -> None:
    body = {"filters": json.loads(json.dumps(filters).replace("BAD", json.dumps(bad)[1:-1]))}
    answer = cast.carol.post("models/detector/search", body)
    literal = bad.startswith("\\")
    assert answer.status_code in ((200, 400) if literal else (400,)), answer.content


@pytest.mark.parametrize(
    "path", ["models/%00", "models/a%00b/inferences", f"{ONE}/%00", "models/%ED%A0%80", "%00"]
)
def test_nul_and_surrogates_in_the_address(cast: Cast, detector: RegisteredModel, path: str) -> None:
    assert cast.alice.get(path).status_code == 404
    assert cast.nobody.get(path).status_code in (401, 404)
    assert cast.carol.get(f"{ONE}?data_source=%00").status_code == 400


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
@pytest.mark.parametrize(
    "path",
    [
        "data.object_detection.0.score",
        "data.object_detection.0.xmin",
        "data.object_detection.0.note",
        "data.embedding.1",
        "data.metadata.standard_metadata.latitude",
        "data.metadata.standard_metadata.data_size",
    ],
)
def test_numbers_that_are_not_finite(cast: Cast, detector: RegisteredModel, path: str, number: str) -> None:
    body = json.dumps(put_at(request_of(), path, "NUMBER")).replace('"NUMBER"', number).encode()
    answer = cast.bob.post(ONE, body)
    assert answer.status_code == 400, answer.content
    assert answer.json()["fields"]


@pytest.mark.parametrize(
    "embedding", [[], [1.0], [1.0, 2.0, 3.0, 4.0], [1.0, None, 2.0], [1e39, 0.0, 0.0], "x", [True, "a", 1.0]]
)
def test_embeddings_that_do_not_fit(cast: Cast, detector: RegisteredModel, embedding: Any) -> None:
    answer = cast.bob.post(ONE, request_of(data={"embedding": embedding}))
    assert answer.status_code == 400
    assert any(name.startswith("data.embedding") for name in answer.json()["fields"])


@pytest.mark.parametrize("operation", EVERY_BODY)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b"\xff\xfe",
        b'{"a": "\xc3"}',
        b"[" * 10_000 + b"]" * 10_000,
        b'{"filters":' * 10_000 + b"1" + b"}" * 10_000,
    ],
    ids=["empty", "open", "null", "array", "string", "utf16", "cut", "deep", "deep objects"],
)
def test_bodies_that_are_no_request(
    cast: Cast, detector: RegisteredModel, operation: str, body: bytes
) -> None:
    answer = cast.alice.post(f"models/detector/{operation}", body, CONTENT_TYPE="application/json")
    assert answer.status_code == 400
    assert set(answer.json()) == {"error", "code", "fields"}


def test_deep_json_in_bulk(cast: Cast, detector: RegisteredModel) -> None:
    deep = b"[" * 10_000 + b"]" * 10_000
    for content_type in ("application/json", "application/x-ndjson"):
        assert (
            cast.bob.post("models/detector/bulk-create", deep, content_type=content_type).status_code == 400
        )


def test_a_lone_surrogate_is_found_by_name(cast: Cast, detector: RegisteredModel) -> None:
    body = b'{"filters": {"deconstructed_inference_filter": {"labels": ["ok", "\\ud800"]}}}'
    answer = cast.carol.post("models/detector/search", body)
    assert list(answer.json()["fields"]) == ["filters.deconstructed_inference_filter.labels.1"]


@pytest.mark.parametrize("operation", EVERY_BODY)
def test_a_misspelt_field_is_named_and_nothing_happens(
    cast: Cast, detector: RegisteredModel, operation: str
) -> None:
    cast.bob.post(ONE, request_of())
    answer = cast.alice.post(f"models/detector/{operation}", {"filtres": {}})
    assert answer.status_code == 400
    assert answer.json()["fields"]["filtres"] == "unknown field"
    assert Inference.objects.count() == 1


@pytest.mark.parametrize(
    "filters",
    [{"data_sourcefilter": "x"}, {"metadata_filter": [{"keyy": 1}]}, {"time_window_filter": {"from": "x"}}],
)
def test_a_misspelt_filter_deletes_nothing(
    cast: Cast, detector: RegisteredModel, filters: dict[str, Any]
) -> None:
    cast.bob.post(ONE, request_of())
    for operation, body in (("bulk-delete", {}), ("protection", {"is_protected": True})):
        answer = cast.alice.post(f"models/detector/{operation}", body | {"filters": filters})
        assert answer.status_code == 400
    assert cast.alice.post("models/detector/bulk-delete", {}).status_code == 400
    assert Inference.objects.filter(is_protected=False).count() == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "models?limit=3"),
        ("GET", "projects?x=1"),
        ("GET", "models/detector?x=1"),
        ("GET", f"{ONE}/i-1?presigned=true"),
        ("DELETE", f"{ONE}/i-1?force=true"),
        ("GET", f"{ONE}?data_sourcee=camera"),
        ("GET", "models/detector/count?labell=x"),
        ("GET", "models/detector/granular?x=1"),
        ("POST", "models/detector/search?limit=3"),
        ("POST", "models/detector/bulk-delete?data_source=x"),
        ("POST", "models/detector/uploads/data?x=1"),
        ("GET", "openapi.json?format=yaml"),
    ],
)
def test_an_unknown_query_parameter_is_named(
    cast: Cast, detector: RegisteredModel, method: str, path: str
) -> None:
    cast.bob.post(ONE, request_of())
    answer = cast.alice(method, path, {"filters": {}} if "bulk" in path else None)
    assert answer.status_code == 400
    assert path.partition("?")[2].partition("=")[0] in answer.json()["fields"]
    assert Inference.objects.count() == 1


def test_operations_without_a_body_refuse_one(cast: Cast, detector: RegisteredModel) -> None:
    cast.bob.post(ONE, request_of())
    for method, path in (("POST", "models/detector/uploads/data"), ("DELETE", f"{ONE}/i-1")):
        answer = cast.bob(method, path, {"filters": {}})
        assert answer.status_code == 400
        assert answer.json()["fields"] == {"filters": "unknown field"}
    assert Inference.objects.count() == 1


def test_bodies_above_the_limit(cast: Cast, detector: RegisteredModel, settings: Any) -> None:
    settings.API_BODY_MAXIMUM_BYTES, settings.INGEST_BODY_MAXIMUM_BYTES = 1_000, 2_000
    answer = cast.carol.post("models/detector/search", b" " * 1_001)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert cast.carol.post("models/detector/search", b"{}" + b" " * 998).status_code == 200
    for path in (ONE, "models/detector/bulk-create"):
        assert cast.bob.post(path, b" " * 2_001).status_code == 413
        assert cast.bob.post(path, b" " * 1_500).status_code == 400


@pytest.mark.parametrize("length", ["-1", "1e3", "x", "٣"])
def test_content_lengths_that_are_none(cast: Cast, detector: RegisteredModel, length: str) -> None:
    from inference_store.api import bodies
    from inference_store.contract.errors import Refusal

    class Request:
        META = {"CONTENT_LENGTH": length}

    with pytest.raises(Refusal) as refused:
        bodies.chunks(Request(), 10)  # type: ignore[arg-type]
    assert refused.value.status == 400


def test_content_types(cast: Cast, detector: RegisteredModel) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = cast.carol.post("models/detector/search", b"{}", content_type=content_type)
        assert answer.status_code == 415, content_type
        assert "application/json" in answer.json()["error"]
    utf8 = "application/json; charset=utf-8"
    assert cast.carol.post("models/detector/search", b"{}", content_type=utf8).status_code == 200


@pytest.mark.parametrize("inference_id", ["", ".", "..", "a/b", "a\nb", "\x7f", "x" * 256, "\u200b", 5, None])
def test_ids_that_are_none(cast: Cast, detector: RegisteredModel, inference_id: Any) -> None:
    assert cast.bob.post(ONE, request_of(inference_id)).status_code == 400


@pytest.mark.parametrize(
    "path", [f"{ONE}/%2e%2e", f"{ONE}/a%2fb", f"{ONE}/a%0ab", "models/..%2f..", f"{ONE}/{'x' * 256}"]
)
def test_addresses_that_are_none(cast: Cast, detector: RegisteredModel, path: str) -> None:
    answer = cast.alice.get(path)
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"
