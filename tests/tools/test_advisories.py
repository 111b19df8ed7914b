"""The audit of what is pinned, against an advisory service that answers, and where none does."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
ADVISORY = {
    "id": "PYSEC-2099-1",
    "summary": "It falls over.",
    "aliases": [],
    "published": "2099-01-01T00:00:00Z",
    "affected": [
        {
            "package": {"name": "fragile", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
        }
    ],
}


class Service(BaseHTTPRequestHandler):
    """Knows of one fault, in one package."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = {"vulns": [ADVISORY]} if asked["package"]["name"] == "fragile" else {}
        body = json.dumps(known).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, *args: object) -> None:
        """Not in the tests' output."""


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def audit(lock: Path, url: str, **environment: str) -> tuple[int, str]:
    command = (
        "import sys, pathlib; from tools.advisories import main; sys.exit(main(pathlib.Path(sys.argv[1])))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", command, str(lock)],
        env=os.environ | {"ADVISORIES_URL": url} | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stdout


def test_a_known_fault_fails(service: str, tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("sturdy==2.0\nfragile==1.0\n")
    status, said = audit(lock, service)
    assert status == 1
    assert "fragile 1.0: PYSEC-2099-1, mended in 1.1" in said
    assert "2 pinned packages audited, 1 advisories." in said


def test_none_known_passes(service: str, tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("sturdy==2.0\n")
    assert audit(lock, service) == (0, "1 pinned packages audited, 0 advisories.\n")


def test_where_nobody_answers_nothing_is_claimed(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("sturdy==2.0\n")
    status, said = audit(lock, "http://127.0.0.1:9")
    assert status == 0
    assert said.startswith("NOT AUDITED")
    assert audit(lock, "http://127.0.0.1:9", ADVISORIES_REQUIRED="1")[0] == 2
