"""Pictures that would fill the memory or never end: a placeholder within a second, in bounded memory."""

import errno
import io
import struct
import time
import zlib
from pathlib import Path

import httpx
import pytest
from django.conf import settings as django_settings
from PIL import Image

from dashboard.pictures import crop_picture, large_picture, placeholder, small_picture
from inference_store.blobs import UnavailableError
from tests.dashboard.conftest import (  # noqa: F401
    carol,
    picture_bytes,
    quick_passwords,
    store_seen,
)
from tests.dashboard.conftest import detector as watched  # noqa: F401
from tests.dashboard.conftest import page as page_of  # noqa: F401
from tests.workers import Web

URL = "/models/detector/inferences/one/thumbnail"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'
HTML = b"<!doctype html><script>alert(1)</script>"
MEBIBYTE = 2**20
MOST_GROWTH = 300 * MEBIBYTE
"""A picture of the most pixels that are decoded takes 190 MiB, one at a time."""
CPU_SECONDS = 1.0


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


class Within:
    """That this process computes no longer, however busy the machine is with others."""

    def __init__(self, seconds):
        self.seconds = seconds

    def __enter__(self):
        self.began = time.process_time()

    def __exit__(self, *error):
        assert time.process_time() - self.began < self.seconds


@pytest.mark.parametrize("size", ["320", "large"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_become_a_placeholder_within_a_second(name, size, page_of, watched):  # noqa: F811
    store_seen(watched, "one", content=HOSTILE[name])
    with Within(CPU_SECONDS):
        response = page_of(f"{URL}?size={size}")
    assert response.status_code == 200
    assert response["Content-Type"] == "image/png"
    assert response.content == placeholder().content
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response["Content-Security-Policy"]


def test_a_wide_picture_is_decoded_small():
    buffer = io.BytesIO()
    Image.new("RGB", (12_000, 5_000), (9, 99, 9)).save(buffer, "JPEG")
    with Within(CPU_SECONDS):
        picture = small_picture(io.BytesIO(buffer.getvalue()), 320)
    assert not picture.is_placeholder


def test_too_many_bytes_are_not_even_opened():
    assert small_picture(io.BytesIO(picture_bytes()), 320, byte_count=2**40).is_placeholder


class Failing(io.BytesIO):
    """Bytes that can't be read just now."""

    def __init__(self, error):
        super().__init__(picture_bytes(800, 600))
        self.error = error

    def read(self, *size):
        if self.tell() > len("the signature and the header"):
            raise self.error
        return super().read(*size)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "input/output error"), MemoryError()])
@pytest.mark.parametrize(
    "make",
    [
        lambda source: small_picture(source, 320),
        large_picture,
        lambda source: crop_picture(source, (0, 0, 9, 9)),
    ],
)
def test_a_placeholder_is_only_for_what_the_bytes_are(make, error):
    """It is kept for ever under the picture's address: what passes must not be."""
    with pytest.raises(UnavailableError):
        make(Failing(error))
    assert not make(io.BytesIO(picture_bytes(800, 600))).is_placeholder


@pytest.mark.django_db(transaction=True)
def test_a_server_shows_them_all_in_bounded_memory(client, carol, watched, tmp_path: Path):  # noqa: F811
    for number, content in enumerate(HOSTILE.values()):
        store_seen(watched, f"i-{number}", content=content)
    store_seen(watched, "good", content=picture_bytes(64, 48))
    client.force_login(carol)
    session = {django_settings.SESSION_COOKIE_NAME: client.session.session_key}
    web = Web(tmp_path / "web.log")
    web.start()
    try:
        web.ready()
        with httpx.Client(base_url=web.url, cookies=session, timeout=60) as browser:
            address = "/models/detector/inferences/{}/thumbnail?size=large"
            assert browser.get(address.format("good")).headers["Content-Type"] == "image/png"
            before = memory(web)
            for number, name in enumerate(HOSTILE):
                answer = browser.get(address.format(f"i-{number}"))
                assert (answer.status_code, answer.content) == (200, placeholder().content), name
            assert memory(web) - before < MOST_GROWTH
            assert browser.get(address.format("good")).content != placeholder().content
    finally:
        web.kill()


def memory(web: Web) -> int:
    """The most bytes that the server's processes ever had resident, together."""
    assert web.process is not None
    children = Path(f"/proc/{web.process.pid}/task/{web.process.pid}/children").read_text().split()
    assert children
    peaks = (Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0] for pid in children)
    return sum(map(int, peaks)) * 1024
