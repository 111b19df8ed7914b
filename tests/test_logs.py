"""Lines of JSON that name their request, from web processes and workers, and hold no secret."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from inference_store.models import RegisteredModel
from tests.cast import BASE, Cast, cast, detector  # noqa: F401
from tests.workers import Program, Web, Worker, wait_until

JSON = {"LOG_FORMAT": "json"}


class LoggingWeb(Web):
    command = [*Web.command, "--logger-class", "inference_store.logs.Gunicorn"]


@pytest.fixture
def web(transactional_db: None, tmp_path: Path) -> Iterator[Web]:
    running = LoggingWeb(tmp_path / "web.log", **JSON)
    running.start()
    running.ready()
    yield running
    running.kill()


def lines(program: Program) -> list[dict[str, Any]]:
    whole = [line for line in program.said().splitlines(keepends=True) if line.endswith("\n")]
    return [json.loads(line) for line in whole if line.startswith("{")]


def line_of(program: Program, request_id: str) -> dict[str, Any]:
    def found() -> list[dict[str, Any]]:
        return [line for line in lines(program) if line.get("request_id") == request_id]

    wait_until(found, f"a line of {request_id}")
    return found()[0]


def test_an_answer_is_one_line_without_secrets(cast: Cast, detector: RegisteredModel, web: Web) -> None:  # noqa: F811
    headers = {"Authorization": f"Bearer {cast.bob.token}", "X-Request-ID": "by-bob"}
    httpx.get(f"{web.url}{BASE}/models/detector?signature=hush", headers=headers, timeout=30)
    line = line_of(web, "by-bob")
    assert (line["level"], line["logger"]) == ("INFO", "inference_store.requests")
    assert (line["method"], line["path"], line["status"]) == ("GET", f"{BASE}/models/detector", 400)
    assert (line["door"], line["user"], line["address"]) == ("api", "bob", "127.0.0.1")
    assert line["milliseconds"] > 0
    assert cast.bob.token is not None
    assert cast.bob.token.startswith(line["token"])

    signed = f"{BASE}/blobs/1/{'a' * 32}?expires=1&signature={'b' * 64}"
    httpx.get(f"{web.url}{signed}", headers={"X-Request-ID": "signed"}, timeout=30)
    assert line_of(web, "signed")["status"] == 403
    said = web.said()
    assert cast.bob.token not in said
    assert "hush" not in said
    assert "b" * 64 not in said


def test_a_job_logs_under_the_request_that_asked(
    cast: Cast,  # noqa: F811
    detector: RegisteredModel,  # noqa: F811
    web: Web,
    tmp_path: Path,
) -> None:
    worker = Worker(tmp_path / "worker.log", **JSON)
    worker.start()
    try:
        wait_until(lambda: " ready." in worker.said(), "the worker is ready")
        headers = {"Authorization": f"Bearer {cast.bob.token}", "X-Request-ID": "export-by-bob"}
        address = f"{web.url}{BASE}/models/detector/export-tasks"
        assert httpx.post(address, json={}, headers=headers, timeout=30).status_code == 201
        assert line_of(worker, "export-by-bob")["door"] == "job"
    finally:
        worker.kill()
