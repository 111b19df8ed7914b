"""Measures this store beside others on one workload, and checks every answer.

python -m bench.compare --n 100000 --stores inference_store_query,duckdb,sqlite_vec

Systems are loaded one after the other, then each operation is timed in turns. Results go to
build/bench/<tag>.json and <tag>.md. Other systems are installed by: python -m bench.compare.install duckdb …
"""

import argparse
import json
import os
import platform
import sys
from typing import Any

from bench.compare.answers import Answers
from bench.compare.install import systems
from bench.compare.measuring import measure, operations_of, warm_up
from bench.compare.operations import OPERATIONS
from bench.compare.places import BUILD
from bench.compare.process import OURS, Process, is_available
from bench.compare.report import table
from bench.compare.workload import Workload


def main() -> None:
    asked = _arguments()
    wanted = asked.stores.split(",") if asked.stores else [*OURS, *systems()]
    if unknown := set(wanted) - {*OURS, *systems()}:
        sys.exit(f"There is no {', '.join(sorted(unknown))}; there are {', '.join([*OURS, *systems()])}.")
    operations = operations_of(asked.ops)
    if asked.keep and not asked.ops:
        operations = [operation for operation in operations if not operation.is_delete]
    skipped = [name for name in wanted if not is_available(name)]
    embedded = not asked.plain
    workload = Workload.open(asked.n, embedded=embedded)
    if not embedded:
        operations = [operation for operation in operations if not operation.is_search]
    results: dict[str, Any] = {
        "n": asked.n,
        "embedded": embedded,
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "python": sys.version.split()[0]},
        "operations": [operation.code for operation in operations],
        "skipped": skipped,
        "systems": {},
    }
    processes: list[Process] = []
    try:
        for name in wanted:
            if name not in skipped:
                process = Process(name, asked.n, embedded=embedded, keep=asked.keep)
                processes.append(process)
                loaded = process.load()
                print(f"{name}: {json.dumps(loaded)}", flush=True)
                results["systems"][name] = {"loaded": loaded, "operations": {}}
        running = [each for each in processes if "error" not in results["systems"][each.system]["loaded"]]
        answers = Answers(workload)
        if asked.keep:
            warm_up(running, operations)
        for operation in operations:
            found = measure(running, operation, answers)
            for system, measured in found.items():
                results["systems"][system]["operations"][operation.code] = measured.as_plain()
            medians = {system: measured.median for system, measured in found.items()}
            print(operation.code, json.dumps(medians), flush=True)
    finally:
        for process in processes:
            process.quit()
    _write(asked.tag or f"compare-{asked.n}", results)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m bench.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=100_000, help="how many inferences")
    parser.add_argument("--stores", default="", help="which systems; without it all that are installed")
    parser.add_argument("--ops", default="", help=f"which operations of {','.join(OPERATIONS)}")
    parser.add_argument("--tag", default="", help="the name of the results")
    parser.add_argument("--plain", action="store_true", help="without embeddings")
    parser.add_argument("--keep", action="store_true", help="use what an earlier run has loaded; no deletes")
    return parser.parse_args()


def _write(tag: str, results: dict[str, Any]) -> None:
    text = table(results)
    (BUILD / f"{tag}.json").write_text(json.dumps(results, indent=1))
    (BUILD / f"{tag}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
