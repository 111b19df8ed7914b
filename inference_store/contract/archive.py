"""How an archive is laid out, for those who write it and those who check it.

A zip (APPNOTE.TXT 6.3.10) of stored members one after another, then `manifest.json`, then the directory,
and no byte that does not follow from the members: the same set gives the same bytes, and one changed byte
anywhere can be found.
"""

import re
import struct
from dataclasses import dataclass

from pydantic import Field

from inference_store.contract.base import ResponseModel
from inference_store.contract.jobs import NewExportTaskRequest

MANIFEST = "manifest.json"
MANIFEST_VERSION = 1
NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}"
MEMBER_NAME = re.compile(f"{NAME}(/{NAME}){{0,3}}", re.ASCII)

# Sizes and offsets from here on stand in a zip64 field.
LIMIT = 0xFFFFFFFF
COUNT_LIMIT = 0xFFFF
VERSION, VERSION_64 = 20, 45
MADE_ON_UNIX = 3 << 8
REGULAR_FILE = 0o100644 << 16
DOS_TIME, DOS_DATE = 0, (1 << 5) | 1  # 1980-01-01: the archive says nothing about when it was made

LOCAL = struct.Struct("<4sHHHHHLLLHH")
DIRECTORY = struct.Struct("<4sHHHHHHLLLHHHHHLL")
END = struct.Struct("<4sHHHHLLH")
END_64 = struct.Struct("<4sQHHLLQQQQ")
LOCATOR_64 = struct.Struct("<4sLQL")


class ManifestMember(ResponseModel):
    """A member of an archive: its name, size in bytes, and the SHA-256 of its content."""

    name: str
    size: int
    sha256: str


class Manifest(ResponseModel):
    """What an archive holds: the last member, which lists all others in their order."""

    version: int
    format: str
    model_id: str
    task_type: str
    request: NewExportTaskRequest
    inference_count: int
    counts: dict[str, int] = Field(default_factory=dict)
    members: list[ManifestMember]


@dataclass(frozen=True, slots=True)
class Member:
    """A stored member: where its local header begins, its content's size in bytes and CRC-32."""

    name: str
    offset: int
    size: int
    crc: int


def local_header(member: Member) -> bytes:
    """What stands before the content of a member."""
    name, large = member.name.encode("ascii"), member.size >= LIMIT
    extra = struct.pack("<HHQQ", 1, 16, member.size, member.size) if large else b""
    size, version = (LIMIT, VERSION_64) if large else (member.size, VERSION)
    sizes = (member.crc, size, size, len(name), len(extra))
    return LOCAL.pack(b"PK\x03\x04", version, 0, 0, DOS_TIME, DOS_DATE, *sizes) + name + extra


def directory_record(member: Member) -> bytes:
    """What the directory says of a member."""
    name = member.name.encode("ascii")
    large = [each for each in (member.size, member.size, member.offset) if each >= LIMIT]
    extra = struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large) if large else b""
    version = VERSION_64 if large else VERSION
    size, offset = min(member.size, LIMIT), min(member.offset, LIMIT)
    return (
        DIRECTORY.pack(
            *(b"PK\x01\x02", MADE_ON_UNIX | version, version, 0, 0, DOS_TIME, DOS_DATE),
            *(member.crc, size, size, len(name), len(extra), 0, 0, 0, REGULAR_FILE, offset),
        )
        + name
        + extra
    )


def directory_end(count: int, size: int, offset: int) -> bytes:
    """What stands after a directory of so many members, of that size, at that offset."""
    end = b""
    if count >= COUNT_LIMIT or size >= LIMIT or offset >= LIMIT:
        end = END_64.pack(
            *(b"PK\x06\x06", END_64.size - 12, MADE_ON_UNIX | VERSION_64, VERSION_64, 0, 0),
            *(count, count, size, offset),
        ) + LOCATOR_64.pack(b"PK\x06\x07", 0, offset + size, 1)
    told = min(count, COUNT_LIMIT)
    return end + END.pack(b"PK\x05\x06", 0, 0, told, told, min(size, LIMIT), min(offset, LIMIT), 0)
