"""CPU time of this process and of the servers below it, which other work disturbs less than the clock."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

Spent = dict[tuple[str, int], float]
"""Seconds by kind and process."""
KINDS = {"web": b"gunicorn", "PostgreSQL": b"postgres"}


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended meanwhile
        found.setdefault(parent, []).append(int(stat.parent.name))
    return found


def _below(roots: Iterable[int]) -> set[int]:
    children, found, waiting = _children(), set[int](), list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, [])
    return found


def _seconds(pid: int) -> float:
    """Of all its threads."""
    nanoseconds = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        nanoseconds += int(task.read_text().split()[0])
    return nanoseconds / 1e9


def spent() -> Spent:
    """Seconds of CPU until now: of this process, and of each web server and database below it."""
    seconds = {("client", os.getpid()): time.process_time()}
    for pid in _below([os.getpid()]) - {os.getpid()}:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            kind = next((kind for kind, word in KINDS.items() if word in command), None)
            if kind is not None:
                seconds[kind, pid] = _seconds(pid)
        except OSError:
            continue  # it has ended meanwhile
    return seconds


def milliseconds(before: Spent, after: Spent) -> dict[str, float]:
    """What each kind has used between two looks; what has ended meanwhile does not count."""
    used = dict.fromkeys(("client", *KINDS), 0.0)
    for process, seconds in after.items():
        used[process[0]] += (seconds - before.get(process, 0.0)) * 1000
    return used
