"""Many clients explore at once while one ingests and one exports: python -m bench.compare.crowd --n 100000

Each explorer looks at a page, its count and a histogram, then thinks. First one alone, which is the idle
value, then all of them; who ingests and who exports are processes of their own, so that nobody waits for
another client. The store is this one as `make up` runs it, asked by its SDK; `--keep` uses the one that
`bench.compare --keep` has loaded.
"""

import argparse
import itertools
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from random import Random
from typing import Any

import inference_store.client as istore
from bench.compare.operations import OPERATIONS, Parameters
from bench.compare.places import STORES
from bench.compare.stores import contract_objects as ours
from bench.compare.stores.inference_store_http import SECONDS_AN_ANSWER, Adapter
from bench.compare.worker import DETAILS, Worker
from bench.compare.workload import VERSION, Workload
from inference_store.client import export_task, inference, metadata
from inference_store.contract.jobs import NewExportTaskRequest

THINKS_SECONDS = (1.0, 3.0)
IDLE_LOOKS = 100
INGESTED_AT_ONCE = 2_500
PAGES = {"Q1": ours.in_window, "Q2": ours.of_sensor, "Q5": ours.in_circle, "Q7": ours.with_entry}
"""The filters that explorers choose from."""
Times = dict[str, list[float]]
"""Seconds of each answer, by what was asked."""


@dataclass(frozen=True)
class Asked:
    """The store that another process is to ask, and how much the workload holds."""

    url: str
    token: str
    size: int


class Explorer:
    """Looks at the model as an analyst would, and keeps how long each answer took."""

    def __init__(self, workload: Workload, seed: int) -> None:
        self.random = Random(seed)
        self.asked = {code: OPERATIONS[code].variants(workload) for code in [*PAGES, "Q10"]}
        self.times: Times = {"page": [], "count": [], "histogram": []}

    def look(self) -> None:
        """One page with its count, and one histogram."""
        code = self.random.choice(list(PAGES))
        filters = PAGES[code](**self._variant(code))  # type: ignore[operator]
        request = ours.newest(filters)
        self._time("page", lambda: inference.filter_inferences(ours.MODEL_ID, request))
        self._time("count", lambda: inference.count_inferences(ours.MODEL_ID, request))
        asked = ours.altitude_statistics(ours.in_window(**self._variant("Q10")))
        self._time("histogram", lambda: metadata.get_metadata_statistics(ours.MODEL_ID, asked))

    def _variant(self, code: str) -> Parameters:
        return self.random.choice(self.asked[code])

    def _time(self, name: str, call: Callable[[], object]) -> None:
        started = time.perf_counter()
        call()
        self.times[name].append(time.perf_counter() - started)

    def explore(self, done: threading.Event) -> None:
        while not done.wait(self.random.uniform(*THINKS_SECONDS)):
            self.look()


class Background:
    """A process of its own that does something over and over."""

    def __init__(self, action: Callable[[Asked, Event], Iterator[int]], asked: Asked) -> None:
        context = get_context("spawn")
        self.done, self.told = context.Event(), context.Queue()
        self.process = context.Process(
            target=_repeat, args=(action, asked, self.done, self.told), daemon=True
        )
        self.process.start()
        self.told.get()

    def end(self) -> tuple[int, str | None]:
        """How often it was done, and the error that ended it."""
        self.done.set()
        found: tuple[int, str | None] = self.told.get()
        self.process.join()
        return found


def _repeat(
    action: Callable[[Asked, Event], Iterator[int]], asked: Asked, done: Event, told: "Queue[Any]"
) -> None:
    istore.connect(asked.url, asked.token, timeout=SECONDS_AN_ANSWER)
    total, error = 0, None
    steps = action(asked, done)
    told.put("ready")
    try:
        while not done.is_set():
            total += next(steps)
    except Exception as raised:  # noqa: BLE001  (told at the end)
        error = repr(raised)
    told.put((total, error))


def ingest(asked: Asked, done: Event) -> Iterator[int]:
    """Store what the workload holds once more, under other ids and as of now; how many each time."""
    workload, run = Workload.open(asked.size), time.time_ns()
    for first in itertools.cycle(range(0, asked.size - INGESTED_AT_ONCE, INGESTED_AT_ONCE)):
        records = workload.records(first, first + INGESTED_AT_ONCE)
        requests = ours.storage_requests(records, workload.vectors(first, first + INGESTED_AT_ONCE))
        run += 1
        new = {"created_at": datetime.now(UTC)}
        renamed = [
            request.model_copy(update={**new, "inference_id": f"{run}-{request.inference_id}"})
            for request in requests
        ]
        inference.create_inferences(ours.MODEL_ID, renamed)
        yield INGESTED_AT_ONCE


def export(asked: Asked, done: Event) -> Iterator[int]:
    """Export everything as it was when each began; how many inferences went into the archive."""
    while True:
        task = export_task.create_export_task(
            ours.MODEL_ID, NewExportTaskRequest(include_inferences_as_annotations=True)
        )
        assert task is not None
        while task.state not in ("complete", "failed", "stopped"):
            if done.wait(0.5):
                export_task.stop_export_task(ours.MODEL_ID, task.id)
            found = export_task.get_export_task(ours.MODEL_ID, task.id)
            assert found is not None
            task = found
        if task.state == "failed":
            raise RuntimeError(f"the export failed: {task.error}")
        yield task.progress_count


def percentile(seconds: list[float], share: float) -> float:
    return sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))]


def crowd(workload: Workload, asked: Asked, clients: int, seconds: float) -> tuple[Times, str]:
    """All at once, for so long; the times, and what happened beside them."""
    done = threading.Event()
    explorers = [Explorer(workload, seed) for seed in range(1, clients + 1)]
    beside = {"ingested": Background(ingest, asked), "exported": Background(export, asked)}
    with ThreadPoolExecutor(clients) as pool:
        exploring = [pool.submit(each.explore, done) for each in explorers]
        time.sleep(seconds)
        done.set()
    ended = {name: each.end() for name, each in beside.items()}
    errors = [repr(error) for each in exploring if (error := each.exception())]
    errors += [error for _, error in ended.values() if error]
    told = ", ".join(f"{name} {total / seconds:,.0f}/s" for name, (total, _) in ended.items())
    told = f"Meanwhile {told}; errors: {errors or 'none'}"
    names = explorers[0].times
    return {name: [one for each in explorers for one in each.times[name]] for name in names}, told


def report(idle: Times, meanwhile: Times, clients: int) -> list[str]:
    lines = [
        f"| ms | one client alone: median, p95 | {clients} clients: median, p95 | ratio of p95 |",
        "|---|---|---|---|",
    ]
    for name, alone in idle.items():
        both = (alone, meanwhile[name])
        values = [1000 * percentile(times, share) for times in both for share in (0.5, 0.95)]
        lines.append(
            f"| {name} | {values[0]:.1f}, {values[1]:.1f} | {values[2]:.1f}, {values[3]:.1f} "
            f"| {values[3] / values[1]:.1f} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m bench.compare.crowd",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--keep", action="store_true")
    asked = parser.parse_args()
    directory = STORES / f"inference_store_http-{VERSION}-{asked.n}-embedded"
    if not (asked.keep and (directory / DETAILS).exists()):
        shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, exist_ok=True)
    workload = Workload.open(asked.n)
    store = Adapter(directory, asked.n, embedded=True)
    try:
        Worker(store, workload, directory).load()
        (directory / DETAILS).unlink()  # what is ingested here belongs to no workload
        alone = Explorer(workload, 0)
        for _ in range(IDLE_LOOKS):
            alone.look()
        meanwhile, told = crowd(
            workload, Asked(store.url, store.token, asked.n), asked.clients, asked.seconds
        )
    finally:
        store.close()
        if not asked.keep:
            shutil.rmtree(directory)
    print("\n".join([*report(alone.times, meanwhile, asked.clients), "", told]))


if __name__ == "__main__":
    main()
