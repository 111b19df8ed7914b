"""What HTTP and the SDK add to a query: python -m bench.compare.overhead --n 100000

A page of 50 with metadata and embeddings, and one of a model without embeddings, timed in turns as
- the query layer in process, objects built;
- the page over HTTP, its bytes only, and read into objects by the SDK;
- the same bytes from a view that does nothing else, through the same web server, both ways again;
and a page of a day, a count by metadata and a histogram, in process and by the SDK.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

import inference_store.client as istore
from bench.compare import cpu
from bench.compare.places import STORES
from bench.compare.stores import contract_objects as ours
from bench.compare.stores import servers
from bench.compare.stores.inference_store_http import Adapter
from bench.compare.worker import Worker
from bench.compare.workload import DAY, SENSORS, START, VERSION, Workload
from inference_store.client import inference, metadata
from inference_store.client.connection import API_PATH
from inference_store.contract.filters import BaseInferenceFilter, NewGetInferencesRequest

ROUNDS, CALLS, WARM_CALLS = 9, 20, 3
Timed = Callable[[], object]


@dataclass(frozen=True)
class Cost:
    """Of one call, in milliseconds: the median by the clock, and the mean of CPU by whose it is."""

    clock: float
    cpu: dict[str, float]

    @property
    def whole_cpu(self) -> float:
        return sum(self.cpu.values())


def measure(timed: dict[str, Timed]) -> dict[str, Cost]:
    """What each costs, over rounds in which they take turns."""
    found: dict[str, list[float]] = {name: [] for name in timed}
    used: dict[str, Counter[str]] = {name: Counter() for name in timed}
    for _ in range(ROUNDS):
        for name, call in timed.items():
            for _ in range(WARM_CALLS):
                call()
            before = cpu.spent()
            for _ in range(CALLS):
                started = time.perf_counter()
                call()
                found[name].append((time.perf_counter() - started) * 1000)
            used[name].update(cpu.milliseconds(before, cpu.spent()))
    calls = ROUNDS * CALLS
    return {
        name: Cost(statistics.median(times), {kind: used[name][kind] / calls for kind in used[name]})
        for name, times in found.items()
    }


@contextmanager
def static_server(content: bytes) -> Iterator[str]:
    """The address of a web server like the store's that always answers with these bytes."""
    with tempfile.TemporaryDirectory() as directory:
        file, port = Path(directory, "answer.json"), servers.free_port()
        file.write_bytes(content)
        command = [
            *(sys.executable, "-m", "gunicorn", "bench.compare.static_view", "--bind", f"127.0.0.1:{port}"),
            *("--workers", "2", "--worker-class", "gthread", "--threads", "8", "--keep-alive", "5"),
            *("--log-level", "warning", "--no-control-socket"),
        ]
        server = servers.start(command, {"BENCH_STATIC_FILE": str(file)})
        try:
            servers.wait_for(port, lambda: server.poll() is None)
            yield f"http://127.0.0.1:{port}"
        finally:
            servers.stop(server)


def costs(store: Adapter) -> tuple[int, dict[str, Cost]]:
    """The length of the page in bytes, and what each way costs."""
    from inference_store.models import RegisteredModel
    from inference_store.query import pages, statistics

    model = RegisteredModel.objects.get(model_id=ours.MODEL_ID)
    # As the SDK asks, so that all ways answer the same bytes.
    request = ours.newest(BaseInferenceFilter()).model_copy(update={"embeddings": "base64"})
    day = ours.newest(ours.in_window(START + 4 * DAY, START + 5 * DAY))
    some = NewGetInferencesRequest(filters=ours.of_sensor(SENSORS[0]))
    bins = ours.altitude_statistics(ours.in_window(START, START + 7 * DAY))
    headers = {"Authorization": f"Bearer {store.token}", "Content-Type": "application/json"}
    body = request.model_dump_json(exclude_none=True).encode()
    path = f"{API_PATH}/models/{ours.MODEL_ID}/search"
    with httpx.Client(headers=headers, timeout=60) as client:
        answered = client.post(store.url + path, content=body)
        answered.raise_for_status()
        with static_server(answered.content) as static:

            def read(address: str) -> object:
                istore.connect(address, store.token)
                return inference.filter_inferences(ours.MODEL_ID, request)

            def asked(call: Timed) -> object:
                istore.connect(store.url, store.token)
                return call()

            # One process has one connection by the SDK: each of its turns opens its own while it warms up.
            timed: dict[str, Timed] = {
                "query layer, objects built": lambda: pages.inference_page(model, request),
                "over HTTP, bytes": lambda: client.post(store.url + path, content=body).content,
                "over HTTP, objects read": lambda: read(store.url),
                "static view, bytes": lambda: client.post(static + path, content=body).content,
                "static view, objects read": lambda: read(static),
                "newest of a day, query layer": lambda: pages.inference_page(model, day),
                "count, query layer": lambda: pages.count_inferences(model, some),
                "count, over HTTP": lambda: asked(lambda: inference.count_inferences(ours.MODEL_ID, some)),
                "histogram, query layer": lambda: statistics.metadata_statistics(model, bins),
                "histogram, over HTTP": lambda: asked(
                    lambda: metadata.get_metadata_statistics(ours.MODEL_ID, bins)
                ),
            }
            return len(answered.content), measure(timed)


def report(size: int, embedded: bool) -> str:
    directory = STORES / f"overhead-{VERSION}-{size}-{'embedded' if embedded else 'plain'}"
    directory.mkdir(parents=True, exist_ok=True)
    store = Adapter(directory, size, embedded=embedded)
    try:
        Worker(store, Workload.open(size, embedded=embedded), directory).load()
        length, found = costs(store)
    finally:
        store.close()
    kind = "with embeddings" if embedded else "without embeddings"
    lines = [
        f"| a page of 50 {kind}, {length:,} bytes | ms | CPU, ms | client, web, PostgreSQL |",
        "|---|---|---|---|",
    ]
    for name, cost in found.items():
        parts = ", ".join(f"{milliseconds:.2f}" for milliseconds in cost.cpu.values())
        lines.append(f"| {name} | {cost.clock:.2f} | {cost.whole_cpu:.2f} | {parts} |")
    for way in ("bytes", "objects read"):
        whole, static = found[f"over HTTP, {way}"], found[f"static view, {way}"]
        by_clock, by_cpu = whole.clock / static.clock, whole.whole_cpu / static.whole_cpu
        lines.append(f"| over HTTP against the static view, {way} | {by_clock:.2f} × | {by_cpu:.2f} × | |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m bench.compare.overhead",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--n", type=int, default=20_000)
    parser.add_argument("--plain", action="store_true", help="without embeddings")
    asked = parser.parse_args()
    print(report(asked.n, not asked.plain))


if __name__ == "__main__":
    main()
