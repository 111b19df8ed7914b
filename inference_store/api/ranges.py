"""A part of a blob, so that a download that broke off goes on where it was (RFC 9110, section 14)."""

import io
import re
from dataclasses import dataclass
from typing import IO

RANGE = re.compile(r"bytes[ \t]*=[ \t]*([0-9]{0,18})-([0-9]{0,18})", re.ASCII | re.IGNORECASE)
"""One range. Several are read as none, which is allowed, and leaves nothing to be multiplied by."""


class UnsatisfiableError(Exception):
    """No byte of what is there was asked for."""


@dataclass(frozen=True, slots=True)
class Part:
    """So many bytes from a first one on."""

    first: int
    length: int

    def content_range(self, size: int) -> str:
        return f"bytes {self.first}-{self.first + self.length - 1}/{size}"


def part_of(header: str, size: int) -> Part | None:
    """Which part of `size` bytes the header Range asks for; None where it is all, or the header no range.

    UnsatisfiableError where it begins beyond the end.
    """
    asked = RANGE.fullmatch(header.strip())
    if not asked or asked.groups() == ("", ""):
        return None
    first, last = (int(each) if each else None for each in asked.groups())
    if first is None:  # the last so many
        length = min(last or 0, size)
        first = size - length
    elif last is None or first <= last:
        length = min(size, (size if last is None else last + 1)) - first
    else:
        return None
    if length <= 0:
        raise UnsatisfiableError
    return Part(first, length)


class PartReader(io.RawIOBase):
    """That part of a file; closes the file with itself."""

    def __init__(self, file: IO[bytes], part: Part) -> None:
        self._file, self._left = file, part.length
        file.seek(part.first)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(content)
        return content

    def close(self) -> None:
        self._file.close()
        super().close()
