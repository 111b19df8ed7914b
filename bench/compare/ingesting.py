"""What ingest costs: python -m bench.compare.ingesting --singles 800 --bulk 15000

Inferences of the workload go through a store of its own by the SDK: one by one by one client and by eight
threads, then many at once. Microseconds of CPU for each: of client, web processes, PostgreSQL; and the rate.
"""

import argparse
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from bench.compare import cpu
from bench.compare.places import STORES
from bench.compare.stores import contract_objects as ours
from bench.compare.stores.inference_store_http import Adapter
from bench.compare.workload import Workload
from inference_store.client import inference
from inference_store.contract.inferences import NewInferenceStorageRequest

SIZE = 20_000
THREADS = 8
WARM = 40


def measure(name: str, count: int, act: Callable[[], object]) -> str:
    before, started = cpu.spent(), time.perf_counter()
    act()
    seconds = time.perf_counter() - started
    used = [each / count * 1000 for each in cpu.milliseconds(before, cpu.spent()).values()]
    return f"| {name} | {' | '.join(f'{each:,.0f}' for each in (*used, sum(used), count / seconds))} |"


def report(singles: int, bulk: int) -> str:
    directory = STORES / "ingesting"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    workload, store = Workload.open(SIZE), Adapter(directory, SIZE, embedded=True)
    place = 0

    def made(count: int) -> list[NewInferenceStorageRequest]:
        nonlocal place
        first, place = place, place + count
        return ours.storage_requests(workload.records(first, place), workload.vectors(first, place))

    def post(request: NewInferenceStorageRequest) -> None:
        inference.create_inference(ours.MODEL_ID, request)

    lines = [
        "| µs of CPU each | client | web | PostgreSQL | together | a second |",
        "|---|---|---|---|---|---|",
    ]
    try:
        store.open(new=True)
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(post, made(WARM)))
            alone, together, many = made(singles // THREADS), made(singles), made(bulk)
            lines.append(measure("single posts, one client", len(alone), lambda: list(map(post, alone))))
            name = f"single posts, {THREADS} threads"
            lines.append(measure(name, singles, lambda: list(pool.map(post, together))))
            lines.append(measure("bulk", bulk, lambda: inference.create_inferences(ours.MODEL_ID, many)))
    finally:
        store.close()
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m bench.compare.ingesting",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--singles", type=int, default=800)
    parser.add_argument("--bulk", type=int, default=15_000)
    asked = parser.parse_args()
    print(report(asked.singles, asked.bulk))


if __name__ == "__main__":
    main()
