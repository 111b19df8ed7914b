"""Small pictures of inputs: made anew, never the bytes as sent. Hostile ones: tests/faults, row 12."""

import io

import pytest
from PIL import Image

from dashboard.pictures import large_box, large_picture, small_picture
from tests.dashboard.conftest import picture_bytes, store_seen

URL = "/models/detector/inferences/one/thumbnail"
HTML = b"<!doctype html><script>alert(1)</script>"


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
