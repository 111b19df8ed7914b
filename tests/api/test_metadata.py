"""Metadata and statistics over REST."""

import pytest

from inference_store.models import RegisteredModel
from tests.cast import Cast, request_of

PATH = "models/detector/inferences/i-1/metadata"


@pytest.fixture(autouse=True)
def _one(cast: Cast, detector: RegisteredModel) -> None:
    assert cast.bob.post("models/detector/inferences", request_of()).status_code == 201


def test_add_replace_get_delete(cast: Cast) -> None:
    run = {"key": "run", "type": "int", "value": "7"}
    assert cast.carol.get(PATH).json() == {"metadata": [run]}
    colour = {"key": "colour", "type": "string", "value": "red"}
    assert cast.bob.post(PATH, colour).json() == colour
    assert cast.bob.post(PATH, colour | {"value": "blue"}).status_code == 200
    assert cast.carol.get(PATH).json() == {"metadata": [colour | {"value": "blue"}, run]}
    assert cast.carol.get("models/detector/metadata-keys").json() == {
        "counts": {"colour": {"string": 1}, "run": {"int": 1}}
    }
    assert cast.bob.delete(f"{PATH}?key=colour").json() == {"key": "colour"}
    assert cast.bob.delete(f"{PATH}?key=colour").status_code == 404


def test_of_no_inference(cast: Cast) -> None:
    path = "models/detector/inferences/none/metadata"
    assert cast.carol.get(path).status_code == 404
    assert cast.bob.post(path, {"key": "a", "type": "int", "value": "1"}).status_code == 404
    assert cast.bob.delete(f"{path}?key=a").status_code == 404


@pytest.mark.parametrize("query", ["", "?key=", "?key=a&key=b", "?key=%00", "?kez=a", "?key=a&x=1"])
def test_delete_needs_one_key(cast: Cast, query: str) -> None:
    assert cast.bob.delete(PATH + query).status_code == 400


@pytest.mark.parametrize(
    ("type_", "value"),
    [("int", "1.5"), ("int", str(2**63)), ("float", "NaN"), ("float", "1e400"), ("json", "{"), ("bool", "1")],
)
def test_a_value_that_does_not_parse(cast: Cast, type_: str, value: str) -> None:
    assert cast.bob.post(PATH, {"key": "k", "type": type_, "value": value}).status_code == 400


def test_statistics(cast: Cast) -> None:
    answer = cast.carol.post("models/detector/metadata-statistics", {"key": "run", "type": "int"})
    assert answer.json() == {
        "count": 1,
        "distribution": {"[7.0, 7.0]": 1},
        "min": 7.0,
        "max": 7.0,
        "truncated": False,
    }
    both = {"key": "run", "type": "int", "distribution_bin_count": 2, "distribution_bin_width": 1}
    assert cast.carol.post("models/detector/metadata-statistics", both).status_code == 400
