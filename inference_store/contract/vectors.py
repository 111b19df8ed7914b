"""Embeddings as they travel: a list of numbers, or base64 of them as little-endian floats.

Base64 alone is float32, standing for the numbers of fewest digits that float32 rounds to it; after the prefix
"float64:" it is the numbers themselves, whatever they are.
"""

import base64
import math
import sys
from array import array
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

from pydantic import (
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    SerializationInfo,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)

from inference_store.contract.base import STOP_AT_FIRST, Float32
from inference_store.contract.filters import LARGEST_EMBEDDING

FLOAT64 = "float64:"
AS_BASE64 = {"embeddings": "base64"}
"""The context in which a request model spells its embedding as base64."""

SMALLEST_NORMAL = 2.0**-126
MOST_DIGITS = 9
"""Digits that tell any float32 from its neighbours; 6 suffice for none but the luckiest."""
# Powers of two lie nearer to the number below than to the one above. Of all of them, these have a decimal of
# fewer digits that is not the nearest one.
UNEVEN = {2.0**-96: 1.2621775e-29, 2.0**87: 1.5474251e26, 2.0**90: 1.2379401e27}

SINGLE_BYTES = 4
# The first bytes of smaller numbers of either sign; of float32, those below 2^127.
SMALL_SINGLES = bytes([*range(0x7F), *range(0x80, 0xFF)])
SMALL_DOUBLES = bytes([*range(0x47), *range(0x80, 0xC7)])

_list: TypeAdapter[list[float]] = TypeAdapter(
    Annotated[list[Float32], Field(max_length=LARGEST_EMBEDDING), STOP_AT_FIRST]
)
LENIENT = ("-", "_", '"', "\\")
"""What pydantic reads in base64, or JSON in a string, and base64 has not."""
_base64_bytes: TypeAdapter[bytes] = TypeAdapter(bytes, config=ConfigDict(val_json_bytes="base64"))


def shortest(singles: "array[float]") -> list[float]:
    """The numbers of fewest digits that float32 rounds to these."""
    found = singles.tolist()
    left = list(range(len(found)))
    fewest = 1 if any(0 < abs(number) < SMALLEST_NORMAL for number in found) else 6
    for digits in range(fewest, MOST_DIGITS + 1):
        spelled = (f"%.{digits}g " * len(left)) % tuple(map(singles.__getitem__, left))
        rounded = [float(text) for text in spelled.split()]
        longer = []
        for place, number, single in zip(left, rounded, array("f", rounded), strict=True):
            if single == singles[place]:
                found[place] = number
            else:
                longer.append(place)
        left = longer
    for place, single in enumerate(singles):
        if (shorter := UNEVEN.get(abs(single))) is not None:
            found[place] = math.copysign(shorter, single)
    return found


def numbers(vector: Sequence[float]) -> list[float]:
    """The vector as plain numbers."""
    if not isinstance(vector, array):
        return list(vector)
    return shortest(vector) if vector.typecode == "f" else vector.tolist()


def packed(vector: Sequence[float]) -> str:
    """The vector as base64."""
    if isinstance(vector, array) and vector.typecode == "f":
        return _base64(vector)
    return FLOAT64 + _base64(array("d", vector))


def _base64(floats: "array[float]") -> str:
    if sys.byteorder == "big":
        floats = floats[:]
        floats.byteswap()
    return base64.b64encode(floats).decode()


def unpacked(text: str) -> "array[float]":
    """What `packed` packed; ValueError where the text is nothing of the kind."""
    wide = text.startswith(FLOAT64)
    floats = array("d" if wide else "f")
    try:
        floats.frombytes(_decoded(text[len(FLOAT64) :] if wide else text))
    except ValueError:
        what = f"base64 of little-endian float32, or of float64 after {FLOAT64!r}"
        raise ValueError(f"must be a list of numbers or {what}") from None
    if sys.byteorder == "big":
        floats.byteswap()
    return floats


def _decoded(text: str) -> bytes:
    """By pydantic, four times as fast, as far as it is as strict."""
    if len(text) % 4 == 0 and not any(each in text for each in LENIENT):
        with suppress(ValidationError):  # the slow way says no
            return _base64_bytes.validate_json(f'"{text}"')
    return base64.b64decode(text, validate=True)


def read(value: Any) -> Sequence[float]:
    """An embedding in any of its forms, refused where float32 could not hold it."""
    if isinstance(value, str):
        value = unpacked(value)
    elif not isinstance(value, list) and hasattr(value, "tolist"):
        value = _of_array(value)
    floats = value if isinstance(value, array) else _floats(value)
    if floats is None or len(floats) > LARGEST_EMBEDDING or not _surely_fit(floats):
        # The slow way knows which number is wrong, if any, and says so.
        checked = _list.validate_python(value.tolist() if isinstance(value, array) else value)
        return value if isinstance(value, array) else checked
    return floats if floats is value else floats.tolist()


def _of_array(value: Any) -> Any:
    """Float32 and float64 as they are; arrays of other types as the numbers that they hold."""
    if isinstance(value, array) and value.typecode in "fd":
        return value
    if str(getattr(value, "dtype", "")) == "float32" and value.ndim == 1:
        return array("f", value.tobytes())
    return value.tolist()


def _floats(value: Any) -> "array[float] | None":
    """None where it needs a closer look."""
    try:
        return array("d", value) if isinstance(value, list) else None
    except (TypeError, OverflowError):
        return None


def _surely_fit(floats: "array[float]") -> bool:
    """Whether the first byte of each, its sign and most of its exponent, is of a number below 2^113."""
    first = floats.itemsize - 1 if sys.byteorder == "little" else 0
    small = SMALL_SINGLES if floats.itemsize == SINGLE_BYTES else SMALL_DOUBLES
    return not floats.tobytes()[first :: floats.itemsize].translate(None, small)


def _spelt(vector: Sequence[float], info: SerializationInfo) -> str | list[float]:
    return packed(vector) if info.context == AS_BASE64 and info.mode == "json" else numbers(vector)


Vector = Annotated[
    Sequence[float],
    PlainValidator(read),
    PlainSerializer(_spelt),
    WithJsonSchema(
        {
            "anyOf": [
                _list.json_schema(),
                {
                    "type": "string",
                    "contentEncoding": "base64",
                    "description": "Little-endian float32; after the prefix float64: little-endian float64.",
                },
            ]
        }
    ),
]
