"""Archives as an export writes them, and as it never would."""

import hashlib
import json
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from inference_store.contract.archive import (
    MANIFEST,
    Member,
    directory_end,
    directory_record,
    local_header,
)

HEAD = {
    "version": 1,
    "format": "archive",
    "model_id": "harbour",
    "task_type": "Object Detection",
    "request": {"filters": {"data_source_filter": "kamera é"}},
    "inference_count": 2,
    "counts": {"inputs": 2},
}
Content = bytes | Iterable[bytes]


def plainly(head: dict[str, Any], members: list[dict[str, Any]]) -> bytes:
    lines = ",\n".join(json.dumps(each) for each in members)
    opening = json.dumps(head, ensure_ascii=False).removesuffix("}")
    return f'{opening},"members":[\n{lines}\n]}}\n'.encode()


@dataclass
class Building:
    """An archive being written; its parts can be changed before the rest is built on them."""

    file: BinaryIO
    members: list[Member] = field(default_factory=list)
    listed: list[dict[str, Any]] = field(default_factory=list)
    head: dict[str, Any] = field(default_factory=lambda: dict(HEAD))
    header: Callable[[Member], bytes] = local_header
    record: Callable[[Member], bytes] = directory_record

    def add(self, name: str, content: bytes) -> None:
        member = Member(name, self.file.tell(), len(content), zlib.crc32(content))
        self.file.write(self.header(member) + content)
        self.members.append(member)
        digest = hashlib.sha256(content).hexdigest()
        self.listed.append({"name": name, "size": len(content), "sha256": digest})

    def finish(self, manifest: Callable[..., bytes] = plainly) -> None:
        """Write the manifest, the directory and the end."""
        listed = list(self.listed)
        self.add(MANIFEST, manifest(self.head, listed))
        self.close()

    def close(self) -> None:
        """Write the directory and the end."""
        offset = self.file.tell()
        size = sum(self.file.write(self.record(member)) for member in self.members)
        self.file.write(directory_end(len(self.members), size, offset))


MEMBERS = {
    "data/quay-1.png": b"\x89PNG one",
    "data/quay-2.png": b"\x89PNG two!",
    "data/empty.bin": b"",
    "inferences.jsonl": b'{"inference_id": "quay-1"}\n{"inference_id": "quay-2"}\n',
}


def write(file: BinaryIO, members: dict[str, bytes] | None = None, **changed: Any) -> Building:
    building = Building(file, **changed)
    for name, content in (MEMBERS if members is None else members).items():
        building.add(name, content)
    return building
