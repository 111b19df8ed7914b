"""Checks an archive byte for byte, in memory that does not grow with what is in it."""

import hashlib
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice, takewhile
from pathlib import Path
from typing import BinaryIO

from inference_store.client.errors import ArchiveError
from inference_store.client.manifest import ManifestReader
from inference_store.contract.archive import (
    COUNT_LIMIT,
    DIRECTORY,
    END,
    END_64,
    LIMIT,
    LOCATOR_64,
    MANIFEST,
    MEMBER_NAME,
    Manifest,
    ManifestMember,
    Member,
    directory_end,
    directory_record,
    local_header,
)

__all__ = ["ArchiveSummary", "check_archive", "verify_archive"]

PIECE_BYTES = 2**20
LONGEST_COMMENT = 0xFFFF


@dataclass(frozen=True, slots=True)
class ArchiveSummary:
    """A good archive: what it says of itself, its members with the manifest, and its size in bytes."""

    model_id: str
    task_type: str
    format: str
    inference_count: int
    member_count: int
    size: int


@dataclass(frozen=True, slots=True)
class _Directory:
    """How many records an archive's directory has, its size in bytes, and where it begins."""

    count: int
    size: int
    offset: int

    @property
    def end(self) -> int:
        return self.offset + self.size


def verify_archive(path: str | os.PathLike[str]) -> Manifest:
    """Check that every byte of an archive is as an export wrote it. Needs no store.

    Args:
        path: The archive.

    Returns:
        Its manifest. Its list of members is the only thing that takes memory by their number; see
        `check_archive`.

    Raises:
        ArchiveError: it is no archive, or bytes of it are missing, added or changed.
        OSError: it can't be read.
    """
    members: list[ManifestMember] = []
    manifest, _, _ = _check(Path(path), members.append)
    return manifest.model_copy(update={"members": members})


def check_archive(path: str | os.PathLike[str]) -> ArchiveSummary:
    """As `verify_archive`, without a list of the members.

    Args:
        path: The archive.

    Returns:
        What is in it.

    Raises:
        ArchiveError: it is no archive, or bytes of it are missing, added or changed.
        OSError: it can't be read.
    """
    manifest, count, size = _check(Path(path), lambda member: None)
    return ArchiveSummary(
        manifest.model_id, manifest.task_type, manifest.format, manifest.inference_count, count, size
    )


def _check(path: Path, each: Callable[[ManifestMember], None]) -> tuple[Manifest, int, int]:
    """The manifest without its members, how many members there are with it, and the size of all."""
    if path.exists() and not path.is_file():
        raise ArchiveError("it is not a file")
    with ExitStack() as opened:
        # The directory, the members and the manifest are read side by side.
        records, contents, listing = (
            opened.enter_context(open(path, "rb", buffering=PIECE_BYTES)) for _ in range(3)
        )
        size = contents.seek(0, os.SEEK_END)
        directory = _find_directory(contents, size)
        own = _check_directory(records, directory)
        _check_member(contents, own)
        listing.seek(own.offset + len(local_header(own)))
        manifest = ManifestReader(partial(_read_before, listing, directory.offset))
        listed = manifest.members()
        for member in islice(_members(records, directory), directory.count - 1):
            told = next(listed, None)
            _check_listed(member, told)
            digest = _check_member(contents, member)
            if told is None or told.sha256 != digest:
                raise ArchiveError(f"{member.name}: its content has not the SHA-256 that {MANIFEST} tells")
            each(told)
        if (more := next(listed, None)) is not None:
            raise ArchiveError(f"{MANIFEST} lists {more.name!r:.250}, which is not there")
        return manifest.without_members(), directory.count, size


# --- The directory ------------------------------------------------------------------------------------------
def _find_directory(file: BinaryIO, size: int) -> _Directory:
    """The directory, as the archive's last bytes tell."""
    longest = END_64.size + LOCATOR_64.size + END.size
    file.seek(max(0, size - longest))
    tail = file.read(longest)
    if tail[-END.size :][:4] != b"PK\x05\x06" or len(tail) < END.size:
        raise _no_end(file, size)
    count, length, offset = END.unpack(tail[-END.size :])[4:7]
    if count == COUNT_LIMIT or LIMIT in (length, offset):
        if len(tail) < longest:
            raise ArchiveError("it is too short to have so large a directory")
        count, length, offset = END_64.unpack(tail[: END_64.size])[7:10]
    directory = _Directory(count, length, offset)
    end = directory_end(count, length, offset)
    begins = size - len(end)
    _compare(tail[-len(end) :], end, begins, "the archive's end is not as it should be")
    if directory.end != begins:
        raise ArchiveError(
            f"byte {begins:,}: the directory ends here; by the archive's end it ends at {directory.end:,}"
        )
    return directory


def _no_end(file: BinaryIO, size: int) -> ArchiveError:
    file.seek(0)
    if file.read(4) not in (b"PK\x03\x04", b"PK\x05\x06"):
        return ArchiveError("it is no zip" if size else "it is empty")
    begins = max(0, size - END.size - LONGEST_COMMENT)
    file.seek(begins)
    found = file.read().rfind(b"PK\x05\x06")
    over = size - (begins + found + END.size)
    if found < 0 or over <= 0:
        return ArchiveError(
            f"byte {size:,}: it ends here, but not as an archive does: it is cut short or changed"
        )
    return ArchiveError(f"byte {size - over:,}: {over:,} bytes follow the archive's end")


def _check_directory(file: BinaryIO, directory: _Directory) -> Member:
    """Check what the directory alone can tell; the last member, which is the manifest."""
    names: set[str] = set()
    last = None
    for last in _members(file, directory):
        if last.name.lower() in names:
            raise ArchiveError(f"{last.name} is there twice, where case does not count")
        names.add(last.name.lower())
    if last is None or last.name != MANIFEST:
        raise ArchiveError(f"the last member is {last.name if last else 'none'}, not {MANIFEST}")
    return last


def _members(file: BinaryIO, directory: _Directory) -> Iterator[Member]:
    """The directory's members, which lie one after another from the archive's first byte to the directory."""
    file.seek(directory.offset)
    at, follows = directory.offset, 0
    for _ in range(directory.count):
        record = _read_record(file, at, directory.end)
        member = member_of(record)
        if not MEMBER_NAME.fullmatch(member.name):
            raise ArchiveError(f"byte {at:,}: {member.name!r:.250} is not a name that an export gives")
        what = f"the directory's record of {member.name} is not as it should be"
        _compare(record, directory_record(member), at, what)
        if member.offset != follows:
            raise ArchiveError(
                f"byte {at:,}: {member.name} begins at byte {member.offset:,} by the directory; "
                f"what is before it ends at {follows:,}"
            )
        at, follows = at + len(record), follows + len(local_header(member)) + member.size
        yield member
    if at != directory.end or follows != directory.offset:
        raise ArchiveError(
            f"the members end at byte {follows:,} and their directory at {at:,}; "
            f"they should end at {directory.offset:,} and {directory.end:,}"
        )


def _read_record(file: BinaryIO, at: int, end: int) -> bytes:
    fixed = file.read(DIRECTORY.size)
    if len(fixed) == DIRECTORY.size and fixed[:4] == b"PK\x01\x02":
        name, extra = DIRECTORY.unpack(fixed)[10:12]
        record = fixed + file.read(name + extra)
        if len(record) == DIRECTORY.size + name + extra and at + len(record) <= end:
            return record
    raise ArchiveError(f"byte {at:,}: no whole record of the directory stands here")


def member_of(record: bytes) -> Member:
    """The member that a record of a directory tells of, as far as it can be read."""
    fields = DIRECTORY.unpack_from(record)
    crc, size, name_length, offset = fields[7], fields[9], fields[10], fields[16]
    name = record[DIRECTORY.size :][:name_length]
    body = record[DIRECTORY.size + name_length + 4 :]
    large = [int.from_bytes(body[at : at + 8], "little") for at in range(0, len(body), 8)]
    if size == LIMIT and len(large) > 1:
        size, large = large[0], large[2:]
    if offset == LIMIT and large:
        offset = large[0]
    return Member(name.decode("ascii", "replace"), offset, size, crc)


# --- The members --------------------------------------------------------------------------------------------
def _check_listed(member: Member, told: ManifestMember | None) -> None:
    if told is None:
        raise ArchiveError(f"{member.name} is not listed in {MANIFEST}")
    if told.name != member.name:
        raise ArchiveError(f"{MANIFEST} lists {told.name!r:.250} where {member.name} stands")
    if told.size != member.size:
        raise ArchiveError(f"{member.name}: it has {member.size:,} bytes; {MANIFEST} tells {told.size:,}")


def _check_member(file: BinaryIO, member: Member) -> str:
    """Check a member's header and content against the directory; the content's SHA-256."""
    file.seek(member.offset)
    header = local_header(member)
    what = f"the header of {member.name} is not what the directory tells"
    _compare(file.read(len(header)), header, member.offset, what)
    begins = member.offset + len(header)
    digest, crc, end = hashlib.sha256(), 0, begins + member.size
    while piece := _read_before(file, end, PIECE_BYTES):
        digest.update(piece)
        crc = zlib.crc32(piece, crc)
    if crc != member.crc:
        raise ArchiveError(
            f"byte {begins:,}: the {member.size:,} bytes of {member.name} from here on do not have "
            "the CRC that the directory tells"
        )
    return digest.hexdigest()


def _read_before(file: BinaryIO, end: int, most: int) -> bytes:
    """The next bytes of a file, none from an end on."""
    return file.read(min(most, end - file.tell()))


def _compare(found: bytes, wanted: bytes, at: int, otherwise: str) -> None:
    if found != wanted:
        same = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(found, wanted, strict=False))))
        raise ArchiveError(f"byte {at + same:,}: {otherwise}")
