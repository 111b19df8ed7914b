"""What must be refused with a 4xx that says why, never a 500. Texts, numbers and names: tests/faults."""

from typing import Any

import pytest

from inference_store.models import Inference, RegisteredModel
from tests.cast import Cast, request_of

ONE = "models/detector/inferences"
EVERY_BODY = ["search", "count", "granular", "bulk-delete", "protection", "metadata-statistics", "inferences"]


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
