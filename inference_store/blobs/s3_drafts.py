"""Archives in the making, in a bucket: any worker on any machine can go on with one.

What a commit adds is an object of its own, and the commit ends with a list of all that counts, under a name
that only the row of the job tells. A worker that lost its claim may write on: no row ever names its list.
"""

import io
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID, uuid4

import orjson

from inference_store.blobs import s3
from inference_store.blobs.bucket import answering, bucket, missing_is
from inference_store.blobs.keys import PIECE_BYTES, DraftLostError

STAMP = "stamp"
"""Among the lengths of the streams: which list holds. Below 2⁵³, as it travels through JSON."""
SPOOLED_BYTES = 8 * 2**20
SMALLEST_PART_BYTES = 8 * 2**20
MOST_PARTS = 900  # some services take 1,000


class Draft:
    """As `local.Draft`; the rest of a stream beyond its last commit lies in a temporary file."""

    def __init__(self, name: str, lengths: dict[str, int]) -> None:
        self._bucket, self._path = bucket(), _path(name)
        self._segments: dict[str, list[tuple[str, int]]] = {}
        self._rests: dict[str, Any] = {}
        if lengths:
            told = self._list(lengths.get(STAMP, 0))
            self._segments = {stream: [(key, size) for key, size in parts] for stream, parts in told.items()}
            found = {stream: self._durable(stream) for stream in self._segments}
            if found != {stream: length for stream, length in lengths.items() if stream != STAMP}:
                raise DraftLostError

    def _list(self, stamp: int) -> dict[str, Any]:
        with answering(), missing_is(DraftLostError()):
            answer = self._bucket.client.get_object(**self._bucket.place(f"{self._path}list-{stamp}"))
            told: dict[str, Any] = orjson.loads(answer["Body"].read())
            return told

    def _durable(self, stream: str) -> int:
        return sum(size for _, size in self._segments.get(stream, ()))

    def append(self, stream: str, content: bytes) -> None:
        if stream not in self._rests:
            self._rests[stream] = tempfile.SpooledTemporaryFile(SPOOLED_BYTES)  # noqa: SIM115
        self._rests[stream].write(content)

    def size(self, stream: str) -> int:
        rest = self._rests.get(stream)
        return self._durable(stream) + (rest.tell() if rest else 0)

    def pieces(self, stream: str) -> Iterator[bytes]:
        """All that was appended to the stream."""
        for key, _ in self._segments.get(stream, ()):
            yield from self._segment(key)
        if rest := self._rests.get(stream):
            end, position = rest.tell(), 0
            while position < end:
                rest.seek(position)
                piece = rest.read(PIECE_BYTES)
                position += len(piece)
                rest.seek(end)
                yield piece

    def _segment(self, key: str) -> Iterator[bytes]:
        with answering(), missing_is(DraftLostError()):
            answer = self._bucket.client.get_object(**self._bucket.place(self._path + key))
            yield from answer["Body"].iter_chunks(PIECE_BYTES)

    def commit(self) -> dict[str, int]:
        """Make durable what was appended; how long each stream is now, and which list says so."""
        stamp = secrets.randbelow(2**52) + 1
        with answering():
            for stream, rest in self._rests.items():
                size = rest.tell()
                if size:
                    rest.seek(0)
                    key = uuid4().hex
                    self._bucket.client.put_object(
                        **self._bucket.place(self._path + key), Body=rest, ContentLength=size
                    )
                    self._segments.setdefault(stream, []).append((key, size))
            self._bucket.client.put_object(
                **self._bucket.place(f"{self._path}list-{stamp}"), Body=orjson.dumps(self._segments)
            )
        self.close()
        return {stream: self._durable(stream) for stream in self._segments} | {STAMP: stamp}

    def keep(self, stream: str, key: str) -> None:
        """Put a stream in the place of a key. The rest of the draft stays until it is discarded."""
        part = max(SMALLEST_PART_BYTES, self.size(stream) // MOST_PARTS + 1)
        file = io.BufferedReader(_Joined(self.pieces(stream)), PIECE_BYTES)
        s3.store(file, key, multipart_chunksize=part, multipart_threshold=part)

    def close(self) -> None:
        """Let go of it; another process may go on."""
        for rest in self._rests.values():
            rest.close()
        self._rests = {}


class _Joined(io.RawIOBase):
    """Pieces as a file that is read once, from its beginning to its end."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces, self._left = iter(pieces), b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            if (piece := next(self._pieces, None)) is None:
                return 0
            self._left = piece
        taken, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)


def _path(name: str) -> str:
    return f"drafts/{UUID(name)}/"


def discard(name: str) -> None:
    """Remove a draft; what is gone already is gone."""
    kept = bucket()
    with answering():
        for found in list(kept.listed(_path(name))):
            kept.client.delete_object(Bucket=kept.name, Key=found["Key"])


def names() -> list[str]:
    """The names of the drafts that are there."""
    kept = bucket()
    with answering():
        start = len(f"{kept.prefix}drafts/")
        return sorted({found["Key"][start:].split("/")[0] for found in kept.listed("drafts/")})
