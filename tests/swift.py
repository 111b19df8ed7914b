"""OpenStack Swift with its S3 API, in real processes: what blobs are tried against.

One proxy, one account, one container and one object server, each listening on a port of 127.0.0.1, one
replica of everything. The object server keeps metadata in extended attributes, which the directory's file
system must have.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from inference_store.embedded import process
from tests.workers import wait_until

ACCESS_KEY, SECRET_KEY, REGION, BUCKET = "test:tester", "testing", "us-east-1", "kept"
BIN = Path(sys.executable).parent
BACKENDS = ("account", "container", "object")
COMMON = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
swift_dir = {home}
devices = {home}/devices
mount_check = false
user = {user}
log_address = {home}/no-log
log_level = INFO
"""
BACKEND = (
    COMMON
    + """
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
)
PROXY = (
    COMMON
    + """
[pipeline:main]
pipeline = catch_errors cache s3api tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{no_port}
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""
)
HASHES = "[swift-hash]\nswift_hash_path_suffix = tests\nswift_hash_path_prefix = tests\n"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def has_attributes(directory: Path) -> bool:
    """Whether files there can carry what Swift writes beside them."""
    try:
        os.setxattr(directory, "user.swift.metadata", b"x" * 1_000)
        os.removexattr(directory, "user.swift.metadata")
    except OSError:
        return False
    return True


def home() -> Path:
    """A new directory on a file system with extended attributes."""
    for parent in (None, "/var/tmp", "/dev/shm", "."):
        made = Path(tempfile.mkdtemp(prefix="swift-", dir=parent)).resolve()
        if has_attributes(made):
            return made
        made.rmdir()
    raise RuntimeError("Swift needs a file system with extended attributes: set TMPDIR to a place on one.")


class Swift:
    """The service: its address is `endpoint`; `stop` and `start` as often as one likes, data are kept."""

    def __init__(self) -> None:
        self.home = home()
        self.ports = {kind: free_port() for kind in (*BACKENDS, "proxy")}
        self.endpoint = f"http://127.0.0.1:{self.ports['proxy']}"
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._configure()

    def _configure(self) -> None:
        (self.home / "swift.conf").write_text(HASHES)
        (self.home / "devices" / "d1").mkdir(parents=True)
        told = {"home": self.home, "user": os.environ.get("USER", "root"), "no_port": free_port()}
        for kind in BACKENDS:
            text = BACKEND.format(kind=kind, port=self.ports[kind], **told)
            (self.home / f"{kind}.conf").write_text(text)
            ring = self.home / f"{kind}.builder"
            device = f"r1z1-127.0.0.1:{self.ports[kind]}/d1"
            for words in (["create", "4", "1", "1"], ["add", device, "1"], ["rebalance"]):
                self._run("swift-ring-builder", ring, *words)
        (self.home / "proxy.conf").write_text(PROXY.format(port=self.ports["proxy"], **told))

    def _run(self, program: str, *words: object) -> None:
        command = [sys.executable, str(BIN / program), *map(str, words)]
        done = subprocess.run(command, capture_output=True, cwd=self.home, check=False)
        assert done.returncode in (0, 1), done.stdout + done.stderr

    def start(self) -> None:
        for kind in BACKENDS:
            self.begin(kind)
        # While its account server is away, the proxy says that there is no such bucket.
        wait_until(self.is_listening, "Swift's servers listen")
        self.begin("proxy")
        wait_until(self.is_up, "Swift is up")

    def begin(self, kind: str) -> None:
        with (self.home / f"{kind}.log").open("ab") as log:
            self.running[kind] = subprocess.Popen(
                [sys.executable, str(BIN / f"swift-{kind}-server"), str(self.home / f"{kind}.conf"), "-v"],
                env=os.environ | {"SWIFT_DIR": str(self.home)},
                stdout=log,
                stderr=log,
                cwd=self.home,
                start_new_session=True,
                preexec_fn=process.follow_parent(signal.SIGKILL),
            )

    def start_again(self, kind: str) -> None:
        self.begin(kind)
        wait_until(self.is_up, "Swift is up again")

    def is_listening(self) -> bool:
        """Whether those that were begun take connections."""
        for kind, each in self.running.items():
            assert each.poll() is None, (self.home / f"{kind}.log").read_text()
        try:
            for kind in self.running:
                socket.create_connection(("127.0.0.1", self.ports[kind]), 1).close()
        except OSError:
            return False
        return True

    def is_up(self) -> bool:
        try:
            return self.is_listening() and httpx.get(self.endpoint).status_code < 500
        except httpx.TransportError:
            return False

    def end(self, kind: str) -> None:
        """Kill one of its servers."""
        if each := self.running.pop(kind, None):
            os.killpg(each.pid, signal.SIGKILL)
            each.wait()

    def stop(self) -> None:
        """Kill all of them, the proxy first: no client sees it without those behind it."""
        for kind in reversed(list(self.running)):
            self.end(kind)

    def make_bucket(self) -> None:
        """The bucket, unless it is there."""
        import boto3
        from botocore.config import Config

        client = boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(s3={"addressing_style": "path"}),
        )
        with suppress(client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=BUCKET)
        client.close()

    def settings(self) -> dict[str, str]:
        """The environment of a store whose blobs live here."""
        return {
            "BLOB_STORE": f"s3://{BUCKET}/blobs",
            "S3_ENDPOINT_URL": self.endpoint,
            "S3_REGION": REGION,
            "S3_ACCESS_KEY_ID": ACCESS_KEY,
            "S3_SECRET_ACCESS_KEY": SECRET_KEY,
        }


@pytest.fixture(scope="session")
def swift_service() -> Iterator[Swift]:
    service = Swift()
    try:
        service.start()
        yield service
    finally:
        service.stop()
        shutil.rmtree(service.home, ignore_errors=True)
