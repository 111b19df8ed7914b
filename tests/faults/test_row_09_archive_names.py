"""Names of members: fault 9."""

import re
import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from inference_store.archive.base import EXTENSIONS, file_name, stem
from inference_store.contract.archive import MEMBER_NAME
from inference_store.contract.base import Identifier
from tests.archive.driver import whole

identifier = TypeAdapter(Identifier)


def is_identifier(text: str) -> bool:
    try:
        return bool(identifier.validate_python(text))
    except ValidationError:
        return False


# Near to each other, and to what file systems trip over.
close = st.text(st.sampled_from("aAbBéE\u0301ßİı._-~ \\:%CONconpng0"), min_size=1, max_size=6)
names = close | st.text(st.sampled_from(string.printable), min_size=1, max_size=8) | st.text(min_size=1)
ids = (names | names.map(lambda name: name * 40) | close.map(lambda name: stem(name))).filter(is_identifier)


@given(st.lists(ids, min_size=1, max_size=30, unique=True))
def test_names_are_unique_and_plain(found: list[str]) -> None:
    stems = [stem(each) for each in found]
    assert len({unicodedata.normalize("NFC", each).casefold() for each in stems}) == len(found)
    for each in stems:
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", each)
        assert not each.endswith(".")
        assert each.split(".")[0].upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT9"}
        assert len(each) < 150


@given(
    st.lists(st.tuples(ids, st.sampled_from([*EXTENSIONS, "text/html", ""])), unique_by=lambda each: each[0])
)
def test_file_names_are_unique_whatever_the_type(found: list[tuple[str, str]]) -> None:
    inferences = [whole(inference_id, media_type=media_type) for inference_id, media_type in found]
    told = [file_name(each) for each in inferences]
    assert len({each.lower() for each in told}) == len(found)
    for name, each in zip(told, inferences, strict=True):
        assert MEMBER_NAME.fullmatch(f"images/{name}")
        assert name.rpartition(".")[0] == stem(each.inference.inference_id)


def test_a_plain_id_is_its_own_name() -> None:
    assert stem("img_0001.v2") == "img_0001.v2"
    assert file_name(whole("cat", media_type="image/jpeg")) == "cat.jpg"
    assert file_name(whole("cat.jpg", media_type="image/jpeg")) == "cat.jpg.jpg"


@pytest.mark.parametrize("name", ["con", "nul.txt", "com1", "a.", ".", "..", "-rf", "CON", "a b", ".a", "A"])
def test_what_some_system_trips_over_gets_another_name(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9_][a-z0-9._-]*-[0-9a-f]{32}", stem(name))


@pytest.mark.parametrize("plain", ["a", "img_0001.v2"])
def test_nobody_can_take_the_name_of_another(plain: str) -> None:
    hashed = stem(plain.upper())
    assert hashed not in {plain, stem(plain)}
    # An id spelt like the hashed name of another gets a name of its own.
    assert stem(hashed) != hashed
