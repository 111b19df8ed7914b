"""What HTTP and the SDK add to a query: python -m bench.compare.overhead --n 100000

A page of 50 with metadata and embeddings, and one of a model without embeddings, timed in turns as
- the query layer in process, objects built;
- the page over HTTP, its bytes only, and read into objects by the SDK;
- the same bytes from a view that does nothing else, through the same web server, both ways again.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

import inference_store.client as istore
from bench.compare.places import STORES
from bench.compare.stores import contract_objects as ours
from bench.compare.stores import servers
from bench.compare.stores.inference_store_http import Adapter
from bench.compare.worker import Worker
from bench.compare.workload import VERSION, Workload
from inference_store.client import inference
from inference_store.client.connection import API_PATH
from inference_store.contract.filters import BaseInferenceFilter

ROUNDS, CALLS, WARM_CALLS = 9, 20, 3
Timed = Callable[[], object]


def measure(timed: dict[str, Timed]) -> dict[str, float]:
    """The median milliseconds of each, over rounds in which they take turns."""
    found: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(ROUNDS):
        for name, call in timed.items():
            for number in range(WARM_CALLS + CALLS):
                started = time.perf_counter()
                call()
                if number >= WARM_CALLS:
                    found[name].append((time.perf_counter() - started) * 1000)
    return {name: statistics.median(times) for name, times in found.items()}


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


def page_times(store: Adapter) -> tuple[int, dict[str, float]]:
    """The length of the page in bytes, and milliseconds by way."""
    from inference_store.models import RegisteredModel
    from inference_store.query import pages

    model = RegisteredModel.objects.get(model_id=ours.MODEL_ID)
    # As the SDK asks, so that all ways answer the same bytes.
    request = ours.newest(BaseInferenceFilter()).model_copy(update={"embeddings": "base64"})
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

            # One process has one connection by the SDK: each of its turns opens its own while it warms up.
            timed: dict[str, Timed] = {
                "query layer, objects built": lambda: pages.inference_page(model, request),
                "over HTTP, bytes": lambda: client.post(store.url + path, content=body).content,
                "over HTTP, objects read": lambda: read(store.url),
                "static view, bytes": lambda: client.post(static + path, content=body).content,
                "static view, objects read": lambda: read(static),
            }
            return len(answered.content), measure(timed)


def report(size: int, embedded: bool) -> str:
    directory = STORES / f"overhead-{VERSION}-{size}-{'embedded' if embedded else 'plain'}"
    directory.mkdir(parents=True, exist_ok=True)
    store = Adapter(directory, size, embedded=embedded)
    try:
        Worker(store, Workload.open(size, embedded=embedded), directory).load()
        length, times = page_times(store)
    finally:
        store.close()
    kind = "with embeddings" if embedded else "without embeddings"
    lines = [f"| a page of 50 {kind}, {length:,} bytes | ms |", "|---|---|"]
    lines += [f"| {name} | {milliseconds:.2f} |" for name, milliseconds in times.items()]
    query = times["query layer, objects built"]
    for way in ("bytes", "objects read"):
        whole, static = times[f"over HTTP, {way}"], times[f"static view, {way}"]
        lines.append(f"| over HTTP against the static view, {way} | {whole / static:.2f} × |")
        lines.append(f"| over HTTP against query and static view, {way} | {whole / (query + static):.2f} × |")
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
