"""Small pictures of inputs, made from bytes that nobody vouches for.

Everything is re-encoded: what leaves here is a PNG or WebP of our own making, never what was uploaded.
"""

import io
import math
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO, cast

from PIL import Image, ImageDraw

from inference_store.blobs import UnavailableError

SIZES = (320, 1600)
LARGE = "large"
"""The size of what is looked at closely: as it is, within these bounds."""
LARGE_PIXELS_SHOWN = 8_000_000
LARGE_SIDE_SHOWN = 16_000
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
MOST_PIXELS = 64_000_000
MOST_PROGRESSIVE_PIXELS = 24_000_000
"""A progressive JPEG keeps all its coefficients in memory, whatever the size it is drawn at."""
MOST_BYTES = 64 * 2**20
LARGE_PIXELS = 8_000_000
CROP_SIZE = 160
MOST_CROPPED_PIXELS = 12_000_000
"""A part of a picture takes decoding all of it; of a JPEG, at the scale that the part needs."""
CROP_MARGIN = 0.12
CRISP_SIDE = 160
"""Pictures this small (digits, sprites) are kept without loss."""
_large = threading.BoundedSemaphore(1)
"""One large picture at a time in a process: its memory stays that of one."""


@dataclass(frozen=True)
class Picture:
    content: bytes
    media_type: str
    is_placeholder: bool = False


def _open(source: BinaryIO) -> Image.Image:
    """The picture with only its header read; ValueError where it is too much to decode."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(source, formats=FORMATS)
    pixels = image.width * image.height
    most = MOST_PROGRESSIVE_PIXELS if image.info.get("progressive") else MOST_PIXELS
    if not 0 < pixels <= most:
        raise ValueError(f"{pixels} pixels")
    return image


def _shown(image: Image.Image) -> Image.Image:
    """The picture in a mode that every browser shows as it was meant."""
    if image.mode.startswith(("I", "F")):  # more than 8 bits a pixel: stretched over what there is
        wide = image.convert("F")
        low, high = cast(tuple[float, float], wide.getextrema())  # one band
        span = high - low
        scale = 255 / span if 0 < span < float("inf") else 0.0
        return wide.point(lambda value: value * scale - low * scale).convert("L")
    if image.mode in ("P", "PA", "LA", "La", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    return image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB")


def _made(image: Image.Image, box: tuple[int, int]) -> Picture:
    image.draft(None, box)  # a JPEG is decoded at an eighth where that suffices
    shown = _shown(image)
    shown.thumbnail(box, Image.Resampling.LANCZOS, reducing_gap=2.0)
    buffer = io.BytesIO()
    if max(shown.size) <= CRISP_SIDE:
        shown.save(buffer, "PNG")
        return Picture(buffer.getvalue(), "image/png")
    shown.save(buffer, "WEBP", quality=82, method=2 if max(box) <= max(SIZES) else 0)
    return Picture(buffer.getvalue(), "image/webp")


def small_picture(source: BinaryIO, size: int, byte_count: int | None = None) -> Picture:
    """The picture at most `size` pixels wide and high; a placeholder for what can't be shown."""
    return _picture(source, lambda image: (size, size), byte_count)


def large_picture(source: BinaryIO, byte_count: int | None = None) -> Picture:
    """The picture as it is, or as large as is bounded for one that is looked at closely."""
    return _picture(source, lambda image: large_box(*image.size), byte_count)


def large_box(width: int, height: int) -> tuple[int, int]:
    """How large a picture is shown when looked at closely."""
    scale = min(1.0, math.sqrt(LARGE_PIXELS_SHOWN / (width * height)), LARGE_SIDE_SHOWN / max(width, height))
    return max(1, int(width * scale)), max(1, int(height * scale))


def _picture(
    source: BinaryIO, box_of: Callable[[Image.Image], tuple[int, int]], byte_count: int | None
) -> Picture:
    if (byte_count or 0) > MOST_BYTES:
        return placeholder()

    def make() -> Picture:
        with _open(source) as image:
            if image.width * image.height <= LARGE_PIXELS:
                return _made(image, box_of(image))
            with _large:
                return _made(image, box_of(image))

    return _or_placeholder(make)


def _or_placeholder(make: Callable[[], Picture]) -> Picture:
    """The picture; a placeholder where the bytes are none. UnavailableError where it is not their fault:
    the same bytes may be shown later, and a placeholder is kept for ever."""
    try:
        return make()
    except UnavailableError:
        raise
    except MemoryError as error:
        raise UnavailableError("There is no memory for this picture just now.") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # Pillow's own have no number
            raise UnavailableError(f"The bytes can't be read just now: {error}") from error
        return placeholder()


Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels."""


def crop_picture(source: BinaryIO, box: Box, byte_count: int | None = None) -> Picture:
    """That part of the picture with a little around it; a placeholder for what can't be shown."""
    if (byte_count or 0) > MOST_BYTES:
        return placeholder()

    def make() -> Picture:
        with _open(source) as image:
            part = _part(box, image.width, image.height)
            full = image.width
            side = max(part[2] - part[0], part[3] - part[1])
            scale = CROP_SIZE / side
            image.draft(None, (round(image.width * scale), round(image.height * scale)))
            if image.width * image.height > MOST_CROPPED_PIXELS:
                return placeholder()
            if image.width * image.height <= LARGE_PIXELS:
                return _crop(image, part, full)
            with _large:
                return _crop(image, part, full)

    return _or_placeholder(make)


def _part(box: Box, width: int, height: int) -> Box:
    """The box within the picture and with its margin, at least a few pixels wide and high."""
    left, right = sorted(max(0.0, min(float(width), each)) for each in (box[0], box[2]))
    top, bottom = sorted(max(0.0, min(float(height), each)) for each in (box[1], box[3]))
    margin = max(2.0, CROP_MARGIN * max(right - left, bottom - top))
    return (
        max(0.0, left - margin),
        max(0.0, top - margin),
        min(float(width), right + margin),
        min(float(height), bottom + margin),
    )


def _crop(image: Image.Image, part: Box, full: int) -> Picture:
    drawn = image.width / full  # below 1 where a JPEG is decoded smaller
    left, top, right, bottom = (each * drawn for each in part)
    shown = _shown(
        image.crop((int(left), int(top), max(int(left) + 1, round(right)), max(int(top) + 1, round(bottom))))
    )
    shown.thumbnail((CROP_SIZE, CROP_SIZE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    shown.save(buffer, "PNG" if max(shown.size) <= CRISP_SIDE // 4 else "WEBP", quality=84, method=2)
    return Picture(buffer.getvalue(), "image/png" if max(shown.size) <= CRISP_SIDE // 4 else "image/webp")


@cache
def placeholder() -> Picture:
    """A framed landscape, struck through: there is an input, but no picture of it."""
    image = Image.new("RGBA", (320, 240), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    grey = (128, 134, 140, 255)
    draw.rounded_rectangle((100, 75, 220, 165), radius=10, outline=grey, width=5)
    draw.ellipse((120, 93, 140, 113), fill=grey)
    draw.polygon([(112, 153), (148, 119), (166, 136), (184, 113), (208, 153)], fill=grey)
    draw.line((88, 178, 232, 62), fill=grey, width=6)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return Picture(buffer.getvalue(), "image/png", is_placeholder=True)
