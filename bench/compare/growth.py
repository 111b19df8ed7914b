"""How what one looks at grows with what is stored: python -m bench.compare.growth --sizes 10000,100000

The query layer in process on stores of different sizes, without embeddings, in turns; loaded as by
`bench.compare --plain --keep`, which they are shared with. Everything shown is of the same length at every
size: a page of 50, one inference, a map's viewport around as many points. Counts and histograms are told
beside the rows they count.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from bench.compare.operations import END
from bench.compare.places import BUILD
from bench.compare.process import Process
from bench.compare.stores import contract_objects as ours
from bench.compare.stores.base import Store
from bench.compare.workload import CITIES, DAY, LABELS, SENSORS, Workload

SYSTEM = "inference_store_query"
POINTS = 300
"""In a map's viewport."""
ROUNDS, WARM, TIMED = 3, 2, 9
Call = Callable[[int], object]


def views(store: Any, workload: Workload) -> dict[str, Call]:
    """What is timed, by name; each is given a number from which it takes its parameters."""
    from inference_store.contract.filters import BaseInferenceFilter

    def page(filters: BaseInferenceFilter) -> object:
        return store.page(ours.newest(filters))

    identities = [workload.identity(each) for each in Random(0).sample(range(workload.size), 64)]
    viewports = [_viewport(workload, number) for number in range(9)]
    deep = _deep_request(store)
    return {
        "page": lambda number: page(BaseInferenceFilter()),
        "filtered page": lambda number: page(ours.of_sensor(SENSORS[number % len(SENSORS)])),
        "labelled page": lambda number: page(ours.with_entry([LABELS[number % 12]], 0.79995)),
        "deep page by cursor": lambda number: store.page(deep),
        "detail": lambda number: store.one(identities[number % len(identities)]),
        "map": lambda number: store.map_of(*viewports[number % len(viewports)]),
        "count of a rectangle": lambda number: store.count(_rectangle(number)),
        "histogram of a day": lambda number: store.statistics(
            ours.altitude_statistics(ours.in_window(END - (number % 20 + 1) * DAY, END - number % 20 * DAY))
        ),
    }


def _deep_request(store: Any) -> Any:
    """The page after a cursor, from the middle of everything."""
    from inference_store.contract.filters import BaseInferenceFilter

    middle = ours.newest(BaseInferenceFilter(), offset=store.size // 2)
    cursor = store.next_cursor(middle)
    first = ours.newest(BaseInferenceFilter())
    assert first.pagination is not None
    return first.model_copy(update={"pagination": first.pagination.model_copy(update={"cursor": cursor})})


def _viewport(workload: Workload, number: int) -> tuple[float, float, float, float]:
    """South, west, north, east of a square around a city with so many points."""
    north, east = CITIES[number].tolist()
    held = workload.columns
    away = np.maximum(np.abs(held.latitude - north), np.abs(held.longitude - east))
    reach = float(np.partition(away, POINTS)[POINTS])
    return north - reach, east - reach, north + reach, east + reach


def _rectangle(number: int) -> Any:
    north, east = CITIES[number % len(CITIES)].tolist()
    return ours.in_rectangle(north - 0.5, north + 0.7, east - 0.6, east + 0.8)


def timed(store: Store, workload: Workload) -> dict[str, Any]:
    """Milliseconds of each view, one list a round's turn; and how many rows the last two count."""
    found: dict[str, list[float]] = {}
    for name, view in views(store, workload).items():
        for number in range(WARM):
            view(number + TIMED)
        found[name] = []
        for number in range(TIMED):
            started = time.perf_counter()
            view(number)
            found[name].append((time.perf_counter() - started) * 1000)
    return found


def counted(workload: Workload) -> dict[str, float]:
    """How many rows the count and the histogram are of, medians over the variants."""
    held, created = workload.columns, workload.created
    in_boxes, in_days = [], []
    for number in range(TIMED):
        north, east = CITIES[number % len(CITIES)].tolist()
        high = (held.latitude >= north - 0.5) & (held.latitude <= north + 0.7)
        in_boxes.append(int((high & (held.longitude >= east - 0.6) & (held.longitude <= east + 0.8)).sum()))
        in_days.append(int(((created >= END - (number + 1) * DAY) & (created < END - number * DAY)).sum()))
    return {
        "count of a rectangle": statistics.median(in_boxes),
        "histogram of a day": statistics.median(in_days),
    }


def measure(sizes: list[int]) -> dict[int, dict[str, float]]:
    """Medians by size, over rounds in which the sizes take turns."""
    processes = {size: Process(SYSTEM, size, embedded=False, keep=True) for size in sizes}
    found: dict[int, dict[str, list[float]]] = {size: {} for size in sizes}
    try:
        for size, process in processes.items():
            loaded = process.load()
            if "error" in loaded:
                sys.exit(f"{size:,}: {loaded['error']}")
            print(f"{size:,}: {json.dumps(loaded)}", flush=True)
        for _ in range(ROUNDS):
            for size, process in processes.items():
                for name, times in process.grow().items():
                    found[size].setdefault(name, []).extend(times)
    finally:
        for process in processes.values():
            process.quit()
    return {
        size: {name: statistics.median(times) for name, times in each.items()} for size, each in found.items()
    }


def table(medians: dict[int, dict[str, float]], rows: dict[int, dict[str, float]]) -> str:
    sizes = sorted(medians)
    base = min((size for size in sizes if size >= 100_000), default=sizes[0])
    lines = [
        "| ms | " + " | ".join(f"{size:,}" for size in sizes) + f" | largest against {base:,} |",
        "|---" * (len(sizes) + 2) + "|",
    ]
    for name in medians[sizes[0]]:
        texts = [f"{medians[size][name]:.2f}" for size in sizes]
        if name in rows[sizes[0]]:
            texts = [
                f"{text} ({rows[size][name]:,.0f} rows)" for text, size in zip(texts, sizes, strict=True)
            ]
        ratio = medians[sizes[-1]][name] / medians[base][name]
        lines.append(f"| {name} | " + " | ".join(texts) + f" | {ratio:.2f} × |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m bench.compare.growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--out", type=Path, default=BUILD / "growth.md")
    asked = parser.parse_args()
    sizes = [int(size) for size in asked.sizes.split(",")]
    medians = measure(sizes)
    text = table(medians, {size: counted(Workload.open(size, embedded=False)) for size in sizes})
    asked.out.write_text(text)
    for size, found in medians.items():  # as plot.py reads them
        operations = {name: {"median_ms": median} for name, median in found.items()}
        results = {"n": size, "systems": {SYSTEM: {"operations": operations}}}
        asked.out.with_name(f"{asked.out.stem}-{size}.json").write_text(json.dumps(results, indent=1))
    print(text)


if __name__ == "__main__":
    main()
