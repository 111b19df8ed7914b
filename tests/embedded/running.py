"""`manage.py up` as a process of its own."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from inference_store.embedded import home
from tests.embedded.waiting import PATIENCE_SECONDS


class Up:
    """One run of the command, its output read line by line."""

    def __init__(self, state: Path, port: int, **changes: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
        environment |= changes | {"INFERENCE_STORE_HOME": str(state)}
        self.url = f"http://127.0.0.1:{port}"
        self.output = ""
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "up", "--no-demo", "--port", str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=home.CHECKOUT,
            env=environment,
        )

    def until(self, said: str) -> None:
        """Read on until it has said this."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.output += line
            if said in line:
                return
        pytest.fail(f"it ended without saying {said!r}:\n{self.output}")

    def read_on(self) -> None:
        """Read until it ends."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.output += line

    def ended(self) -> int:
        self.output += self.process.communicate(timeout=PATIENCE_SECONDS)[0]
        return self.process.returncode

    def healthy(self) -> bool:
        try:
            with urlopen(f"{self.url}/healthz", timeout=10) as answer:
                return answer.status == 200
        except OSError:
            return False

    def descendants(self) -> dict[int, str]:
        """Every process below it, by id, with its command line."""
        parents = {}
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
        below = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in below} - below:
            below |= more
        return {pid: command_of(pid) for pid in below - {self.process.pid}}


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""
