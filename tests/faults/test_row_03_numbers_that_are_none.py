"""NaN, infinities and numbers beyond a double, wherever a number is read; embeddings that don't fit: 400."""

import base64
import json
import struct
from typing import Any

import pytest

from inference_store.models import Inference, RegisteredModel
from tests.cast import Cast, request_of
from tests.faults.documented import NUMBER, OPERATIONS, TEXT, WITH_BODY, is_named, spelt, with_value

ONE = "models/detector/inferences"
TOKEN = "<here>"
NONE = ["NaN", "Infinity", "-Infinity", "1e400", "-1e400"]


@pytest.mark.parametrize("number", NONE)
def test_in_every_number_of_every_operation(cast: Cast, detector: RegisteredModel, number: str) -> None:
    wrong, tried = [], 0
    for operation in WITH_BODY:
        path = operation.address(model_id="detector", inference_id="i-1")
        for each in operation.places:
            if NUMBER not in each.kinds:
                continue
            body = spelt(with_value(operation.body, each.path, TOKEN), {TOKEN: number})
            answer = cast.alice(operation.method, path, body, content_type=operation.content_type)
            if answer.status_code != 400 or not is_named(each, answer.json()["fields"]):
                wrong.append((operation.operation_id, each.name, answer.status_code, answer.content))
            tried += 1
    assert not wrong
    assert tried > 110
    assert not Inference.objects.exists()


@pytest.mark.parametrize("number", NONE)
def test_where_text_spells_a_number(cast: Cast, detector: RegisteredModel, number: str) -> None:
    """Metadata and what they are compared with; times; the query string."""
    for type_ in ("int", "float", "json"):
        extended = [{"key": "k", "type": type_, "value": number}]
        told = cast.bob.post(ONE, request_of(extended=extended))
        assert told.status_code == 400, type_
        assert next(iter(told.json()["fields"])).startswith("data.metadata.extended_metadata")
        nested = [{"key": "k", "type": "json", "value": f'{{"a": [{number}]}}'}]
        assert cast.bob.post(ONE, request_of(extended=nested)).status_code == 400
    for type_ in ("int", "float", "json.int", "json.float"):
        for operator, value in (("=", number), (">", number), ("in", f"[1, {number}]")):
            asked = {"key": "k", "type": type_, "operator": operator, "value": value}
            told = cast.carol.post("models/detector/search", {"filters": {"metadata_filter": [asked]}})
            assert told.status_code == 400, asked
    for body in (request_of(created_at=number), spelt(request_of(created_at=TOKEN), {TOKEN: number})):
        told = cast.bob.post(ONE, body)
        assert (told.status_code, list(told.json()["fields"])) == (400, ["created_at"])
    for edge in ("start", "end"):
        told = cast.carol.post("models/detector/search", {"filters": {"time_window_filter": {edge: number}}})
        assert told.status_code == 400
    for name in ("minimum_score", "maximum_score", "limit", "offset", "start", "end"):
        told = cast.carol.get(f"{ONE}?{name}={number}")
        assert (told.status_code, list(told.json()["fields"])) == (400, [name])
    for name, text in (("circle", f"1,2,{number}"), ("rectangle", f"1,2,3,{number}")):
        assert cast.carol.get(f"{ONE}?{name}={text}").status_code == 400
    assert not Inference.objects.exists()


def base64_of(*numbers: float, form: str = "f") -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}{form}", *numbers)).decode()


NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    "embedding",
    [
        [],
        [1.0],
        [1.0, 2.0, 3.0, 4.0],
        [1.0, None, 2.0],
        [1e39, 0.0, 0.0],
        "x",
        [True, "a", 1.0],
        base64_of(1, 2),
        base64_of(1, NAN, 2),
        base64_of(1, 2, -INFINITE),
        base64_of(1, 2, 3)[:-2],
        "float64:" + base64_of(1, NAN, 2, form="d"),
        "float64:" + base64_of(1, 1e39, 2, form="d"),
        "float64:" + base64_of(1, 2, 3),
        "not base64",
    ],
)
def test_embeddings_that_do_not_fit(cast: Cast, detector: RegisteredModel, embedding: Any) -> None:
    answer = cast.bob.post(ONE, request_of(data={"embedding": embedding}))
    assert answer.status_code == 400
    assert any(name.startswith("data.embedding") for name in answer.json()["fields"])

    assert (
        cast.bob.post("models/detector/bulk-create", [request_of(data={"embedding": embedding})]).status_code
        == 400
    )
    assert not Inference.objects.exists()


@pytest.mark.parametrize(
    "numbers", [[], [1.0], [1.0, None, 2.0], [1e39, 0.0, 0.0], [NAN, 0.0, 0.0], [1.0] * 4]
)
def test_queries_that_do_not_fit(cast: Cast, detector: RegisteredModel, numbers: list[Any]) -> None:
    asked = {"embedding_filters": {"query_embedding": numbers}}
    for path in ("search", "count", "granular"):
        told = cast.carol.post(f"models/detector/{path}", json.dumps(asked).encode())
        assert told.status_code == 400, path
        assert next(iter(told.json()["fields"])).startswith("embedding_filters")


def test_the_largest_that_there_are_are_taken(cast: Cast, detector: RegisteredModel) -> None:
    """Not everything that is large or small is refused."""
    score = {"object_detection": [{"label": "x", "score": 1.7976931348623157e308}]}
    edge = {"embedding": [3.4028234663852886e38, -3.4028234663852886e38, 5e-324]}
    assert cast.bob.post(ONE, request_of(data=score | edge)).status_code == 201


def test_all_places_are_tried() -> None:
    assert len(OPERATIONS) > 40
    create = next(each for each in WITH_BODY if each.operation_id == "create_inference")
    numbers = {each.name for each in create.places if NUMBER in each.kinds}
    assert numbers > {
        *("data.embedding.0", "data.object_detection.0.score", "data.inference"),
        *(f"data.metadata.standard_metadata.{name}" for name in ("latitude", "longitude", "data_size")),
    }
    assert any(TEXT in each.kinds for each in create.places if each.name == "data.embedding")
