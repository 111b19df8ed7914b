"""Bodies against a real server process (fault 5), and the SDK against it."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from inference_store.models import Inference, RegisteredModel
from tests.cast import BASE, Cast, request_of

MEBIBYTE = 2**20
MOST_GROWTH = 50 * MEBIBYTE


@dataclass
class Server:
    """A gunicorn with one worker, on the tests' database."""

    port: int
    worker: int

    def memory(self) -> int:
        """The most that the worker has ever had resident."""
        status = Path(f"/proc/{self.worker}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found
        return int(found[1]) * 1024

    def send(self, head: str, body: Iterator[bytes]) -> tuple[str, int]:
        """The answer to a request, read while its body is still being sent, and how much of that went."""
        sent = 0
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connected:
            connected.sendall(head.encode() + b"\r\n\r\n")
            try:
                for piece in body:
                    connected.sendall(piece)
                    sent += len(piece)
            except (BrokenPipeError, ConnectionResetError):
                pass
            answer = b""
            try:
                while not whole(answer) and (piece := connected.recv(65536)):
                    answer += piece
            except ConnectionResetError:
                pass
        return answer.decode(), sent


def whole(answer: bytes) -> bool:
    """Whether the answer is there to its end."""
    start, blank, rest = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", start)
    return bool(blank) and len(rest) >= int(length[1] if length else 0)


@pytest.fixture
def server(transactional_db: None, tmp_path: Path) -> Iterator[Server]:
    database = connection.settings_dict
    host = database["OPTIONS"].get("host") or database["HOST"]
    user = f"{database['USER']}:{database['PASSWORD']}@" if database["PASSWORD"] else f"{database['USER']}@"
    environment = os.environ | {
        "DATABASE_URL": f"postgres://{user}/{database['NAME']}?host={host}",
        "BLOB_ROOT": str(tmp_path / "blobs"),
    }
    log = tmp_path / "log"
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "inference_store.wsgi",
        "--bind",
        "127.0.0.1:0",
        "--threads",
        "4",
    ]
    with log.open("w") as errors:
        process = subprocess.Popen(command, env=environment, stderr=errors, stdout=errors)
    try:
        yield Server(*wait_for(log, process))
    finally:
        process.terminate()
        process.wait(20)


def wait_for(log: Path, process: subprocess.Popen[bytes]) -> tuple[int, int]:
    for _ in range(300):
        text = log.read_text()
        port = re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", text)
        worker = re.search(r"Booting worker with pid: (\d+)", text)
        if port and worker:
            return int(port[1]), int(worker[1])
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def head(cast: Cast, path: str, *headers: str, method: str = "POST") -> str:
    address = path if path.startswith("/") else f"{BASE}/{path}"
    return "\r\n".join(
        (
            f"{method} {address} HTTP/1.1",
            "Host: localhost",
            f"Authorization: Bearer {cast.bob.token}",
            "Content-Type: application/json",
            *headers,
        )
    )


def endless(piece: bytes = b" " * 65536) -> Iterator[bytes]:
    """A chunked body that does not end by itself; the test gives up after a gibibyte."""
    for _ in range(16_384):
        yield b"%x\r\n%s\r\n" % (len(piece), piece)


@pytest.mark.parametrize("path", ["models/detector/search", "models/detector/bulk-create", "blob"])
def test_a_chunked_body_that_never_ends(
    cast: Cast, detector: RegisteredModel, server: Server, path: str
) -> None:
    method, limit = "POST", 32 * MEBIBYTE
    if path == "blob":
        url = cast.bob.post("models/detector/uploads/data").json()["data_presigned_url"]
        path, method, limit = url.removeprefix("http://testserver"), "PUT", 256 * MEBIBYTE
    server.send(head(cast, "models/detector/count", "Content-Length: 2"), iter([b"{}"]))
    before = server.memory()
    answer, sent = server.send(head(cast, path, "Transfer-Encoding: chunked", method=method), endless())
    assert answer.startswith("HTTP/1.1 413") or answer == ""  # the reset may overtake the answer
    assert sent < limit + 64 * MEBIBYTE
    assert server.memory() - before < MOST_GROWTH
    answer, _ = server.send(head(cast, "models/detector/count", "Content-Length: 2"), iter([b"{}"]))
    assert answer.startswith("HTTP/1.1 200")


def test_a_chunked_body_that_ends(cast: Cast, detector: RegisteredModel, server: Server) -> None:
    answer, _ = server.send(
        head(cast, "models/detector/count", "Transfer-Encoding: chunked"),
        iter([b"1\r\n{\r\n", b"1\r\n}\r\n", b"0\r\n\r\n"]),
    )
    assert answer.startswith("HTTP/1.1 200")
    assert '{"count":0}' in answer


def test_a_hundred_megabytes_are_refused_before_they_are_read(
    cast: Cast, detector: RegisteredModel, server: Server
) -> None:
    server.send(head(cast, "models/detector/count", "Content-Length: 2"), iter([b"{}"]))
    before = server.memory()
    for path in ("models/detector/search", "models/detector/bulk-create", "models/detector/inferences"):
        answer, _ = server.send(head(cast, path, f"Content-Length: {100 * MEBIBYTE}"), iter([b"{"]))
        assert answer.startswith("HTTP/1.1 413"), path
        assert '"code":"too_large"' in answer
    assert server.memory() - before < MOST_GROWTH


def test_nesting_and_many_mistakes_cost_little_memory(
    cast: Cast, detector: RegisteredModel, server: Server
) -> None:
    wrong = b'{"filters": {"metadata_filter": [' + b",".join([b"0"] * 900_000) + b"]}}"
    fields = b"{" + b",".join(b'"%x":0' % number for number in range(200_000)) + b"}"
    vector = b'{"embedding_filters": {"query_embedding": [' + b",".join([b"null"] * 300_000) + b"]}}"
    server.send(head(cast, "models/detector/count", "Content-Length: 2"), iter([b"{}"]))
    before = server.memory()
    for body in (
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        wrong,
        fields,
        vector,
    ):
        answer, _ = server.send(
            head(cast, "models/detector/search", f"Content-Length: {len(body)}"), iter([body])
        )
        assert answer.startswith("HTTP/1.1 400"), answer[:200]
        # Two megabytes of one-character values take forty times that once they are parsed.
        many = body in (wrong, vector, fields)
        assert server.memory() - before < (2 * MOST_GROWTH if many else MOST_GROWTH)


def test_a_large_blob_goes_in_and_out_in_flat_memory(
    cast: Cast, detector: RegisteredModel, server: Server
) -> None:
    import httpx

    size = 200 * MEBIBYTE
    piece = os.urandom(MEBIBYTE)
    answer = cast.bob.post("models/detector/uploads/data").json()
    url = answer["data_presigned_url"].replace("testserver", f"127.0.0.1:{server.port}")
    server.send(head(cast, "models/detector/count", "Content-Length: 2"), iter([b"{}"]))
    before = server.memory()
    sent = httpx.put(url, content=(piece for _ in range(size // MEBIBYTE)), timeout=60)
    assert sent.status_code == 204
    assert httpx.put(url, content=b"again").status_code == 409
    body = request_of(data_storage_key=answer["data_storage_key"])
    headers = {"Authorization": f"Bearer {cast.bob.token}"}
    base = f"http://127.0.0.1:{server.port}{BASE}/models/detector/inferences"
    assert httpx.post(base, json=body, headers=headers).status_code == 201
    read = httpx.get(f"{base}/i-1?presign=true", headers=headers).json()["presigned_url"]
    received = 0
    with httpx.stream("GET", read) as stream:
        for part in stream.iter_bytes():
            received += len(part)
    assert received == size
    assert server.memory() - before < MOST_GROWTH
    changed = read.replace("/blobs/", "/%62lobs/")
    assert _raw_status(server, changed) == 403


def _raw_status(server: Server, url: str) -> int:
    path = url.removeprefix(f"http://127.0.0.1:{server.port}")
    answer, _ = server.send(f"GET {path} HTTP/1.1\r\nHost: localhost", iter(()))
    return int(answer.split()[1])


def test_the_sdk_from_registration_to_deletion(cast: Cast, server: Server) -> None:
    client: Any = pytest.importorskip("inference_store.client")
    from inference_store.client import inference, metadata, models, register

    client.connect(base_url=f"http://127.0.0.1:{server.port}", token=cast.bob.token)
    request = models.NewRegisterModelRequest(
        model_id="digits", project_id="birds", task_type=models.TaskType.IMAGE_CLASSIFICATION
    )
    assert register.register_model_for_inference_storage(request) == "digits"
    standard = models.NewStandardMetadataRequest(
        data_hash=metadata.get_data_hash(b"pixels"),
        data_size=6,
        task_type=models.TaskType.IMAGE_CLASSIFICATION,
        inference_action=models.InferenceAction.PREDICT,
    )
    collection = models.NewInferenceAndMetadataCollection(
        image_classification=[{"label": "7", "score": 0.5}],
        metadata=models.NewMetadataCollectionRequest(standard_metadata=standard),
    )
    stored = inference.create_inference_storage_request("digits", "d-1", b"pixels", collection)
    assert stored is not None
    assert stored.data_storage_key
    found = inference.filter_inferences("digits", models.NewGetInferencesRequest(presign=True))
    assert [each.inference_id for each in found] == ["d-1"]
    assert found[0].presigned_url
    extra = models.NewExtendedMetadataRequest(key="run", type=models.MetadataType.INT, value="3")
    assert metadata.create_metadata("digits", "d-1", extra).value == "3"
    assert [each.key for each in metadata.get_metadata("digits", "d-1")] == ["run"]
    assert metadata.delete_metadata("digits", "d-1", "run") == "run"
    assert metadata.delete_metadata("digits", "d-1", "run") is None
    assert inference.count_inferences("digits", models.NewGetInferencesRequest()) == 1
    assert len(inference.filter_granular_inferences("digits", models.NewGetInferencesRequest())) == 1
    assert inference.bulk_delete_inferences("digits", models.BaseInferenceFilter()) == ["d-1"]
    assert inference.delete_inference("digits", "d-1") is None
    assert Inference.objects.count() == 0
