"""The shipped nginx configuration in front of the shipped command, by the SDK, by HTTP and byte by byte."""

import re
import socket
import ssl
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from inference_store import blobs
from inference_store.client import fetching, inference, models, upload
from inference_store.client.verification import check_archive
from inference_store.contract.jobs import NewExportTaskRequest
from inference_store.models import AuditRecord, Blob, Project, RegisteredModel
from inference_store.services import exporting, exports
from tests.access.test_headers import STRICT
from tests.cast import BASE, Cast, request_of
from tests.cutting import Cutting
from tests.deploy.deployed import Deployed
from tests.jobs.stock import stock
from tests.making import make_model, make_upload

MEBIBYTE = 2**20


def raw(deployed: Deployed, request: bytes, *, is_short: bool = False) -> bytes:
    """What is answered to these very bytes until the end, or until one answer is whole."""
    with (
        socket.create_connection(("127.0.0.1", deployed.port), 10) as plain,
        deployed.trust().wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(request)
        answer = b""
        with suppress(ConnectionResetError, TimeoutError, ssl.SSLError):
            while piece := connection.recv(65_536):
                answer += piece
                head, _, body = answer.partition(b"\r\n\r\n")
                length = re.search(rb"Content-Length: ([0-9]+)", head)
                if is_short and length and len(body) == int(length[1]):
                    break
        return answer


# --- The store through it -----------------------------------------------------------------------------------
def test_an_inference_with_its_input_and_a_page(
    deployed: Deployed, world: Cast, detector: RegisteredModel, sdk: Any
) -> None:
    content = b"\x89PNG" + bytes(3 * MEBIBYTE)
    place = upload.upload_data("detector")
    assert place is not None
    assert place.data_presigned_url.startswith(f"{deployed.url}/api/")
    upload.put(place.data_presigned_url, content)
    body = request_of(data_storage_key=place.data_storage_key)
    inference.create_inference("detector", models.NewInferenceStorageRequest.model_validate(body))
    found = inference.get_inference("detector", "i-1", presign=True)
    assert found is not None
    url = found.presigned_url
    assert url is not None
    with deployed.client() as client:
        answer = client.get(url)
        assert answer.content == content
        # nginx has sent it, and says what the store told it to say.
        assert answer.headers["Content-Disposition"] == "attachment"
        assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert "immutable" in answer.headers["Cache-Control"]
        for header, value in STRICT.items():
            assert answer.headers.get_list(header) == [value]
        part = client.get(url, headers={"Range": "bytes=4-13", "If-Range": answer.headers["ETag"]})
        assert (part.status_code, part.content) == (206, content[4:14])
        assert part.headers["Content-Range"] == f"bytes 4-13/{len(content)}"
        other = client.get(url, headers={"Range": "bytes=4-13", "If-Range": '"other"'})
        assert (other.status_code, len(other.content)) == (200, len(content))
        assert client.get(url, headers={"Range": f"bytes={len(content)}-"}).status_code == 416
        assert client.get(url, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
        assert client.get(url[:-1]).status_code == 403
        # What it is told by the store, nobody else tells it.
        key = Blob.objects.get().key
        model, name = key.split("/")
        assert client.get(f"/internal-blobs/{model}/{name[:2]}/{name}").status_code == 404
        link = deployed.blobs / model / "00" / ("0" * 32)
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(deployed.home / "nginx.conf")
        linked = f"{model}/{'0' * 32}"
        Blob.objects.filter(key=key).update(key=linked)
        assert client.get(blobs.presigned_url(linked, "GET")).status_code == 404
        assert client.get(blobs.presigned_url(key, "GET")).status_code == 404


def test_pages_and_static_files(deployed: Deployed, world: Cast) -> None:
    with deployed.client() as client:
        page = client.get("/login/", headers={"Accept-Encoding": "gzip"})
        assert page.status_code == 200
        assert page.headers["Content-Encoding"] == "gzip"
        assert page.headers["Strict-Transport-Security"].startswith("max-age=31536000")
        for header, value in STRICT.items():
            assert page.headers.get_list(header) == [value]
        (style, *_) = re.findall(r'href="(/static/[^"]+\.css)"', page.text)
        static = client.get(style, headers={"Accept-Encoding": "gzip"})
        assert static.headers["Content-Type"].startswith("text/css")
        assert static.headers["Cache-Control"] == "public, max-age=315360000, immutable"
        assert static.headers["Content-Encoding"] == "gzip"
        for header, value in STRICT.items():
            assert static.headers.get_list(header) == [value]
        assert client.get("/static/staticfiles.json").status_code == 404
        assert not [each for each in deployed.answered() if each["path"] == style]
        for path in ("/static/../nginx.conf", "/static/%2e%2e/%2e%2e/nginx.conf", "/static../run/web.sock"):
            answer = raw(deployed, f"GET {path} HTTP/1.0\r\nHost: localhost:{deployed.port}\r\n\r\n".encode())
            assert re.match(rb"HTTP/1\.1 40[04] ", answer), path


def test_logging_in_over_https(deployed: Deployed, world: Cast) -> None:
    user = world.users["bob"]
    user.set_password("kestrel-over-the-harbour")
    user.save()
    with deployed.client() as client:
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', client.get("/login/").text)
        assert token
        form = {"username": "bob", "password": "kestrel-over-the-harbour", "csrfmiddlewaretoken": token[1]}
        headers = {"Origin": deployed.url, "Referer": f"{deployed.url}/login/"}
        answer = client.post("/login/", data=form, headers=headers)
        assert (answer.status_code, answer.headers["Location"]) == (302, "/")
        cookie = next(each for each in answer.headers.get_list("Set-Cookie") if "sessionid=" in each)
        assert "Secure" in cookie
        assert "HttpOnly" in cookie
        assert client.get("/").status_code == 200
        form["csrfmiddlewaretoken"] = "x" * 64
        assert (
            client.post(
                "/login/", data=form, headers=headers | {"Origin": "https://evil.example"}
            ).status_code
            == 403
        )


def test_an_export_over_connections_that_are_cut(
    deployed: Deployed, world: Cast, sdk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model("pictures", project=Project.objects.get(pk="birds"))
    stock(model, 60, size=20_000)
    export = exports.create_export(model=model, user=world.users["bob"], request=NewExportTaskRequest())
    exporting.run(export.pk)
    export.refresh_from_db()
    assert export.size
    whole = sdk.download_export("pictures", str(export.pk), tmp_path / "whole.zip")
    assert whole.stat().st_size == export.size
    monkeypatch.setattr(fetching, "PIECE_BYTES", 10_000)
    with Cutting(deployed.url, after_bytes=export.size // 5) as cutting:
        sdk.connect(base_url=cutting.url, token=world.bob.token)
        # The URL of the archive leads past the wire that breaks, unless it is sent there.
        monkeypatch.setattr(fetching, "urljoin", lambda base, url: url.replace(deployed.url, cutting.url))
        sdk.download_export("pictures", str(export.pk), tmp_path / "cut.zip")
    assert check_archive(tmp_path / "cut.zip").inference_count == 60
    assert cutting.cuts >= 5
    assert AuditRecord.objects.filter(action="export.download").count() >= 5


# --- Who asks -----------------------------------------------------------------------------------------------
def test_request_ids_and_addresses(deployed: Deployed, world: Cast) -> None:
    elsewhere = httpx.HTTPTransport(verify=deployed.trust(), local_address="127.0.0.2")
    pretending = {"X-Request-ID": "mine-1", "X-Forwarded-For": "203.0.113.9"}
    with deployed.client(world.bob.token, transport=elsewhere) as client:
        answer = client.get(f"{BASE}/models", headers=pretending)
        assert answer.headers.get_list("X-Request-ID") == ["mine-1"]
        line = deployed.line_of("mine-1")
        # The client's own word for where it is does not count.
        assert (line["address"], line["user"]) == ("127.0.0.2", "bob")
        for sent in ("no good id", "x" * 65, ""):
            answer = client.get(f"{BASE}/models", headers={"X-Request-ID": sent})
            (given,) = answer.headers.get_list("X-Request-ID")
            assert re.fullmatch(r"[0-9a-f]{32}", given)
            deployed.line_of(given)
    by_nginx = {line["request_id"] for line in deployed.lines("log/inference-store")}
    assert {"mine-1", given} <= by_nginx


def test_headers_that_pretend(deployed: Deployed, world: Cast) -> None:
    headers = {
        "X-Forwarded-Host": "evil.example",
        "Forwarded": "for=203.0.113.9;host=evil.example;proto=http",
    }
    with deployed.client(world.bob.token) as client:
        assert client.get("/", headers=headers | {"X-Forwarded-Proto": "http"}).status_code == 302
        answer = raw(deployed, b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        assert b"evil.example" not in answer
        assert not answer.startswith(b"HTTP/1.1 2")
        # An underscore makes no header of ours.
        words = b"X_Forwarded_For: 203.0.113.9\r\nX-Request-ID: underscored\r\nConnection: close\r\n\r\n"
        raw(deployed, b"GET /help/ HTTP/1.1\r\nHost: localhost:%d\r\n" % deployed.port + words)
    assert deployed.line_of("underscored")["address"] == "127.0.0.1"


def test_plain_http_is_sent_to_https(deployed: Deployed, world: Cast) -> None:
    plain = f"http://localhost:{deployed.http_port}"
    answer = httpx.post(f"{plain}{BASE}/models?x=1", headers={"Authorization": f"Bearer {world.bob.token}"})
    assert answer.status_code == 308
    assert answer.headers["Location"].startswith("https://localhost")
    assert answer.headers["Location"].endswith(f"{BASE}/models?x=1")
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(plain, headers={"Host": "other.example"})


def test_metrics_are_not_public(deployed: Deployed, world: Cast) -> None:
    with deployed.client() as client:
        assert client.get("/metrics").status_code == 200  # from this machine
    elsewhere = httpx.HTTPTransport(verify=deployed.trust(), local_address="127.0.0.2")
    with deployed.client(transport=elsewhere) as client:
        for path in ("/metrics", "//metrics", "/%6detrics", "/./metrics", "/help/../metrics", "/metrics?x"):
            assert client.get(deployed.url + path).status_code in (403, 404), path
        assert client.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 403
        assert client.get("/readyz").status_code == 200


# --- What is refused ----------------------------------------------------------------------------------------
BULK = f"{BASE}/models/detector/bulk-create"
LARGEST = [("/login/", 2, False), (BULK, 32, True), (f"{BASE}/blobs/1/x", 256, True)]


@pytest.mark.parametrize(
    ("path", "mebibytes", "is_json"),
    LARGEST,
)
def test_too_large(deployed: Deployed, world: Cast, path: str, mebibytes: int, is_json: bool) -> None:
    """The length alone is enough; nobody waits for the body."""
    before = len(deployed.answered())
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {mebibytes * MEBIBYTE + 1}\r\n\r\n"
    answer = raw(deployed, head.encode() + b"x", is_short=True)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert (b'"code": "too_large"' in answer) is is_json
    for header, value in STRICT.items():
        assert answer.count(f"{header}: {value}".encode()) == 1
    assert len(deployed.answered()) == before


def test_the_stores_own_413_comes_through(deployed: Deployed, world: Cast, detector: RegisteredModel) -> None:
    with deployed.client(world.bob.token) as client:
        client.headers["Content-Type"] = "application/json"
        answer = client.post(f"{BASE}/models/detector/count", content=b" " * (2 * MEBIBYTE + 1))
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        bodies = (b"x" * MEBIBYTE for _ in range(40))  # chunked, and told by nobody how long
        answer = client.post(BULK, content=bodies)
        assert answer.status_code == 413


LENGTH, CHUNKED = b"Content-Length: 44\r\n", b"Transfer-Encoding: chunked\r\n"
SMUGGLED = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        LENGTH + CHUNKED,
        CHUNKED + LENGTH,
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5, 6\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        LENGTH + b"Transfer-Encoding : chunked\r\n",
        LENGTH + b"Transfer-Encoding:\x0bchunked\r\n",
    ],
)
def test_nothing_is_smuggled(deployed: Deployed, world: Cast, headers: bytes) -> None:
    before = len(deployed.answered())
    request = b"POST /help/ HTTP/1.1\r\nHost: localhost:%d\r\nX-Request-ID: outer\r\n" % deployed.port
    answer = raw(deployed, request + headers + b"Connection: close\r\n\r\n" + SMUGGLED)
    assert re.match(rb"HTTP/1\.1 (400|501) ", answer), answer[:200]
    assert answer.count(b"HTTP/1.1 ") == 1
    assert len(deployed.answered()) == before, "the store was asked"


def test_a_body_is_no_second_request(deployed: Deployed, world: Cast) -> None:
    """What is one request to nginx is one to gunicorn, which has its connection for it alone."""
    request = b"GET /help/ HTTP/1.1\r\nHost: localhost:%d\r\nX-Request-ID: with-body\r\n" % deployed.port
    answer = raw(deployed, request + LENGTH + b"Connection: close\r\n\r\n" + SMUGGLED)
    assert answer.count(b"HTTP/1.1 ") == 1
    deployed.line_of("with-body")
    assert not [each for each in deployed.answered() if each["path"] == "/smuggled"]


def test_old_tls_is_refused(deployed: Deployed, world: Cast) -> None:
    context = deployed.trust()
    with (
        socket.create_connection(("127.0.0.1", deployed.port), 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        assert connection.version() == "TLSv1.3"
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", deployed.port), 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        assert connection.selected_alpn_protocol() == "h2"
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    for name in ("localhost", "other.example"):
        context.check_hostname = False
        with socket.create_connection(("127.0.0.1", deployed.port), 10) as plain, pytest.raises(ssl.SSLError):
            context.wrap_socket(plain, server_hostname=name)


# --- Faults -------------------------------------------------------------------------------------------------
def test_requests_wait_while_the_web_server_starts_anew(deployed: Deployed, world: Cast) -> None:
    deployed.stop_web()
    with deployed.client(world.bob.token, timeout=60) as client, ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(client.get, f"{BASE}/models") for _ in range(4)]
        assert not any(each.done() for each in waiting)
        deployed.start_web()
        assert {each.result().status_code for each in waiting} == {200}


def test_nobody_is_there(deployed: Deployed, world: Cast) -> None:
    path, aside = deployed.home / "run/web.sock", deployed.home / "run/aside"
    path.rename(aside)
    try:
        with deployed.client(world.bob.token) as client:
            answer = client.get(f"{BASE}/models")
            # Not 503, which would be sent again whatever it was.
            assert (answer.status_code, answer.json()["code"]) == (502, "unavailable")
            assert answer.headers["Retry-After"] == "2"
            for header, value in STRICT.items():
                assert answer.headers.get_list(header) == [value]
            page = client.get("/help/")
            assert (page.status_code, page.headers["Content-Type"]) == (502, "text/html")
    finally:
        aside.rename(path)


def test_a_refused_body_is_answered(deployed: Deployed, world: Cast, detector: RegisteredModel) -> None:
    """Also where the answer comes before nginx has sent all of it."""
    url = f"{BASE}/blobs/{make_upload(detector)}?expires=1&signature={'ab' * 32}"
    with deployed.client() as client:
        assert {client.put(url, content=bytes(300_000)).status_code for _ in range(40)} == {403}


def test_no_signature_is_in_a_log(
    deployed: Deployed, world: Cast, detector: RegisteredModel, sdk: Any
) -> None:
    key = make_upload(detector)
    url = f"{BASE}/blobs/{key}?expires=1&signature={'ab' * 32}"
    with deployed.client() as client:
        assert client.get(url).status_code == 403
        assert client.put(url, content=bytes(300_000)).status_code == 403  # spooled to the disk
    head = f"PUT {url} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {300 * MEBIBYTE}\r\n\r\n"
    assert b" 413 " in raw(deployed, head.encode(), is_short=True)
    for path in (deployed.home / "log").iterdir():
        assert "signature" not in path.read_text(), path
    assert "signature=" not in deployed.said("web")
