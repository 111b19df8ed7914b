"""What pydantic finds wrong, in words."""

import pytest
from pydantic import TypeAdapter, ValidationError

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
