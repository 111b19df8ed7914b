"""Where blobs live: the only package that knows. In a directory, or in a bucket that BLOB_STORE names.

Both promise the same: a key's bytes are written once and whole, are described by their own header, and a
draft of an archive goes on where its last commit left it. URLs to write and read bytes are signed: our own
lead through the store, a bucket's lead past it.
"""

import hashlib
from collections.abc import Iterable
from contextlib import AbstractContextManager
from io import BufferedReader

from django.conf import settings

from inference_store.blobs import local, s3, s3_drafts, signing
from inference_store.blobs.keys import (
    PIECE_BYTES,
    Description,
    DraftBusyError,
    DraftLostError,
    UnavailableError,
    archive_name,
    new_key,
)
from inference_store.blobs.local import Draft, Received
from inference_store.blobs.signing import verify

__all__ = [
    "PIECE_BYTES",
    "REFUSED_BY_DISK",
    "AnyDraft",
    "Description",
    "Draft",
    "DraftBusyError",
    "DraftLostError",
    "Received",
    "UnavailableError",
    "archive_name",
    "collect",
    "discard_draft",
    "drafts",
    "internal_location",
    "is_direct",
    "new_key",
    "open_blob",
    "open_draft",
    "presigned_url",
    "probe",
    "receive",
    "remove",
    "remove_stale_incoming",
    "sha256",
    "size",
    "verify",
]

REFUSED_BY_DISK = local.DISK
"""Numbers of errors by which a disk refuses, though it is not full."""
AnyDraft = local.Draft | s3_drafts.Draft


def is_direct() -> bool:
    """Whether clients send bytes past us, so that an upload has to be collected when its key is named."""
    return bool(settings.BLOB_STORE)


def receive(
    chunks: Iterable[bytes], limit_bytes: int
) -> AbstractContextManager[local.Received | s3.Received]:
    """Take bytes in; Refusal 413 beyond the limit. What is not kept is removed."""
    return s3.receive(chunks, limit_bytes) if is_direct() else local.receive(chunks, limit_bytes)


def collect(key: str, limit_bytes: int) -> Description | None:
    """Put what was sent to a bucket for this key in its place; None where nothing was, 413 beyond the limit.

    Once it is collected, whatever is sent to the old URL changes nothing. The caller sees to it that a key
    is collected by one at a time.
    """
    return s3.collect(key, limit_bytes) if is_direct() else None


def probe() -> None:
    """Raise what keeps bytes from being written just now."""
    if is_direct():
        s3.probe()
    else:
        with local.receive([b"."], 1):  # written and gone again
            pass


def open_blob(key: str) -> BufferedReader:
    """The bytes, to be closed by the caller; Refusal 404 where there are none."""
    return s3.open_blob(key) if is_direct() else local.open_blob(key)


def internal_location(key: str) -> str | None:
    """Where a proxy in front finds the bytes to send by itself; None where they are ours to send."""
    return None if is_direct() else local.internal_location(key)


def size(key: str) -> int | None:
    """The size of the bytes, None where there are none."""
    return s3.size(key) if is_direct() else local.size(key)


def sha256(key: str) -> str:
    """The SHA-256 of the stored bytes."""
    with open_blob(key) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove(key: str) -> None:
    """Remove the bytes; what is gone already is gone."""
    if is_direct():
        s3.remove(key)
    else:
        local.remove(key)


def open_draft(name: str, lengths: dict[str, int]) -> AnyDraft:
    """The draft of that name as `commit` told it; DraftLostError, DraftBusyError."""
    return s3_drafts.Draft(name, lengths) if is_direct() else local.Draft(name, lengths)


def discard_draft(name: str) -> None:
    """Remove a draft; what is gone already is gone."""
    if is_direct():
        s3_drafts.discard(name)
    else:
        local.discard_draft(name)


def drafts() -> list[str]:
    """The names of the drafts that are there."""
    return s3_drafts.names() if is_direct() else local.drafts()


def remove_stale_incoming(older_than_seconds: float) -> int:
    """Remove what uploads that broke off long ago left behind; how many went."""
    if is_direct():
        return s3.remove_stale_incoming(older_than_seconds)
    return local.remove_stale_incoming(older_than_seconds)


def presigned_url(key: str, method: str, seconds: int | None = None, name: str = "") -> str:
    """A URL good for that key and method and so many seconds: a path of ours, or a bucket's whole address.

    A bucket gives the file that name.
    """
    if is_direct():
        return s3.presigned_url(key, method, settings.BLOB_URL_SECONDS if seconds is None else seconds, name)
    return signing.presigned_url(key, method, seconds)
