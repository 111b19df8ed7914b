"""An export by the running store's worker, against a plain loop that zips the same files.

python -m bench.exports --count 20000 --size 20000
"""

import argparse
import json
import tempfile
import threading
import time
import zipfile
from pathlib import Path

from bench.inside import emptied

# isort: split

from inference_store import blobs
from inference_store.client import export_task, models
from inference_store.client.verification import check_archive
from inference_store.models import Export, Inference, RegisteredModel
from inference_store.services import exports
from tests.jobs.stock import stock


def worker_mib() -> float:
    """Resident memory of the worker's largest process, in MiB."""
    found = [0.0]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
            if b"inference_store.celery" in command and b"worker" in command:
                found.append(int((process / "statm").read_text().split()[1]) * 4096 / 2**20)
        except OSError:
            continue  # it ended meanwhile
    return max(found)


class Memory(threading.Thread):
    """Watches the worker's memory ten times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.before = self.highest = worker_mib()
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.1):
            self.highest = max(self.highest, worker_mib())


def by_the_store(model_id: str) -> Export:
    """The finished export, with annotations and metadata."""
    request = models.NewExportTaskRequest(
        include_inferences_as_annotations=True, include_custom_metadata=True
    )
    task = export_task.create_export_task(model_id, request)
    assert task is not None
    while task.state not in ("complete", "failed", "stopped"):
        time.sleep(0.2)
        task = export_task.get_export_task(model_id, task.id)
        assert task is not None
    assert task.state == "complete", task.error
    return Export.objects.get(pk=task.id)


def by_a_plain_loop(model: RegisteredModel, path: Path) -> float:
    """Seconds for what one would write in an afternoon: the inputs stored, and a line of metadata each."""
    began = time.perf_counter()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        lines = []
        for inference in Inference.objects.filter(registered_model=model).order_by("pk").iterator():
            name = f"data/{inference.inference_id}.bin"
            assert inference.data_storage_key is not None
            with blobs.open_blob(inference.data_storage_key) as file:
                archive.writestr(name, file.read())
            lines.append(json.dumps({"path": name, "metadata": inference.metadata}))
        archive.writestr("metadata.jsonl", "\n".join(lines))
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=20_000, help="bytes of an input")
    parser.add_argument("--project", default="demo")
    arguments = parser.parse_args()
    with emptied("bench-exports", arguments.project) as model:
        stock(model, arguments.count, size=arguments.size)
        memory = Memory()
        memory.start()
        export = by_the_store(model.model_id)
        memory.done.set()
        assert None not in (export.finished_at, export.started_at, export.archive_key)
        seconds = (export.finished_at - export.started_at).total_seconds()
        with blobs.open_blob(export.archive_key) as file:
            assert check_archive(file.name).inference_count == arguments.count
        with tempfile.TemporaryDirectory() as directory:
            plain = by_a_plain_loop(model, Path(directory) / "plain.zip")
        Export.objects.filter(pk=export.pk).update(expires_at=export.created_at)
        exports.expire_archives()
        print(f"export          {arguments.count / seconds:10,.0f} inferences/s   ({export.size:,} bytes)")
        print(f"plain loop      {arguments.count / plain:10,.0f} inferences/s")
        print(f"ratio           {plain / seconds:10.2f}")
        print(f"worker          {memory.before:,.0f} MiB before, {memory.highest:,.0f} MiB at the highest")


if __name__ == "__main__":
    main()
