"""Embeddings over REST: as numbers, as base64, or not at all; the same record in any form."""

import json
from array import array
from typing import Any

import pytest

from inference_store.contract.inferences import Inference, InferencePage
from inference_store.contract.vectors import packed
from inference_store.models import RegisteredModel
from tests.cast import Cast, ndjson, request_of

ONE = "models/detector/inferences"
SHORT = [0.1, -0.0, 1e-6]
"""Float32 spells them so."""
LONG = [1 / 3, 1e-60, 16777217.0]


@pytest.fixture
def embedder(cast: Cast) -> RegisteredModel:
    return RegisteredModel.objects.create(
        model_id="embedder", project_id="birds", task_type="Text Embedding", embedding_size=3
    )


def text_request(inference_id: str, embedding: Any) -> dict[str, Any]:
    request = request_of(
        inference_id,
        model_id="embedder",
        standard={"task_type": "Text Embedding", "inference_action": "embed"},
        data={"embedding": embedding},
    )
    del request["data"]["object_detection"]
    return request


def forms(numbers: list[float]) -> list[Any]:
    found = [numbers, packed(numbers)]
    return [*found, packed(array("f", numbers))] if numbers is SHORT else found


@pytest.mark.parametrize("numbers", [SHORT, LONG], ids=["short", "long"])
@pytest.mark.parametrize("first", [0, 1, 2])
@pytest.mark.parametrize("bulk", [False, True])
def test_all_forms_of_the_same_numbers_are_the_same_content(
    cast: Cast, detector: RegisteredModel, embedder: RegisteredModel, numbers: Any, first: int, bulk: bool
) -> None:
    given = forms(numbers)
    for number, form in enumerate(given[first:] + given[:first]):
        for request in (request_of("i", data={"embedding": form}), text_request("i", form)):
            path = f"models/{request['model_id']}"
            if bulk:
                sent = ndjson([request])
                answer = cast.bob.post(f"{path}/bulk-create", sent, content_type="application/x-ndjson")
            else:
                answer = cast.bob.post(f"{path}/inferences", request)
            assert answer.status_code == (200 if number else 201), answer.json()
    found = cast.carol.get("models/embedder/inferences/i").json()
    assert json.loads(found["data"]) == numbers
    other = text_request("i", packed([1.0, 2.0, 3.0]))
    assert cast.bob.post("models/embedder/inferences", other).status_code == 409


@pytest.mark.parametrize(
    ("embedding", "field"),
    [
        (packed([1.0]), "data.embedding"),
        (packed([1.0, 1e39, 0.0]), "data.embedding.1"),
        (packed(array("f", [1.0, 1.0, float("nan")])), "data.embedding.2"),
        ("no base64", "data.embedding"),
    ],
)
def test_what_does_not_fit(cast: Cast, detector: RegisteredModel, embedding: str, field: str) -> None:
    answer = cast.bob.post(ONE, request_of(data={"embedding": embedding}))
    assert answer.status_code == 400
    assert list(answer.json()["fields"]) == [field]


@pytest.mark.parametrize("model_id", ["detector", "embedder"])
def test_answers_in_every_form(
    cast: Cast, detector: RegisteredModel, embedder: RegisteredModel, model_id: str
) -> None:
    short = [0.1, -0.0, 0.25]
    for name, numbers in (("a", short), ("b", LONG)):
        wanted = {"embedding": numbers}
        request = request_of(name, data=wanted) if model_id == "detector" else text_request(name, numbers)
        assert cast.bob.post(f"models/{model_id}/inferences", request).status_code == 201
    search, one = f"models/{model_id}/search", f"models/{model_id}/inferences/a"
    plain = cast.carol.post(search, {}).json()
    assert plain == cast.carol.post(search, {"embeddings": "numbers"}).json()
    assert not any("packed_embedding" in row for row in plain["inferences"])
    lean = cast.carol.post(search, {"embeddings": "base64"}).json()
    assert all(row["embedding"] is None for row in lean["inferences"])
    assert lean["inferences"][0]["packed_embedding"] == packed(array("f", short))
    assert InferencePage.model_validate(lean) == InferencePage.model_validate(plain)
    bare = cast.carol.post(search, {"embeddings": "none"}).json()["inferences"]
    assert all(row["embedding"] is None and "packed_embedding" not in row for row in bare)
    if model_id == "embedder":
        assert [row["data"] for row in bare] == [None, None]
    single, single_lean = cast.carol.get(one).json(), cast.carol.get(f"{one}?embeddings=base64").json()
    assert single == plain["inferences"][0]
    assert Inference.model_validate(single_lean) == Inference.model_validate(single)
    again = cast.bob.post(f"models/{model_id}/inferences?embeddings=base64", request).json()
    assert again == cast.carol.get(f"models/{model_id}/inferences/b?embeddings=base64").json()


def test_granular_rows_in_every_form(cast: Cast, detector: RegisteredModel) -> None:
    cast.bob.post(ONE, request_of("a"))
    for form in ("numbers", "base64", "none"):
        rows = cast.carol.post("models/detector/granular", {"embeddings": form}).json()["granular_inferences"]
        found = Inference.model_validate(rows[0]["inference"])
        assert found.structured_embedding == (None if form == "none" else [1.0, 0.0, 0.5])


def test_a_form_that_there_is_not(cast: Cast, detector: RegisteredModel) -> None:
    for answer in (
        cast.carol.get(f"{ONE}/a?embeddings=hex"),
        cast.carol.post("models/detector/search", {"embeddings": "hex"}),
    ):
        assert answer.status_code == 400
        assert list(answer.json()["fields"]) == ["embeddings"]
