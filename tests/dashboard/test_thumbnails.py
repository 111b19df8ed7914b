"""Small pictures of inputs that nobody vouches for: bounded in time and memory, never the bytes as sent."""

import io
import struct
import time
import zlib

import pytest
from PIL import Image

from dashboard.pictures import large_box, large_picture, placeholder, small_picture
from tests.dashboard.conftest import picture_bytes, store_seen

URL = "/models/detector/inferences/one/thumbnail"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'
HTML = b"<!doctype html><script>alert(1)</script>"


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, pixels=b""):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(pixels, 9)) + chunk(b"IEND", b"")


HOSTILE = {
    "a 30,000 x 30,000 header": png(30_000, 30_000),
    "a bomb of 225 megapixels": png(15_000, 15_000, bytes(50_000_000)),
    "a bomb just above the bound": png(8_001, 8_001, bytes(8_001 * (8_001 * 3 + 1))),
    "a truncated JPEG": picture_bytes(800, 600, "JPEG")[:2_000],
    "a truncated PNG": picture_bytes(800, 600)[:500],
    "a JPEG's first bytes": b"\xff\xd8\xff\xe0",
    "an SVG": SVG,
    "an HTML page": HTML,
    "a picture of a kind that is not read": picture_bytes(kind="PPM"),
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "nothing": b"",
}


@pytest.mark.parametrize("size", ["320", "large"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_become_a_placeholder_within_a_second(name, size, page, detector):
    store_seen(detector, "one", content=HOSTILE[name])
    start = time.monotonic()
    response = page(f"{URL}?size={size}")
    assert time.monotonic() - start < 1
    assert response.status_code == 200
    assert response["Content-Type"] == "image/png"
    assert response.content == placeholder().content
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response["Content-Security-Policy"]


def opened(response):
    image = Image.open(io.BytesIO(response.content))
    image.load()
    return image


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_picture_is_made_small_and_anew(kind, page, detector):
    store_seen(detector, "one", content=picture_bytes(1_000, 500, kind))
    response = page(URL)
    assert response["Content-Type"] == "image/webp"
    assert opened(response).size == (320, 160)
    assert opened(page(URL + "?size=1600")).size == (1_000, 500)


def test_what_hides_behind_a_picture_does_not_come_along(page, detector):
    store_seen(detector, "one", content=picture_bytes(8, 8) + HTML)
    assert HTML not in page(URL).content


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "I", "F"])
def test_every_mode_is_shown(mode):
    buffer = io.BytesIO()
    Image.new(mode, (500, 400)).save(buffer, "TIFF")
    picture = small_picture(io.BytesIO(buffer.getvalue()), 320)
    assert not picture.is_placeholder


def test_a_wide_picture_is_decoded_small():
    buffer = io.BytesIO()
    Image.new("RGB", (12_000, 5_000), (9, 99, 9)).save(buffer, "JPEG")
    start = time.monotonic()
    picture = small_picture(io.BytesIO(buffer.getvalue()), 320)
    assert time.monotonic() - start < 1
    assert not picture.is_placeholder


@pytest.mark.parametrize(
    ("size", "shown"),
    [((900, 600), (900, 600)), ((12_000, 300), (12_000, 300)), ((9_000, 4_000), (4_242, 1_885))],
)
def test_a_large_picture_is_as_large_as_is_bounded(size, shown):
    buffer = io.BytesIO()
    Image.new("L", size, 99).save(buffer, "JPEG")
    picture = large_picture(io.BytesIO(buffer.getvalue()))
    # How a side is rounded is Pillow's affair.
    assert Image.open(io.BytesIO(picture.content)).size == pytest.approx(shown, abs=1)
    assert large_box(*size) == pytest.approx(shown, abs=1)


def test_too_many_bytes_are_not_even_opened():
    assert small_picture(io.BytesIO(picture_bytes()), 320, byte_count=2**40).is_placeholder


def test_it_is_cached_under_the_address_of_its_version(page, detector):
    store_seen(detector, "one")
    card = page("/models/detector/").content.decode()
    address = card.split('<img src="')[-1].split('"')[0].replace("&amp;", "&")
    response = page(address)
    assert "immutable" in response["Cache-Control"]
    assert response["Cache-Control"].startswith("private")
    assert page(address, headers={"If-None-Match": response["ETag"]}).status_code == 304
    assert page(URL)["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize("size", ["0", "321", "-1", "x", "99999"])
def test_only_the_known_sizes_are_made(size, page, detector):
    store_seen(detector, "one")
    assert page(f"{URL}?size={size}").status_code == 404
