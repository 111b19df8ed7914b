"""What storing costs in CPU, to compare two checkouts: python -m bench.audit --bulk 20000 --singles 1500

Starts a PostgreSQL of its own, stores the same inferences many at once and one by one, and prints
microseconds of CPU for each: of this process and of its PostgreSQL backend. `--seal` seals
what was recorded, and counts that in.
"""

# ruff: noqa: E402  (the settings come before the models)
import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import django

HOME = Path(tempfile.mkdtemp(prefix="inference-store-bench-"))
HOME.chmod(0o711)
os.environ |= {"INFERENCE_STORE_HOME": str(HOME), "DJANGO_SETTINGS_MODULE": "inference_store.settings"}
django.setup()

from django.core.management import call_command
from django.db import connection

from bench.ingest import SIZE, requests
from inference_store.contract.enums import TaskType
from inference_store.embedded.postgres import Postgres
from inference_store.models import Project, RegisteredModel
from inference_store.services import ingest

AT_ONCE = 5_000


def backend_seconds(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def measure(name: str, count: int, act: Callable[[], None]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        pid = cursor.fetchone()[0]
    ours, theirs, began = time.process_time(), backend_seconds(pid), time.perf_counter()
    act()
    used = time.process_time() - ours, backend_seconds(pid) - theirs
    each = [seconds / count * 1e6 for seconds in used]
    rate = count / (time.perf_counter() - began)
    print(
        f"{name:8} python {each[0]:7.1f}  postgres {each[1]:7.1f}  "
        f"together {sum(each):7.1f} µs  {rate:8,.0f}/s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bulk", type=int, default=20_000)
    parser.add_argument("--singles", type=int, default=1_500)
    parser.add_argument("--seal", action="store_true")
    asked = parser.parse_args()
    server = Postgres(durable=False)
    server.start()
    try:
        call_command("migrate", verbosity=0)
        project = Project.objects.create(project_id="bench", name="bench")
        model = RegisteredModel.objects.create(
            model_id="bench", project=project, task_type=TaskType.OBJECT_DETECTION.value, embedding_size=SIZE
        )
        given = list(requests("bench", 0, asked.bulk + asked.singles + 200))
        for each in given[:200]:
            ingest.store_inference(model=model, request=each)
        many, alone = given[200 : 200 + asked.bulk], given[200 + asked.bulk :]

        def seal() -> None:
            if asked.seal:
                from inference_store.services.sealing import seal_records

                seal_records()

        def bulk() -> None:
            for first in range(0, len(many), AT_ONCE):
                ingest.store_inferences(model=model, requests=many[first : first + AT_ONCE])
            seal()

        def singles() -> None:
            for each in alone:
                ingest.store_inference(model=model, request=each)
            seal()

        measure("bulk", len(many), bulk)
        measure("singles", len(alone), singles)
    finally:
        connection.close()
        connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's has it
        server.stop()
        shutil.rmtree(HOME, ignore_errors=True)


if __name__ == "__main__":
    main()
