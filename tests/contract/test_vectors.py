"""Embeddings as base64 and as numbers: the same vector, refused for the same reasons."""

import base64
import copy
import json
import math
import pickle
from array import array
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import ValidationError

from inference_store.contract.base import FLOAT32_MAX
from inference_store.contract.inferences import Inference, NewInferenceAndMetadataCollection
from inference_store.contract.vectors import AS_BASE64, FLOAT64, packed, shortest, unpacked

METADATA: dict[str, Any] = {
    "standard_metadata": {
        "data_hash": "ab" * 32,
        "data_size": 1,
        "task_type": "Text Embedding",
        "inference_action": "embed",
    }
}
MOMENT = datetime(2026, 1, 31, tzinfo=UTC)
SINGLES = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=20)
NUMBERS = st.lists(st.floats(-3.4e38, 3.4e38) | st.integers(-(10**20), 10**20), max_size=20)


def collection(embedding: Any) -> NewInferenceAndMetadataCollection:
    return NewInferenceAndMetadataCollection(embedding=embedding, metadata=METADATA)


def sent(embedding: Any) -> Any:
    """What the SDK sends for it."""
    return json.loads(collection(embedding).model_dump_json(context=AS_BASE64))["embedding"]


def kept(embedding: Any) -> list[float]:
    """The numbers that it stands for."""
    return json.loads(collection(embedding).model_dump_json())["embedding"]


def spelled_by_orjson(singles: Any) -> list[float]:
    text = orjson.dumps(np.asarray(singles, np.float32), option=orjson.OPT_SERIALIZE_NUMPY)
    found: list[float] = orjson.loads(text)
    return found


def stored(**fields: Any) -> Inference:
    return Inference(
        model_id="m",
        inference_id="i",
        created_at=MOMENT,
        updated_at=MOMENT,
        inference_action="embed",
        data_hash="ab" * 32,
        version="v2",
        **fields,
    )


# --- The fewest digits --------------------------------------------------------------------------------------
@given(arrays.arrays(np.uint32, st.integers(0, 50)))
def test_the_fewest_digits_are_those_of_any_writer_of_float32(bits: Any) -> None:
    singles = bits.view(np.float32)
    singles = singles[np.isfinite(singles)]
    found, expected = shortest(array("f", singles.tobytes())), spelled_by_orjson(singles)
    assert found == expected
    assert list(map(math.copysign, found, [1] * len(found))) == [math.copysign(each, 1) for each in expected]


def test_the_fewest_digits_of_every_power_of_two_and_its_neighbours() -> None:
    powers = np.ldexp(np.float32(1), np.arange(-149, 128)).astype(np.float32)
    around = np.concatenate([powers, np.nextafter(powers, 0), np.nextafter(powers[:-1], np.float32(np.inf))])
    around = np.concatenate([around, -around]).astype(np.float32)
    assert shortest(array("f", around.tobytes())) == spelled_by_orjson(around)


# --- What is sent -------------------------------------------------------------------------------------------
@given(NUMBERS)
def test_any_numbers_travel_as_they_were_given(numbers: list[float]) -> None:
    text = sent(numbers)
    assert text.startswith(FLOAT64)
    assert kept(text) == kept(numbers) == [float(each) for each in numbers]


@given(SINGLES)
def test_float32_travels_as_such(numbers: list[float]) -> None:
    singles = np.asarray(numbers, np.float32)
    text = sent(singles)
    assert base64.b64decode(text) == singles.astype("<f4").tobytes()
    assert kept(text) == kept(singles) == spelled_by_orjson(singles)


@pytest.mark.parametrize("type_", ["f2", "f4", "f8", ">f4", "i4", "u1"])
def test_arrays_of_any_type(type_: str) -> None:
    assert kept(np.asarray([1, 0, 5], type_)) == [1.0, 0.0, 5.0]
    assert kept(np.asarray([1, 0, 5, 9], type_)[::2]) == [1.0, 5.0]


def test_a_list_is_left_a_list() -> None:
    given_ = collection([1, 0.5])
    assert (given_.embedding, given_.model_dump()["embedding"]) == ([1.0, 0.5], [1.0, 0.5])
    assert json.loads(given_.encode())["embedding"] == [1.0, 0.5]
    assert copy.deepcopy(given_) == given_


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, 1e39, -1e39, 3.402823466385289e38])
@pytest.mark.parametrize("place", [0, 2])
def test_what_no_float32_holds_is_refused_alike(wrong: float, place: int) -> None:
    numbers = [0.5, 1.0, 2.0]
    numbers[place] = wrong
    forms: list[Any] = [numbers, np.asarray(numbers), packed(array("d", numbers))]
    if not math.isfinite(wrong):
        forms.append(packed(array("f", numbers)))
    reasons = []
    for form in forms:
        with pytest.raises(ValidationError) as raised:
            collection(form)
        reasons.append([(each["loc"], each["msg"]) for each in raised.value.errors()])
    assert reasons[0][0][0] == ("embedding", place)
    assert all(each == reasons[0] for each in reasons)


@pytest.mark.parametrize("text", ["x", "AAA=", "é", "AAAA AAAA", f"{FLOAT64}AAAAAA==", "float32:", "[1.0]"])
def test_no_base64_of_floats(text: str) -> None:
    with pytest.raises(ValidationError, match="must be a list of numbers or base64"):
        collection(text)


@given(
    st.text('AQgw/+-_="\\\n é', max_size=12)
    | st.binary(max_size=12).map(lambda each: base64.b64encode(each).decode())
)
def test_base64_is_read_as_strictly_as_by_python(text: str) -> None:
    try:
        expected: Any = array("f", base64.b64decode(text, validate=True))
    except ValueError:
        expected = ValueError
    try:
        assert unpacked(text) == expected or any(math.isnan(each) for each in expected)
    except ValueError:
        assert expected is ValueError


@given(arrays.arrays(np.uint64, 3))
def test_quick_looks_at_bounds_are_right(bits: Any) -> None:
    """Of any bits: what is quickly taken would be taken one by one."""
    for numbers in (bits.view(np.float64), bits.view(np.float32)):
        fits = all(math.isfinite(each) and abs(each) <= FLOAT32_MAX for each in numbers.tolist())
        for form in (packed(array("f" if numbers.itemsize == 4 else "d", numbers.tobytes())), numbers):
            try:
                collection(form)
            except ValidationError:
                assert not fits
            else:
                assert fits


def test_too_many_numbers() -> None:
    for form in ([0.0] * 16_001, packed(array("f", [0.0] * 16_001)), np.zeros(16_001)):
        with pytest.raises(ValidationError, match="at most 16000"):
            collection(form)


# --- What is answered ---------------------------------------------------------------------------------------
@given(SINGLES)
def test_packed_answers_read_as_those_with_numbers(numbers: list[float]) -> None:
    singles = array("f", numbers)
    text = orjson.dumps(np.asarray(singles, np.float32), option=orjson.OPT_SERIALIZE_NUMPY).decode()
    for plain, lazy in (
        (stored(data=text), stored(packed_embedding=packed(singles))),
        (
            stored(data='[{"label": "a"}]', embedding=json.loads(text)),
            stored(data='[{"label": "a"}]', packed_embedding=packed(singles)),
        ),
        (
            stored(data="[]", embedding=json.loads(text)),
            stored(data="[]", packed_embedding=packed(singles)),
        ),
    ):
        assert lazy.float32_embedding == plain.float32_embedding == singles
        assert lazy.structured_embedding == plain.structured_embedding
        assert lazy.embedding == plain.embedding
        assert json.loads(lazy.data or "") == json.loads(plain.data or "")


def packed_answer() -> Inference:
    return stored(packed_embedding=packed(array("f", [0.1, 0.25])))


def test_whatever_reads_a_packed_answer_finds_the_numbers() -> None:
    plain = stored(data="[0.1,0.25]")
    assert packed_answer() == plain
    assert plain == packed_answer()
    assert packed_answer() != stored(data="[0.1,0.5]")
    assert repr(packed_answer()) == repr(plain)
    assert dict(packed_answer()) == dict(plain)
    assert packed_answer().model_dump() == plain.model_dump()
    assert packed_answer().model_dump_json() == plain.model_dump_json()
    assert pickle.loads(pickle.dumps(packed_answer())) == plain
    assert copy.deepcopy(packed_answer()) == packed_answer().model_copy() == plain
    assert packed_answer().model_copy(update={"data": "x"}).data == "x"
    assert Inference.model_validate_json(packed_answer().model_dump_json()) == plain
    assert "data" in plain.model_fields_set


def test_a_packed_answer_is_not_spelled_before_somebody_looks() -> None:
    answer = packed_answer()
    assert (answer.inference_id, answer.presigned_url) == ("i", None)
    assert "data" not in vars(answer)
    assert answer.data == "[0.1,0.25]"
    with pytest.raises(AttributeError):
        _ = answer.no_such_field  # type: ignore[attr-defined]


def test_unpacked_is_what_was_packed() -> None:
    for typecode in "fd":
        assert unpacked(packed(array(typecode, [0.1, -0.0]))) == array(typecode, [0.1, -0.0])


@given(st.lists(st.sampled_from([3.4028234663852886e38, -3.4028234663852886e38, 0.1, 1e-45]), max_size=8))
def test_the_largest_numbers_fit_together(numbers: list[float]) -> None:
    singles = np.asarray(numbers, np.float32)
    assert kept(numbers) == kept(packed(array("d", numbers))) == numbers
    assert kept(singles) == kept(packed(array("f", numbers))) == spelled_by_orjson(singles)
