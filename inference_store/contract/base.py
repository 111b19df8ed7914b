"""What every model of the contract stands on: strict requests, lenient responses, bounded strings."""

import math
import re
from enum import Enum
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

LONGEST_NAME = 512
"""Characters of a label, key or data source: 2,048 bytes at most, which an index row can hold."""
FLOAT32_MAX = 3.4028234663852886e38
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
NO_NUL = r"^[^\x00]*$"
IN_AN_ADDRESS = r"^[^\x00-\x1f\x7f/]+$"


class RequestModel(BaseModel):
    """Refuses unknown fields: a misspelt filter must never become an empty one."""

    model_config = ConfigDict(protected_namespaces=(), extra="forbid", use_enum_values=True)


class ResponseModel(BaseModel):
    """Ignores unknown fields, so that an older client reads a newer store."""

    model_config = ConfigDict(protected_namespaces=(), extra="ignore")


def _identifier(value: str) -> str:
    if value in (".", "..") or "/" in value or not value.isprintable():
        raise ValueError("must be printable, without '/', and neither '.' nor '..'")
    return value


def _foreign_enum(value: Any) -> Any:
    """Another library's enumeration stands for its value, which is then checked as ours."""
    return value.value if isinstance(value, Enum) else value


Text = Annotated[str, StringConstraints(pattern=NO_NUL)]
Name = Annotated[str, StringConstraints(pattern=NO_NUL, max_length=LONGEST_NAME)]
Key = Annotated[str, StringConstraints(pattern=NO_NUL, min_length=1, max_length=LONGEST_NAME)]
Identifier = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255, pattern=IN_AN_ADDRESS),
    AfterValidator(_identifier),
]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Latitude = Annotated[float, Field(allow_inf_nan=False, ge=-90, le=90)]
Longitude = Annotated[float, Field(allow_inf_nan=False, ge=-180, le=180)]
Float32 = Annotated[float, Field(allow_inf_nan=False, ge=-FLOAT32_MAX, le=FLOAT32_MAX)]
STOP_AT_FIRST = Field(fail_fast=True)
"""For lists: pydantic would keep every mistake, and two megabytes of wrong items take half a gigabyte."""
ForeignEnum = BeforeValidator(_foreign_enum)

_INTEGER = re.compile(r"[+-]?[0-9]{1,4000}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def parse_int(text: str) -> int:
    """The 64-bit integer that `text` spells."""
    if not _INTEGER.fullmatch(text) or not INT64_MIN <= (number := int(text)) <= INT64_MAX:
        raise ValueError(f"{text[:80]!r} is not a 64-bit integer")
    return number


def parse_float(text: str) -> float:
    """The finite number that `text` spells."""
    if not _NUMBER.fullmatch(text) or not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:80]!r} is not a finite number")
    return number


def _refuse_unfit(text: str) -> None:
    if "\x00" in text:
        raise ValueError("holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds a lone surrogate") from None


def storable_json(value: Any) -> Any:
    """The value, refused where PostgreSQL's jsonb or JSON itself could not hold it. Without recursion."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if "\x00" in item or not item.isascii():
                _refuse_unfit(item)
        elif isinstance(item, float):
            if not math.isfinite(item):
                raise ValueError("holds a number that is not finite")
        elif isinstance(item, dict):
            waiting.extend(item)
            waiting.extend(item.values())
        elif isinstance(item, list | tuple):
            waiting.extend(item)
        elif not (item is None or isinstance(item, int)):
            raise ValueError(f"holds a {type(item).__name__}, which JSON can't spell")
    return value


Json = Annotated[Any, AfterValidator(storable_json)]
