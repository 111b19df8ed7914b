"""Identifiers, strings, numbers: what every model of the contract stands on."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from inference_store.contract.base import (
    INT64_MAX,
    INT64_MIN,
    LONGEST_NAME,
    Float32,
    Identifier,
    Key,
    Latitude,
    Longitude,
    Name,
    Text,
    parse_float,
    parse_int,
    storable_json,
)


def accepts(type_: Any, value: Any) -> bool:
    try:
        TypeAdapter(type_).validate_python(value)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    "text", ["a", "A.b-c_d", "...", "a b", "é", "猫", "🐈", "%2e%2e", "a?b#c", "x" * 255]
)
def test_identifiers(text: str) -> None:
    assert accepts(Identifier, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a/b",
        "/",
        "a\nb",
        "a\x00",
        "\x7f",
        "\u2028",
        "\u200b",
        "\x85",
        "\ud800",
        "x" * 256,
        7,
        None,
    ],
)
def test_what_is_no_identifier(text: Any) -> None:
    assert not accepts(Identifier, text)


@pytest.mark.parametrize("type_", [Text, Name, Key, Identifier])
@pytest.mark.parametrize("bad", ["\x00", "a\x00b", "\ud800", "a\udfffb"])
def test_no_string_holds_nul_or_a_lone_surrogate(type_: Any, bad: str) -> None:
    assert not accepts(type_, bad)


def test_names_and_keys_are_bounded() -> None:
    assert accepts(Name, "") and accepts(Name, "🐈" * LONGEST_NAME)  # noqa: PT018
    assert not accepts(Name, "x" * (LONGEST_NAME + 1))
    assert accepts(Key, "\n") and not accepts(Key, "")  # noqa: PT018


@pytest.mark.parametrize(
    ("type_", "inside", "outside"),
    [
        (Latitude, [-90, 0, 90], [90.0001, -90.0001]),
        (Longitude, [-180, 180], [180.0001, -180.0001]),
        (Float32, [3.4028234663852886e38, -1e-50], [3.5e38, -1e39]),
    ],
)
def test_bounded_numbers(type_: Any, inside: list[float], outside: list[float]) -> None:
    assert all(accepts(type_, number) for number in inside)
    assert not any(accepts(type_, number) for number in [*outside, math.nan, math.inf, -math.inf])


@given(st.integers(INT64_MIN, INT64_MAX))
def test_every_64_bit_integer_is_read(number: int) -> None:
    assert parse_int(str(number)) == number


@pytest.mark.parametrize(
    "text",
    ["", " 1", "1 ", "1.0", "1e3", "0x1", "1_000", "٣", "²", "+", "--1", str(2**63), "9" * 5000, "NaN"],
)
def test_what_is_no_integer(text: str) -> None:
    with pytest.raises(ValueError, match="is not a 64-bit integer"):
        parse_int(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_is_read(number: float) -> None:
    assert parse_float(repr(number)) == number


@pytest.mark.parametrize("text", ["1.", ".5", "-0", "+1E+5", "1e-400"])
def test_numbers_in_other_spellings(text: str) -> None:
    assert parse_float(text) == float(text)


@pytest.mark.parametrize(
    "text", ["", ".", "e5", "1e400", "inf", "nan", "Infinity", "1_0", "٣", " 1", "0x1p3", "1,5"]
)
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="is not a finite number"):
        parse_float(text)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(codec="ascii", min_codepoint=1)), inner)
    ),
)


@given(JSON_VALUES)
def test_json_is_taken_as_it_is(value: Any) -> None:
    assert storable_json(value) is value


@pytest.mark.parametrize("bad", ["\x00", "\ud800", math.nan, math.inf, b"x", {1}, object()])
@pytest.mark.parametrize(
    "place",
    [lambda bad: bad, lambda bad: [1, [bad]], lambda bad: {"a": {"b": [bad]}}, lambda bad: ({"a": bad},)],
)
def test_what_json_or_the_database_cannot_hold_is_found_anywhere(place: Any, bad: Any) -> None:
    with pytest.raises(ValueError, match="holds a"):
        storable_json(place(bad))


@pytest.mark.parametrize("key", ["\x00", "\ud800", 1.5e400, b"x"])
def test_mapping_keys_are_looked_at_too(key: Any) -> None:
    with pytest.raises(ValueError, match="holds a"):
        storable_json([{key: 1}])


def test_nesting_is_walked_without_recursion() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    assert storable_json(deep) is deep
