"""Storage keys, and what the bytes behind one are."""

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from uuid import uuid4

from PIL import Image

from inference_store.contract.errors import Refusal

KEY = re.compile(r"[0-9]{1,10}/[0-9a-f]{32}", re.ASCII)
IMAGE_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
PIECE_BYTES = 2**20


class UnavailableError(Exception):
    """The blob store does not answer, or says that it is busy: it may later."""


class DraftLostError(Exception):
    """What was durable of a draft is there no more: it must be made anew."""


class DraftBusyError(Exception):
    """Another process writes at this draft."""


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


def archive_name(key: str) -> str:
    """What an archive is called once it is saved."""
    return f"export-{key[-8:]}.zip"


def checked(key: str) -> str:
    """The key; only keys of our own making have a place."""
    if not KEY.fullmatch(key):
        raise Refusal.not_found("There is no such blob.")
    return key


def describe(source: Path | IO[bytes], size: int) -> Description:
    """By the header alone; nothing is decoded."""
    with suppress(Exception), Image.open(source, formats=IMAGE_FORMATS) as image:
        return Description(size, Image.MIME[image.format or ""], *image.size)
    return Description(size)


def too_large(limit_bytes: int) -> Refusal:
    return Refusal(413, "too_large", f"The body is larger than {limit_bytes:,} bytes.")
