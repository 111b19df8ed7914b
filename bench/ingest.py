"""Bulk ingest against single posts, through the SDK over HTTP, with the web processes' memory.

python bench/ingest.py --count 100000 --singles 500
"""

import argparse
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import inference_store.client as istore
from inference_store.client import inference, models, register

SIZE = 512
LABELS = [f"label-{number:02d}" for number in range(20)]


def requests(model_id: str, first: int, count: int) -> Iterator[models.NewInferenceStorageRequest]:
    """So many inferences, always the same."""
    for number in range(first, first + count):
        random = np.random.default_rng(number)
        scores, boxes = random.random(3), random.random((3, 4)) * 500
        metadata = istore.map_to_inference_store_metadata(
            {
                "sensor": f"sensor-{number % 12:02d}",
                "altitude": round(float(random.gamma(3, 800)), 2),
                "frame": number,
                "night": bool(number % 2),
                "weather": {"temp": round(float(random.normal(12, 9)), 1), "wind": {"speed": number % 30}},
            }
        )
        standard = {
            "data_hash": f"{number:064x}",
            "data_size": 20_000,
            "task_type": models.TaskType.OBJECT_DETECTION,
            "inference_action": models.InferenceAction.DETECT,
            "data_source": f"source-{number % 8}",
            "latitude": float(random.uniform(-80, 80)),
            "longitude": float(random.uniform(-180, 180)),
        }
        entries = [
            {
                "label": LABELS[(number + position) % 20],
                "score": round(float(scores[position]), 4),
                **dict(zip(("xmin", "ymin", "xmax", "ymax"), boxes[position].round(1).tolist(), strict=True)),
            }
            for position in range(3)
        ]
        embedding = random.standard_normal(SIZE).astype(np.float32)
        yield models.NewInferenceStorageRequest.model_validate(
            {
                "model_id": model_id,
                "inference_id": f"{number:08d}",
                "data": {
                    "object_detection": entries,
                    "embedding": [float(str(each)) for each in embedding],
                    "metadata": metadata | {"standard_metadata": standard},
                },
            }
        )


def web_processes_mib() -> float:
    """Resident memory of all processes that serve `inference_store.wsgi`, in MiB; 0 where /proc is none."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            if b"inference_store.wsgi" in command and b"gunicorn" in command:
                pages = int((process / "statm").read_text().split()[1])
                total += pages * 4096
        except OSError:
            continue  # it ended meanwhile
    return total / 2**20


class Memory(threading.Thread):
    """Watches the web processes' memory ten times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.before = web_processes_mib()
        self.highest = [0.0, 0.0]
        """Of the first half of the run, and of the second: flat where they are alike."""
        self.half = 0
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.1):
            self.highest[self.half] = max(self.highest[self.half], web_processes_mib())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--singles", type=int, default=300)
    parser.add_argument("--project", default="demo")
    arguments = parser.parse_args()
    model_id = "bench-ingest"
    register.register_model_for_inference_storage(
        models.NewRegisterModelRequest(
            model_id=model_id,
            project_id=arguments.project,
            task_type=models.TaskType.OBJECT_DETECTION,
            embedding_size=SIZE,
        )
    )
    everything = models.BaseInferenceFilter()
    inference.bulk_delete_inferences(model_id, everything)  # what a run that was cut off left
    try:
        singles = list(requests(model_id, 0, arguments.singles))
        started = time.perf_counter()
        for request in singles:
            inference.create_inference(model_id, request)
        single_rate = arguments.singles / (time.perf_counter() - started)
        memory = Memory()
        memory.start()
        making = sending = 0.0
        for first in range(arguments.singles, arguments.count + arguments.singles, 5_000):
            memory.half = int(first > arguments.count / 2)
            started = time.perf_counter()
            count = min(5_000, arguments.count + arguments.singles - first)
            batch = list(requests(model_id, first, count))
            making += time.perf_counter() - started
            started = time.perf_counter()
            inference.create_inferences(model_id, batch)
            sending += time.perf_counter() - started
        memory.done.set()
        stored = inference.count_inferences(model_id, models.NewGetInferencesRequest())
        assert stored == arguments.count + arguments.singles, stored
        bulk_rate = arguments.count / sending
        print(f"single posts    {single_rate:10,.0f} inferences/s   ({arguments.singles:,}, one client)")
        print(f"bulk endpoint   {bulk_rate:10,.0f} inferences/s   ({arguments.count:,}, one client)")
        print(f"ratio           {bulk_rate / single_rate:10.1f} ×")
        print(f"web processes   {memory.before:,.0f} MiB before; highest in the first half of the bulk run")
        print(f"                {memory.highest[0]:,.0f} MiB, in the second {memory.highest[1]:,.0f} MiB")
        print(f"(making the requests took another {making:,.1f} s, not counted)")
    finally:
        inference.bulk_delete_inferences(model_id, everything)


if __name__ == "__main__":
    main()
