"""One foreground command that keeps a handful of servers running, and ends them all with itself."""

import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Protocol

from inference_store.embedded import home, process

DEATHS_MAXIMUM = 5
DEATHS_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 8.0
STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Service(Protocol):
    """What is kept running."""

    name: str

    @property
    def log(self) -> Path: ...

    def start(self) -> None: ...

    def poll(self) -> int | None:
        """The exit status, None while it runs."""

    def stop(self) -> None: ...


@dataclass
class Program:
    """One of our own processes."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    stop_seconds: float
    on_parent_death: signal.Signals
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return home.logs() / f"{self.name}.log"

    def start(self) -> None:
        self.process = process.spawn(
            self.command,
            log=self.log,
            on_parent_death=self.on_parent_death,
            environment=self.environment,
            directory=home.CHECKOUT,
        )

    def poll(self) -> int | None:
        return self.process.poll() if self.process else 0

    def stop(self) -> None:
        if self.process:
            process.stop(self.process, signal.SIGTERM, self.stop_seconds)
        self.process = None


@dataclass
class Kept:
    """A service with the times of its deaths."""

    service: Service
    deaths: deque[float] = field(default_factory=lambda: deque(maxlen=DEATHS_MAXIMUM))
    restart_at: float | None = None

    def died(self, now: float) -> float:
        """Note a death; the pause before the next start, longer each time while deaths are near."""
        while self.deaths and now - self.deaths[0] > DEATHS_SECONDS:
            self.deaths.popleft()
        self.deaths.append(now)
        pause = min(2.0 ** (len(self.deaths) - 2), LONGEST_PAUSE_SECONDS)
        self.restart_at = now + pause
        return pause

    @property
    def hopeless(self) -> bool:
        return len(self.deaths) == DEATHS_MAXIMUM


class Supervisor:
    """Starts services in order, restarts what dies, and stops all in a given order."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.kept: list[Kept] = []
        self.stopping = False
        self._interruptible = False
        self._bell, self._ringer = socket.socketpair()
        for end in (self._bell, self._ringer):
            end.setblocking(False)

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Take over the signals: those that stop, and the one that says that a child has ended."""
        signal.set_wakeup_fd(self._ringer.fileno(), warn_on_full_buffer=False)
        before = {number: signal.getsignal(number) for number in (*STOPPING_SIGNALS, signal.SIGCHLD)}
        for number in STOPPING_SIGNALS:
            if (number, before[number]) != (signal.SIGHUP, signal.SIG_IGN):  # as nohup leaves it
                signal.signal(number, self._on_stop)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)  # so that it rings the bell
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(-1)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Around work in this process that a stopping signal should break off."""
        if self.stopping:
            raise KeyboardInterrupt
        self._interruptible = True
        try:
            yield
        finally:
            self._interruptible = False

    def start(self, service: Service) -> None:
        """Start it and keep it running from now on."""
        began = time.monotonic()
        kept = Kept(service)
        self.kept.append(kept)
        service.start()
        attached = " was running already" if getattr(service, "attached", False) else " started"
        self.say(f"{service.name}{attached} ({time.monotonic() - began:.1f} s)")

    def turn(self, seconds: float) -> None:
        """Wait for an event or the time, then mend what has died."""
        now = time.monotonic()
        due = [kept.restart_at - now for kept in self.kept if kept.restart_at is not None]
        self._wait(max(0.0, min(seconds, *due)) if due else seconds)
        for kept in self.kept:
            if not self.stopping:
                self._mend(kept, time.monotonic())

    def stop(self, order: Sequence[str]) -> None:
        """Stop all: the named ones in this order, what else there is after them."""
        self.stopping = True
        position = {name: place for place, name in enumerate(order)}
        for kept in sorted(self.kept, key=lambda kept: position.get(kept.service.name, len(position))):
            kept.service.stop()
        self.kept.clear()

    def _mend(self, kept: Kept, now: float) -> None:
        service = kept.service
        if kept.restart_at is None:
            if (status := service.poll()) is None:
                return
            self._note_death(kept, f"{service.name} {_ended(status)}")
        elif now >= kept.restart_at:
            kept.restart_at = None
            try:
                with self.interruptible():
                    service.start()
            except (process.DiedError, home.UnusableError) as error:
                self._note_death(kept, str(error))
            else:
                self.say(f"{service.name} started again")

    def _note_death(self, kept: Kept, what: str) -> None:
        service = kept.service
        service.stop()  # what is left of it
        pause = kept.died(time.monotonic())
        if kept.hopeless:
            raise process.DiedError(
                f"{what}; it died {DEATHS_MAXIMUM} times within a minute. The end of {service.log}:\n"
                f"{process.last_lines(service.log)}"
            )
        self.say(f"{what}; starting it again in {pause:.1f} s (see {service.log})")

    def _wait(self, seconds: float) -> None:
        if not self.stopping and select.select([self._bell], [], [], seconds)[0]:
            with suppress(BlockingIOError):
                while self._bell.recv(1024):
                    pass

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True
        if self._interruptible:
            self._interruptible = False
            raise KeyboardInterrupt


@contextmanager
def only_one(address: str) -> Iterator[None]:
    """Hold the state directory's lock, or refuse, saying where the one that holds it is found."""
    path = home.make_directory(home.directory()) / "up.lock"
    with open(path, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise home.UnusableError(
                f"The store is running already{_holder(path)}, with its data in {home.directory()}: "
                "use that one, stop it first, or set INFERENCE_STORE_HOME elsewhere for a second store."
            ) from None
        file.truncate(0)
        file.write(json.dumps({"process": os.getpid(), "address": address}))
        file.flush()
        yield


def _holder(lock: Path) -> str:
    try:
        running = json.loads(lock.read_text())
        return f" at {running['address']} (process {running['process']})"
    except (ValueError, KeyError):  # it has only just begun
        return ""


def _ended(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    return f"was ended by {signal.Signals(-status).name}"
