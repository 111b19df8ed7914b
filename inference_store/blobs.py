"""Where blobs live: the only module that knows. Signed URLs to write one once and to read it."""

import hashlib
import hmac
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from django.conf import settings
from django.urls import reverse
from django.utils.crypto import salted_hmac
from PIL import Image

from inference_store.contract.errors import Refusal

KEY = re.compile(r"[0-9]{1,10}/[0-9a-f]{32}", re.ASCII)
URL = re.compile(r"expires=([0-9]{1,12})&signature=([0-9a-f]{64})", re.ASCII)
IMAGE_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")


@dataclass(frozen=True, slots=True)
class Description:
    """What the bytes are: size, and for a picture its media type and dimensions in pixels."""

    size: int
    media_type: str = "application/octet-stream"
    width: int | None = None
    height: int | None = None


def new_key(model_pk: int) -> str:
    """A storage key of that model that nobody can guess."""
    return f"{model_pk}/{uuid4().hex}"


def _path(key: str) -> Path:
    """Where a key's bytes lie; only keys of our own making have a place."""
    if not KEY.fullmatch(key):
        raise Refusal.not_found("There is no such blob.")
    model, name = key.split("/")
    return Path(settings.BLOB_ROOT) / model / name[:2] / name


# --- Bytes --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes that arrived whole and durably, under no key yet."""

    path: Path
    description: Description

    def keep(self, key: str) -> None:
        """Put them in their place, in one step."""
        path = _path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path.replace(path)


@contextmanager
def receive(chunks: Iterable[bytes], limit_bytes: int) -> Iterator[Received]:
    """Take bytes in; Refusal 413 beyond the limit. What is not kept is removed."""
    incoming = Path(settings.BLOB_ROOT) / "incoming"
    incoming.mkdir(parents=True, exist_ok=True)
    path = incoming / uuid4().hex
    try:
        with path.open("xb") as file:
            size = 0
            for chunk in chunks:
                size += len(chunk)
                if size > limit_bytes:
                    raise Refusal(413, "too_large", f"The body is larger than {limit_bytes:,} bytes.")
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        yield Received(path, _describe(path, size))
    finally:
        path.unlink(missing_ok=True)


def _describe(path: Path, size: int) -> Description:
    """By the header alone; nothing is decoded."""
    with suppress(Exception), Image.open(path, formats=IMAGE_FORMATS) as image:
        return Description(size, Image.MIME[image.format or ""], *image.size)
    return Description(size)


def open_blob(key: str) -> BufferedReader:
    """The bytes, to be closed by the caller; Refusal 404 where there are none."""
    try:
        return _path(key).open("rb")
    except FileNotFoundError:
        raise Refusal.not_found("The bytes of this blob are gone.") from None


def remove(key: str) -> None:
    """Remove the bytes; what is gone already is gone."""
    _path(key).unlink(missing_ok=True)


# --- Signed URLs --------------------------------------------------------------------------------------------


def _signature(method: str, key: str, expires: str) -> str:
    message = f"{method}\n{key}\n{expires}"
    return salted_hmac("inference_store.blobs", message, algorithm="sha256").hexdigest()


def _url(method: str, key: str, expires: str) -> str:
    path = reverse("api:blob", args=[key])
    return f"{path}?expires={expires}&signature={_signature(method, key, expires)}"


def presigned_url(key: str, method: str, seconds: int | None = None) -> str:
    """A path with query, good for that key and method and so many seconds."""
    lifetime = settings.BLOB_URL_SECONDS if seconds is None else seconds
    return _url(method, key, str(int(time.time()) + lifetime))


def verify(method: str, full_path: str, key: str) -> None:
    """Refusal 403 unless this very URL, byte for byte, was signed for the method and is in time."""
    refused = Refusal(
        403, "bad_signature", "This URL was changed, is past its time, or is for another method."
    )
    signed = URL.fullmatch(urlsplit(full_path).query)
    if not signed or not KEY.fullmatch(key):
        raise refused
    expires = signed.group(1)
    if not hmac.compare_digest(_url(method, key, expires).encode(), full_path.encode()):
        raise refused
    if int(expires) < time.time():
        raise Refusal(403, "expired", "This URL is past its time; ask for a new one.")


def sha256(key: str) -> str:
    """The SHA-256 of the stored bytes."""
    with open_blob(key) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
