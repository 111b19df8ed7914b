"""A system's process, seen from the one that measures."""

import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from bench.compare.install import is_installed
from bench.compare.places import CHECKOUT, LOGS, STORES, venv_python
from bench.compare.workload import VERSION

OURS = ("inference_store_query", "inference_store_http")


def is_available(system: str) -> bool:
    """Whether the system can run: this store always can."""
    return system in OURS or is_installed(system)


class Process:
    """Runs one system; the answers to what is sent come one line each."""

    def __init__(self, system: str, size: int, *, embedded: bool, keep: bool) -> None:
        self.system = system
        self.keep = keep
        kind = "embedded" if embedded else "plain"
        self.directory = STORES / f"{system}-{VERSION}-{size}-{kind}"
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)
        elif not (self.directory / "loaded.json").exists():
            shutil.rmtree(self.directory, ignore_errors=True)  # loading was cut off, or deletes were measured
        self.directory.mkdir(parents=True, exist_ok=True)
        LOGS.mkdir(parents=True, exist_ok=True)
        self.log = LOGS / f"{self.directory.name}.log"
        python = Path(sys.executable) if system in OURS else venv_python(system)
        with open(self.log, "w") as log:
            self._process = subprocess.Popen(
                [python, "-m", "bench.compare.worker", system, str(size), self.directory, kind],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=CHECKOUT,
            )

    def load(self) -> dict[str, Any]:
        return self._ask({"do": "load"})

    def run(self, code: str, variant: int) -> dict[str, Any]:
        return self._ask({"do": "run", "operation": [code, variant]})

    def grow(self) -> dict[str, Any]:
        """What growth.py times, in milliseconds."""
        return self._ask({"do": "grow"})

    def quit(self) -> None:
        """End it; what it stored stays only where it is to be used again."""
        with contextlib.suppress(BrokenPipeError):  # it has ended by itself
            self._write({"do": "quit"})
        self._process.wait(120)
        if not self.keep:
            shutil.rmtree(self.directory)

    def _write(self, command: dict[str, Any]) -> None:
        channel: IO[str] | None = self._process.stdin
        assert channel is not None
        channel.write(json.dumps(command) + "\n")
        channel.flush()

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        channel: IO[str] | None = self._process.stdout
        assert channel is not None
        try:
            self._write(command)
            line = channel.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            return {"error": f"its process ended ({self._process.wait(120)}); see {self.log}"}
        answer: dict[str, Any] = json.loads(line)
        return answer
