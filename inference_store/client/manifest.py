"""Reads an archive's manifest piece by piece, however many members it lists."""

import codecs
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from pydantic import ValidationError

from inference_store.client.errors import ArchiveError
from inference_store.contract.archive import MANIFEST, MANIFEST_VERSION, Manifest, ManifestMember

PIECE_BYTES = 2**16
LARGEST_VALUE = 2**25
"""Characters of one JSON value; only what is no manifest of ours has a larger one."""
Read = TypeVar("Read")
BLANK = re.compile(r"[ \t\r\n]*")

_decode = json.JSONDecoder().raw_decode


class ManifestReader:
    """A manifest that is read as its members are asked for.

    `read` gives at most so many bytes, none at the end.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._json = _Json(read)
        self._rest: dict[str, Any] = {}

    def members(self) -> Iterator[ManifestMember]:
        """The members that it lists, one after another.

        Raises:
            ArchiveError: it is no manifest.
        """
        self._json.mark("{")
        while True:
            key = self._json.value()
            if not isinstance(key, str) or key in self._rest:
                raise invalid(f"{key!r:.80} is not a key, or one for the second time")
            self._json.mark(":")
            if key == "members":
                yield from self._listed()
            self._rest[key] = [] if key == "members" else self._json.value()
            if self._json.mark(",}") == "}":
                break
        if self._json.peek():
            raise invalid("it goes on after its end")

    def without_members(self) -> Manifest:
        """All of it but the members, which must have been read.

        Raises:
            ArchiveError: it is no manifest, or one of another version.
        """
        version = self._rest.get("version")
        if version != MANIFEST_VERSION:
            raise invalid(f"its version is {version!r:.80}; this client reads {MANIFEST_VERSION}")
        return _read_as(Manifest.model_validate, self._rest)

    def _listed(self) -> Iterator[ManifestMember]:
        self._json.mark("[")
        if self._json.peek() == "]":
            self._json.mark("]")
            return
        while True:
            yield _read_as(_strict_member, self._json.value())
            if self._json.mark(",]") == "]":
                return


class _Json:
    """JSON text, of which little is in memory at any time."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text, self._at = "", 0

    def peek(self) -> str:
        """The next character that is not blank; an empty string at the end."""
        while True:
            blank = BLANK.match(self._text, self._at)
            self._at = blank.end() if blank else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def mark(self, allowed: str) -> str:
        """Pass over the next character, which must be one of those."""
        found = self.peek()
        if not found or found not in allowed:
            raise invalid(f"{found!r} stands where one of {allowed} should" if found else "it ends too early")
        self._at += 1
        return found

    def value(self) -> Any:
        """The next whole value."""
        self.peek()
        while True:
            try:
                value, end = _decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if not self._more():
                    raise invalid(f"it is no JSON: {error}") from None
            else:
                # A number may go on in the next piece.
                if end < len(self._text) or not self._more():
                    self._at = end
                    return value

    def _more(self) -> bool:
        """Read on, twice as much each time for one value; False at the end."""
        left = len(self._text) - self._at
        if left > LARGEST_VALUE:
            raise invalid(f"a value in it is larger than {LARGEST_VALUE:,} characters, or no JSON")
        content = self._read(max(PIECE_BYTES, left))
        if not content:
            return False
        try:
            self._text = self._text[self._at :] + self._decoder.decode(content)
        except UnicodeDecodeError:
            raise invalid("it is not UTF-8") from None
        self._at = 0
        return True


def invalid(reason: str) -> ArchiveError:
    return ArchiveError(f"{MANIFEST}: {reason}")


def _strict_member(value: Any) -> ManifestMember:
    return ManifestMember.model_validate(value, strict=True)


def _read_as(model: Callable[[Any], Read], value: Any) -> Read:
    try:
        return model(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise invalid(f"{where or 'a member'}: {first['msg']}") from None
