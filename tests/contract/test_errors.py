"""What pydantic finds wrong, in words."""

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from inference_store.contract.base import Identifier, Text
from inference_store.contract.errors import message_of


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [(Identifier, "x y/z", "no slash"), (Identifier, "a\nb", "no control character"), (Text, "a\0", "NUL")],
)
def test_no_pattern_is_shown(kind, text, words):
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(text)
    [problem] = caught.value.errors()
    assert words in message_of(problem)
    assert "pattern" not in message_of(problem)


class Asked(BaseModel):
    score: float | None = Field(None, allow_inf_nan=False)
    count: Annotated[int, Field(ge=1, le=9)] | None = None
    flag: Annotated[bool, Field(strict=True)] | None = None
    way: Literal["asc", "desc"] | None = None
    name: Annotated[str, Field(min_length=2, max_length=3)] | None = None
    names: Annotated[list[str], Field(max_length=1)] | None = None
    inner: "Asked | None" = None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"score": "high"}, "must be a number"),
        ({"score": []}, "must be a number"),
        ({"score": "nan"}, "must be a finite number"),
        ({"count": "x"}, "must be a whole number"),
        ({"count": 1.5}, "must be a whole number"),
        ({"count": 0}, "must be at least 1"),
        ({"count": 10}, "must be at most 9"),
        ({"flag": "x"}, "must be true or false"),
        ({"way": "up"}, "must be 'asc' or 'desc'"),
        ({"name": 3}, "must be text"),
        ({"name": "a"}, "must have at least 2 characters"),
        ({"name": "abcd"}, "must have at most 3 characters"),
        ({"names": "a"}, "must be a list"),
        ({"inner": 3}, "must be an object"),
    ],
)
def test_what_is_wrong_is_told_in_plain_words(given, words):
    with pytest.raises(ValidationError) as caught:
        Asked.model_validate(given)
    assert [message_of(problem) for problem in caught.value.errors()] == [words]
