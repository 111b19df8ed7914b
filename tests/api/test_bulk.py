"""Many inferences in one request."""

import json
from typing import Any

import pytest

from inference_store.models import Inference, RegisteredModel
from tests.cast import Cast, ndjson, request_of

BULK = "models/detector/bulk-create"
LINES = "application/x-ndjson"


@pytest.mark.parametrize("content_type", ["application/json", LINES])
def test_stores_all_in_order(cast: Cast, detector: RegisteredModel, content_type: str) -> None:
    requests = [request_of(f"i-{number}") for number in (3, 1, 2)]
    body = ndjson(requests) if content_type == LINES else json.dumps(requests).encode()
    answer = cast.bob.post(BULK, body, content_type=content_type)
    assert answer.status_code == 201
    assert answer.json() == {"inference_ids": ["i-3", "i-1", "i-2"], "created_count": 3}
    again = cast.bob.post(BULK, body, content_type=content_type)
    assert again.status_code == 200
    assert again.json() == {"inference_ids": ["i-3", "i-1", "i-2"], "created_count": 0}


def test_empty_bodies(cast: Cast, detector: RegisteredModel) -> None:
    nothing = {"inference_ids": [], "created_count": 0}
    assert cast.bob.post(BULK, b"[]").json() == nothing
    assert cast.bob.post(BULK, b"\n\n", content_type=LINES).json() == nothing
    assert cast.bob.post(BULK, b" ").status_code == 400


@pytest.mark.parametrize("content_type", ["application/json", LINES])
def test_a_wrong_item_is_named_and_nothing_stored(
    cast: Cast, detector: RegisteredModel, content_type: str
) -> None:
    requests = [request_of(f"i-{number}") for number in range(5)]
    requests[3]["data"]["metadata"]["standard_metadata"]["latitude"] = 90.0001
    requests[4]["dataa"] = 1
    body = ndjson(requests) if content_type == LINES else json.dumps(requests).encode()
    answer = cast.bob.post(BULK, body, content_type=content_type)
    assert answer.status_code == 400
    told = answer.json()
    assert told["error"].startswith("item 3 (inference_id i-3): data.metadata.standard_metadata.latitude")
    assert set(told["fields"]) == {"3.data.metadata.standard_metadata.latitude", "4.dataa"}
    assert Inference.objects.count() == 0


def test_what_the_service_refuses_is_named_too(cast: Cast, detector: RegisteredModel) -> None:
    requests = [request_of("i-0"), request_of("i-1", data={"embedding": [1.0]})]
    answer = cast.bob.post(BULK, requests)
    assert answer.status_code == 400
    assert "1.data.embedding" in answer.json()["fields"]
    assert "item 1" in answer.json()["error"]
    assert Inference.objects.count() == 0


def test_an_item_of_another_model(cast: Cast, detector: RegisteredModel) -> None:
    answer = cast.bob.post(BULK, [request_of("i-0", model_id="other")])
    assert answer.status_code == 400
    assert list(answer.json()["fields"]) == ["0.model_id"]


def test_a_broken_line(cast: Cast, detector: RegisteredModel) -> None:
    body = ndjson([request_of("i-0")]) + b'{"model_id": \n'
    answer = cast.bob.post(BULK, body, content_type=LINES)
    assert answer.status_code == 400
    assert list(answer.json()["fields"]) == ["1"]


@pytest.mark.parametrize("content_type", ["application/json", LINES])
def test_more_than_ten_thousand(cast: Cast, detector: RegisteredModel, content_type: str) -> None:
    item: Any = json.dumps(request_of("i-0"))
    body = (item + "\n") * 10_001 if content_type == LINES else "[" + ",".join([item] * 10_001) + "]"
    answer = cast.bob.post(BULK, body.encode(), content_type=content_type)
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_many"


def test_other_content_types(cast: Cast, detector: RegisteredModel) -> None:
    answer = cast.bob.post(BULK, b"a,b", content_type="text/csv")
    assert answer.status_code == 415
    assert "application/x-ndjson" in answer.json()["error"]
