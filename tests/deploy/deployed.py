"""The store as docs/deploy.md has it: Debian's nginx with the shipped configuration, in front of gunicorn by
the command of the shipped unit, on a socket that was opened for it as systemd does.

Only places, names and ports are other ones; each that is replaced must be there.
"""

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from inference_store.embedded import process
from tests.servers import HOME
from tests.workers import environment, wait_until

ROOT = Path(__file__).parent.parent.parent
NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
BIN = Path(sys.executable).parent
NAME, INTERNAL = "localhost", "/internal-blobs/"
AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.argv[2], sys.argv[2:])
"""
MAIN = """
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 8192;
pid {home}/nginx.pid;
error_log {home}/log/error.log;
events {{ worker_connections 4096; }}
http {{
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    client_body_temp_path {home}/temp/body;
    proxy_temp_path {home}/temp/proxy;
    fastcgi_temp_path {home}/temp/fastcgi;
    uwsgi_temp_path {home}/temp/uwsgi;
    scgi_temp_path {home}/temp/scgi;
    include {home}/inference-store.conf;
}}
"""


def refuse_without_nginx() -> None:
    if NGINX is None or shutil.which("openssl") is None:
        message = "there is no nginx, or no openssl (Debian: apt install nginx openssl)"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def replaced(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        assert old in text, f"the shipped file holds no {old!r} any more"
        text = text.replace(old, new)
    return text


def unit(name: str) -> dict[str, list[str]]:
    """A shipped unit's settings, each with all its values, continued lines joined."""
    text = (ROOT / "deploy/systemd" / name).read_text().replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def commands(name: str) -> list[list[str]]:
    """What a unit executes, as it would be installed here."""
    places = {"/opt/inference-store/.venv/bin": str(BIN), "/opt/inference-store": str(ROOT)}
    found = []
    for line in unit(name)["ExecStart"]:
        for there, here in places.items():
            line = line.replace(there, here)
        found.append(line.split())
    return found


class Deployed:
    """nginx and gunicorn, as `url` and by TLS as `https`, with what they write below `home`."""

    def __init__(self, processes: int = 2) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="deployed-", dir=HOME))
        self.http_port, self.port = free_port(), free_port()
        self.url = f"https://{NAME}:{self.port}"
        self.blobs, self.static = self.home / "state/blobs", self.home / "state/static"
        for path in (self.blobs, self.home / "run", self.home / "log", self.home / "temp"):
            path.mkdir(parents=True)
        self.running: list[subprocess.Popen[bytes]] = []
        self.certificate = self.home / "certificate.pem"
        self.environment = environment(
            PUBLIC_URL=self.url,
            BLOB_ROOT=str(self.blobs),
            STATIC_ROOT=str(self.static),
            BLOB_INTERNAL_LOCATION=INTERNAL,
            LOG_FORMAT="json",
            WEB_CONCURRENCY=str(processes),
        )

    # --- Starting -------------------------------------------------------------------------------------------
    def start(self) -> None:
        self._certify()
        self._collect_static()
        self._configure()
        self.open_socket()
        self.start_web()
        log = str(self.home / "log/error.log")
        self._begin("nginx", [str(NGINX), "-c", str(self.home / "nginx.conf"), "-e", log])
        wait_until(self._answers, "nginx and the store answer")

    def _answers(self) -> bool:
        for each in self.running:
            assert each.poll() is None, self.said("nginx") + self.said("web") + self.said("log/error")
        try:
            return self.client().get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def open_socket(self) -> None:
        """As systemd does, which keeps it open while gunicorn comes and goes."""
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(self.home / "run/web.sock"))
        self.listening.listen(int(unit("inference-store-web.socket")["Backlog"][0]))

    def start_web(self) -> None:
        """gunicorn, which is given the socket."""
        (command,) = commands("inference-store-web.service")
        number = self.listening.fileno()
        launch = [sys.executable, "-c", AS_SYSTEMD, str(number), *command]
        self.web = self._begin("web", launch, pass_fds=(number,))

    def stop_web(self) -> None:
        self.running.remove(self.web)
        process.stop(self.web, signal.SIGTERM, 10)

    def _begin(self, name: str, command: list[str], **how: Any) -> "subprocess.Popen[bytes]":
        with (self.home / f"{name}.log").open("ab") as log:
            begun = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                cwd=ROOT,
                start_new_session=True,
                preexec_fn=process.follow_parent(signal.SIGQUIT),
                **how,
            )
        self.running.append(begun)
        return begun

    def _certify(self) -> None:
        words = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ]
        words += ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}", "-days", "2"]
        words += ["-out", str(self.certificate), "-keyout", str(self.home / "key.pem")]
        subprocess.run(words, check=True, capture_output=True)

    def _collect_static(self) -> None:
        for command in commands("inference-store-migrate.service")[1:]:
            subprocess.run(command, check=True, env=self.environment, cwd=ROOT, capture_output=True)

    def _configure(self) -> None:
        text = (ROOT / "deploy/nginx/inference-store.conf").read_text()
        # There may be no IPv6 here.
        text = re.sub(r"^ *listen \[::\].*\n", "", text, flags=re.MULTILINE)
        certificates = "/etc/letsencrypt/live/store.example.org"
        changes = {
            f"{certificates}/fullchain.pem": str(self.certificate),
            f"{certificates}/privkey.pem": str(self.home / "key.pem"),
            "/run/inference-store": str(self.home / "run"),
            "/var/lib/inference-store": str(self.home / "state"),
            "/var/log/nginx": str(self.home / "log"),
            "/etc/nginx/snippets": str(ROOT / "deploy/nginx"),
            "store.example.org": NAME,
            "listen 80": f"listen 127.0.0.1:{self.http_port}",
            "listen 443": f"listen 127.0.0.1:{self.port}",
        }
        (self.home / "inference-store.conf").write_text(replaced(text, changes))
        # Root's own files, in directories that are root's alone, are what it sends here.
        user = "user root;" if os.geteuid() == 0 else ""
        (self.home / "nginx.conf").write_text(MAIN.format(user=user, home=self.home))

    def stop(self) -> None:
        for each in reversed(self.running):
            process.stop(each, signal.SIGTERM, 10)
        self.listening.close()
        shutil.rmtree(self.home, ignore_errors=True)

    # --- Asking ---------------------------------------------------------------------------------------------
    def client(self, token: str = "", **how: Any) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.url, verify=self.trust(), headers=headers, **how)

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))

    def said(self, name: str) -> str:
        path = self.home / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def lines(self, name: str) -> list[dict[str, Any]]:
        """What was logged as one object a line."""
        return [json.loads(line) for line in self.said(name).splitlines() if line.startswith("{")]

    def answered(self) -> list[dict[str, Any]]:
        """A line for each request that reached the store itself."""
        return [line for line in self.lines("web") if line["logger"] == "inference_store.requests"]

    def line_of(self, request_id: str) -> dict[str, Any]:
        """The store's line about that request."""
        wait_until(lambda: any(each.get("request_id") == request_id for each in self.answered()), request_id)
        return next(each for each in self.answered() if each.get("request_id") == request_id)
