"""One system in its own process: commands in on the standard input, answers out, JSON by lines."""

import importlib
import json
import os
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.compare.operations import OPERATIONS
from bench.compare.stores.base import Answer, Store
from bench.compare.workload import Workload

SINGLES = 200
MOST_SECONDS = 10.0
"""For single inserts: whichever ends first."""
DETAILS = "loaded.json"


class Worker:
    """A store, and the workload that it holds."""

    def __init__(self, store: Store, workload: Workload, directory: Path) -> None:
        self.store = store
        self.workload = workload
        self.directory = directory

    def load(self) -> dict[str, Any]:
        """Store everything, or open what an earlier run has stored."""
        kept = self.directory / DETAILS
        new = not kept.exists()
        self.store.open(new=new)
        if new:
            kept.write_text(json.dumps(self._ingest()))
        details: dict[str, Any] = json.loads(kept.read_text())
        return {
            **details,
            "version": self.store.version,
            "kind": self.store.kind,
            "emulated": sorted(self.store.emulated),
        }

    def _ingest(self) -> dict[str, Any]:
        size, embedded = self.workload.size, self.workload.embeddings is not None
        if self.store.fills_at(self.workload):
            self.store.fill(self.workload)
            return {"embedded": embedded, "filled": True, **self._finish(size)}
        alone, alone_rate = self._insert_singly(0, 1)
        done, together_rate = alone, None
        if self.store.clients > 1:
            more, together_rate = self._insert_singly(done, self.store.clients)
            done += more
        seconds, first_batch = 0.0, done
        while done < size:
            after = min(done + self.store.batch_size, size)
            records, vectors = self.workload.records(done, after), self.workload.vectors(done, after)
            started = time.perf_counter()
            self.store.insert(records, vectors)
            seconds += time.perf_counter() - started
            done = after
        finished = self._finish(size)
        return {
            "embedded": embedded,
            "singles_per_second": alone_rate,
            "clients": self.store.clients,
            "singles_per_second_together": together_rate,
            "batched_per_second": (size - first_batch) / seconds,
            "loaded_per_second": (size - first_batch) / (seconds + finished["finish_seconds"]),
            **finished,
        }

    def _finish(self, size: int) -> dict[str, Any]:
        started = time.perf_counter()
        self.store.finish()
        finishing = time.perf_counter() - started
        held = self.store.bytes_held()
        return {"finish_seconds": finishing, "bytes_each": {part: held[part] / size for part in held}}

    def _insert_singly(self, first: int, clients: int) -> tuple[int, float]:
        """How many inferences were stored one by one, and how many a second."""
        count = min(SINGLES * clients, self.workload.size // 10)
        records = self.workload.records(first, first + count)
        vectors = self.workload.vectors(first, first + count)
        end = time.perf_counter() + MOST_SECONDS

        def insert(number: int) -> int:
            if time.perf_counter() > end:
                return 0
            self.store.insert_one(records[number], None if vectors is None else vectors[number])
            return 1

        started = time.perf_counter()
        if clients == 1:  # not by a thread: some systems belong to the thread that opened them
            stored = [insert(number) for number in range(count)]
        else:
            with ThreadPoolExecutor(clients) as pool:
                stored = list(pool.map(insert, range(count)))
        seconds = time.perf_counter() - started
        # Those that the time did not suffice for; they don't count.
        for number in (number for number, done in enumerate(stored) if not done):
            self.store.insert_one(records[number], None if vectors is None else vectors[number])
        return count, sum(stored) / seconds

    def run(self, code: str, variant: int) -> dict[str, Any]:
        """One variant of an operation: milliseconds, a query's where it is several, and the answer."""
        operation = OPERATIONS[code]
        method = getattr(self.store, operation.method, None)
        if method is None or (operation.is_search and not self.store.embedded):
            return {"impossible": True}
        if operation.is_delete:
            (self.directory / DETAILS).unlink(missing_ok=True)  # another run can't use what is left
        parameters = dict(operation.variants(self.workload)[variant])
        if not operation.is_search:
            started = time.perf_counter()
            answer = method(**parameters)
            milliseconds = (time.perf_counter() - started) * 1000
            return {"milliseconds": milliseconds, "answer": self._plain(answer)}
        queries = self.workload.queries[slice(*parameters.pop("queries"))]
        started = time.perf_counter()
        answers = [method(vector, **parameters) for vector in queries]
        milliseconds = (time.perf_counter() - started) * 1000 / len(queries)
        neighbours = [[self.store.plain(record)["id"] for record in each.records] for each in answers]
        return {"milliseconds": milliseconds, "answer": {"neighbours": neighbours}}

    def _plain(self, answer: Answer) -> dict[str, Any]:
        plain: dict[str, Any] = {"count": answer.count}
        plain |= {"histogram": answer.histogram, "values": answer.values}
        if answer.records is not None:
            plain["records"] = [self.store.plain(record) for record in answer.records]
        return plain


def _worker(system: str, size: int, directory: Path, *, embedded: bool) -> Worker:
    adapter = importlib.import_module(f"bench.compare.stores.{system}").Adapter
    store = adapter(directory, size, embedded=embedded)
    return Worker(store, Workload.open(size, embedded=embedded), directory)


def _answer(worker: Worker, command: dict[str, Any]) -> dict[str, Any]:
    match command["do"]:
        case "load":
            return worker.load()
        case "grow":
            from bench.compare import growth  # other systems' environments have no contract

            return growth.timed(worker.store, worker.workload)
        case _:
            return worker.run(*command["operation"])


def main() -> None:
    system, size, directory, kind = sys.argv[1:]
    # What systems print goes to the log: this channel is for answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker: Worker | None = None
    try:
        for line in sys.stdin:
            command = json.loads(line)
            if command["do"] == "quit":
                break
            try:
                if worker is None:
                    worker = _worker(system, int(size), Path(directory), embedded=kind == "embedded")
                answer = _answer(worker, command)
            except Exception as error:  # noqa: BLE001  (whatever a system raises is its answer)
                traceback.print_exc()
                answer = {"error": f"{type(error).__name__}: {error}"[:300]}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
    finally:
        if worker is not None:
            worker.store.close()


if __name__ == "__main__":
    main()
