"""Blobs in a bucket. Clients send to a place for arrivals; what an inference names moves to its own, once."""

import io
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import IO, Any
from uuid import uuid4

from inference_store.blobs.bucket import Bucket, answering, bucket, missing_is, translated
from inference_store.blobs.keys import Description, UnavailableError, checked, describe, too_large
from inference_store.contract.errors import Refusal

INCOMING = "incoming/"
HEADER_BYTES = 64 * 2**10
"""So much of an upload is read to tell what picture it is."""
BUFFER_BYTES = 256 * 2**10
SPOOLED_BYTES = 4 * 2**20
RESUMES = 3
OCTETS = "application/octet-stream"
LONGEST_URL_SECONDS = 7 * 24 * 3600  # of signature version 4


class Absent(Exception):  # noqa: N818  (not an error)
    """There is nothing under the key."""


# --- Writing ------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Received:
    """Bytes that arrived whole, under no key yet."""

    file: IO[bytes]
    description: Description

    def keep(self, key: str) -> None:
        """Put them in their place, in one step."""
        self.file.seek(0)
        store(self.file, key)


def store(file: Any, key: str, **how: Any) -> None:
    """Put the whole file under the key, in parts where it is large; nothing is there until all is."""
    from boto3.s3.transfer import TransferConfig

    kept = bucket()
    place = kept.place(checked(key))
    with answering():
        kept.patient.upload_fileobj(
            file,
            place["Bucket"],
            place["Key"],
            ExtraArgs={"ContentType": OCTETS},
            Config=TransferConfig(use_threads=False, **how),
        )


@contextmanager
def receive(chunks: Iterable[bytes], limit_bytes: int) -> Iterator[Received]:
    """Take bytes in; Refusal 413 beyond the limit. What is not kept is removed."""
    with tempfile.SpooledTemporaryFile(SPOOLED_BYTES) as file:
        size = 0
        for chunk in chunks:
            size += len(chunk)
            if size > limit_bytes:
                raise too_large(limit_bytes)
            file.write(chunk)
        file.seek(0)
        yield Received(file, describe(file, size))


def collect(key: str, limit_bytes: int) -> Description | None:
    """Move an arrival to its place: the very bytes that were described. None where nothing arrived.

    What is in its place already is described again: whoever moved it was killed before that was written down.
    """
    kept = bucket()
    source = kept.place(INCOMING + checked(key))
    try:
        with answering(), missing_is(Absent()):
            size, etag, head = _looked_at(kept.client, source)
            if size > limit_bytes:
                kept.client.delete_object(**source)
                raise too_large(limit_bytes)
            kept.patient.copy_object(
                **kept.place(key),
                CopySource=source,
                CopySourceIfMatch=etag,
                MetadataDirective="REPLACE",
                ContentType=OCTETS,
            )
            kept.client.delete_object(**source)
    except Absent:
        return _moved(kept, key)
    return describe(io.BytesIO(head), size)


def _moved(kept: Bucket, key: str) -> Description | None:
    try:
        with answering(), missing_is(Absent()):
            size, _, head = _looked_at(kept.client, kept.place(key))
    except Absent:
        return None
    return describe(io.BytesIO(head), size)


def _looked_at(client: Any, source: dict[str, str]) -> tuple[int, str, bytes]:
    """Size, tag and beginning of one version of an arrival."""
    answer = client.get_object(**source)
    with answer["Body"] as body:
        return int(answer["ContentLength"]), answer["ETag"], body.read(HEADER_BYTES)


def remove(key: str) -> None:
    """Remove the bytes, and what may still wait to be collected; what is gone already is gone."""
    kept = bucket()
    with answering():
        for path in (checked(key), INCOMING + key):
            kept.client.delete_object(**kept.place(path))


def remove_stale_incoming(older_than_seconds: float) -> int:
    """Remove arrivals that nobody named, and parts of uploads that broke off; how many went."""
    kept = bucket()
    removed = 0
    with answering():
        before = kept.now() - timedelta(seconds=older_than_seconds)
        for found in kept.listed(INCOMING):
            if found["LastModified"] < before:
                kept.client.delete_object(Bucket=kept.name, Key=found["Key"])
                removed += 1
        broken = kept.client.list_multipart_uploads(Bucket=kept.name, Prefix=kept.prefix)
        for upload in broken.get("Uploads", ()):
            if upload["Initiated"] < before:
                kept.client.abort_multipart_upload(
                    Bucket=kept.name, Key=upload["Key"], UploadId=upload["UploadId"]
                )
    return removed


def probe() -> None:
    """Write something and remove it."""
    kept = bucket()
    place = kept.place(f"{INCOMING}probe-{uuid4().hex}")
    with answering():
        kept.client.put_object(**place, Body=b".")
        kept.client.delete_object(**place)


# --- Reading ------------------------------------------------------------------------------------------------
class _Remote(io.RawIOBase):
    """An object read from the service as it is asked for; a connection that breaks is made anew."""

    def __init__(self, key: str) -> None:
        self._bucket = bucket()
        self._place = self._bucket.place(checked(key))
        self._position = 0
        self._body: Any = None
        gone = Refusal.not_found("The bytes of this blob are gone.")
        with answering(), missing_is(gone):
            answer = self._bucket.client.get_object(**self._place)
        self._size, self._body = int(answer["ContentLength"]), answer["Body"]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if (position := max(0, base + offset)) != self._position:
            self._drop()
            self._position = position
        return position

    def readinto(self, buffer: Any) -> int:
        if self._position >= self._size:
            return 0
        for attempt in range(RESUMES):
            try:
                content: bytes = self._stream().read(len(buffer))
            except Exception as error:
                self._drop()
                if isinstance(error, Refusal | UnavailableError):
                    raise
                if attempt == RESUMES - 1:
                    raise UnavailableError(f"The blob store broke off: {error}") from error
                continue
            if content:
                buffer[: len(content)] = content
                self._position += len(content)
                return len(content)
            self._drop()  # it ended before its time
        raise UnavailableError("The blob store broke off.")

    def _stream(self) -> Any:
        if self._body is None:
            gone = Refusal.not_found("The bytes of this blob are gone.")
            with answering(), missing_is(gone):
                answer = self._bucket.client.get_object(**self._place, Range=f"bytes={self._position}-")
            self._body = answer["Body"]
        return self._body

    def _drop(self) -> None:
        if self._body is not None:
            with suppress(Exception):
                self._body.close()
            self._body = None

    def close(self) -> None:
        self._drop()
        super().close()


def open_blob(key: str) -> io.BufferedReader:
    """The bytes, to be closed by the caller; Refusal 404 where there are none."""
    return io.BufferedReader(_Remote(key), BUFFER_BYTES)


def size(key: str) -> int | None:
    """The size of the bytes, None where there are none."""
    kept = bucket()
    try:
        with answering(), missing_is(Absent()):
            return int(kept.client.head_object(**kept.place(checked(key)))["ContentLength"])
    except Absent:
        return None


# --- Signed URLs --------------------------------------------------------------------------------------------
def presigned_url(key: str, method: str, seconds: int, name: str = "") -> str:
    """The bucket's own: to send an arrival, or to save what is kept. Never shown as a page by a browser."""
    kept = bucket()
    if method == "PUT":
        call, told = "put_object", kept.place(INCOMING + checked(key))
    else:
        call = "get_object"
        told = kept.place(checked(key)) | {
            "ResponseContentDisposition": f'attachment; filename="{name or key[-8:]}"',
            "ResponseContentType": OCTETS,
        }
    lifetime = max(1, min(seconds, LONGEST_URL_SECONDS))
    with translated():  # it may have to ask for credentials; of the service itself nothing is asked
        return str(kept.public.generate_presigned_url(call, Params=told, ExpiresIn=lifetime))
