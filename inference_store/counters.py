"""What is counted as it happens, for `/metrics`: over all processes of this machine, past the end of each.

Each process counts in files of its own below COUNTERS_ROOT, which are mapped into its memory; whoever is
asked adds all of them up. A process takes the first place that nobody holds, and counts on from what its last
holder left there: so nothing need be cleaned up after the dead, and no figure ever falls.
"""

import fcntl
import logging
import os
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from threading import Lock
from typing import IO

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from prometheus_client import CollectorRegistry, Counter, Histogram, values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from inference_store import calling
from inference_store.embedded import home

logger = logging.getLogger(__name__)

FILES = ("counter", "histogram")
"""As the library calls them."""
FILE_BYTES = 1 << 16
"""What a file is made with; all there is to count takes less."""
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
PROBE, STATIC = "probe", "static"


class Place:
    """This process's place among those that count here: a number that no other has meanwhile."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._process = 0
        self._number = 0
        self._lock: IO[bytes] | None = None

    def __call__(self) -> int:
        if self._process != os.getpid():  # at first, and after a fork
            self._take()
        return self._number

    def _take(self) -> None:
        if self._lock is not None:
            self._lock.close()  # the parent's, which holds it on
        for number in count():
            lock = (self.directory / f"{number}.lock").open("ab")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            self._lock, self._number, self._process = lock, number, os.getpid()
            break
        for kind in FILES:
            _prepare(self.directory / f"{kind}_{self._number}.db")


def _prepare(path: Path) -> None:
    """Its bytes are there before they are mapped: what a full disk can't take later would end the process."""
    if path.exists():
        try:
            list(MmapedDict.read_all_values_from_file(path))  # type: ignore[no-untyped-call]
        except Exception:  # noqa: BLE001  (whatever is wrong with it, it can't be counted on from)
            logger.warning("%s was torn, as by a loss of power: it begins anew.", path.name)
            path.unlink()
    with path.open("ab") as file:
        os.posix_fallocate(file.fileno(), 0, FILE_BYTES)


class Counts:
    """The figures of this process."""

    def __init__(self) -> None:
        self.directory = Path(settings.COUNTERS_ROOT)
        self.are_shared = True
        try:
            home.make_directory(self.directory)
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(self.directory)
            place = Place(self.directory)
            values.ValueClass = values.MultiProcessValue(place)  # type: ignore[no-untyped-call]
        except OSError as error:
            logger.warning("Each process counts for itself: %s can't be written (%s).", self.directory, error)
            self.are_shared = False
            values.ValueClass = values.MutexValue
        self.own = CollectorRegistry()
        self.requests = Counter(
            "inference_store_requests",
            "Requests that were answered.",
            ["door", "method", "status"],
            registry=self.own,
        )
        self.seconds = Histogram(
            "inference_store_request_seconds",
            "From a request's arrival to the beginning of its answer.",
            ["door"],
            registry=self.own,
            buckets=SECONDS,
        )
        self.stored = Counter(
            "inference_store_inferences_stored", "Inferences that were stored.", registry=self.own
        )
        self.blob_errors = Counter(
            "inference_store_blob_errors",
            "Reads and writes that the blob store failed.",
            ["reason"],
            registry=self.own,
        )
        self.wrong_tokens = Counter(
            "inference_store_wrong_tokens",
            "Calls of the API with a token that nobody holds.",
            registry=self.own,
        )
        self.reads = Counter(
            "inference_store_reads",
            "Reads that a replica may serve, by the server that did.",
            ["server"],
            registry=self.own,
        )

    def registry(self) -> CollectorRegistry:
        """What all processes of this machine have counted."""
        return gathered(self.directory) if self.are_shared else self.own


def gathered(directory: Path) -> CollectorRegistry:
    """What those that count there have counted."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(directory))  # type: ignore[no-untyped-call]
    return registry


_making = Lock()
_made: list[Counts] = []


def counts() -> Counts:
    """Made when something is first counted, once a process."""
    return _made[0] if _made else _make()


def _make() -> Counts:
    with _making:  # or threads that come at once would count in two places
        if not _made:
            _made.append(Counts())
    return _made[0]


def stored(number: int) -> None:
    """So many inferences were stored."""
    if number:
        counts().stored.inc(number)


def blob_failed(reason: str) -> None:
    """The blob store was `away`, `full`, or refused by the `disk`."""
    counts().blob_errors.labels(reason).inc()


def wrong_token() -> None:
    """Somebody called with a token that nobody holds."""
    counts().wrong_tokens.inc()


def read_from(server: str) -> None:
    """The `replica` or the `primary` served what either might have."""
    counts().reads.labels(server).inc()


def _door(path: str) -> str:
    if path in calling.PROBES:
        return PROBE
    return STATIC if path.startswith(settings.STATIC_URL) else calling.door(path)


def middleware(
    answer: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Outermost: counts each answer by its door, method and class of status, and how long it took."""

    def counted(request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        response = answer(request)
        taken = time.perf_counter() - began
        door = _door(request.path_info)
        method = request.method if request.method in METHODS else "other"
        figures = counts()
        figures.requests.labels(door, method, f"{response.status_code // 100}xx").inc()
        figures.seconds.labels(door).observe(taken)
        return response

    return counted
