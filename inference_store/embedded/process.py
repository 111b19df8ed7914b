"""Starting, watching and ending the processes that one command supervises."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from inference_store.embedded import home

LOG_MAXIMUM_BYTES = 8 * 2**20
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class DiedError(RuntimeError):
    """A process ended that should have served."""


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    on_parent_death: signal.Signals,
    environment: Mapping[str, str] | None = None,
    directory: Path = Path("/"),
    account: home.Account | None = None,
    keep_open: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that the terminal's Ctrl-C reaches the supervisor alone."""
    with open_log(log) as output:
        return subprocess.Popen(  # noqa: S603
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=directory,
            pass_fds=keep_open,
            start_new_session=True,
            preexec_fn=follow_parent(on_parent_death),
            **as_account(account),
        )  # nosec B603


def as_account(account: home.Account | None) -> dict[str, Any]:
    """The arguments of subprocess that drop root's powers; none for running as ourselves."""
    return {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}


def follow_parent(with_signal: signal.Signals) -> Callable[[], None]:
    """What a child runs before its program, so that the kernel ends it with its parent, kill -9 included.

    "Parent" is the thread that forked: only a main thread may use it. Only Linux has this.
    """
    parent = os.getpid()

    def follow() -> None:
        for number in (
            signal.SIGINT,
            signal.SIGQUIT,
        ):  # a shell ignores these for what runs in its background
            signal.signal(number, signal.SIG_DFL)
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, int(with_signal))
            if os.getppid() != parent:  # it died before the line above
                os._exit(1)

    return follow


def stop(process: subprocess.Popen[bytes], with_signal: signal.Signals, seconds: float) -> None:
    """Ask it to end and wait for that; then end what is left of its group, itself included."""
    process.send_signal(with_signal)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def open_log(path: Path) -> IO[bytes]:
    """The log to append to; a long one is put aside first."""
    home.make_directory(path.parent)
    if path.exists() and path.stat().st_size > LOG_MAXIMUM_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return open(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "ab")


def last_lines(log: Path, count: int = 12) -> str:
    """The end of a log, for saying why its process died."""
    try:
        with open(log, errors="replace") as file:
            return "".join(deque(file, count)).rstrip()
    except FileNotFoundError:
        return ""
