"""Every operation of the served OpenAPI document, by schemathesis against a real server (fault 2).

`make fuzz EXAMPLES=1000` does it for longer; SEED=… repeats a run.
"""

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inference_store import tasks
from inference_store.api.document import document
from inference_store.models import AuditRecord, RegisteredModel, User
from tests.cast import BASE, Cast, request_of
from tests.workers import Web

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES") or 10)
SEED = int(os.environ.get("FUZZ_SEED") or random.randrange(2**32))
CASES_OF_AN_OPERATION = 20
"""So many at least are tried of each, on average: fewer mean that something kept them from running."""
POLICY = {
    "automated_interval": 0,
    "maximum_record_age": 0,
    "maximum_blob_age": 0,
    "delete_action": "soft",
}
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "unsupported_method",
    "ignored_auth",
    "use_after_free",
)
"""Not those of accepted and refused data: JSON Schema can't say all that the contract asks for (that start is
before end), and the contract reads "1" where it documents a number."""


@pytest.fixture
def web(transactional_db: None, tmp_path: Path) -> Iterator[Web]:
    running = Web(tmp_path / "web.log", TOKEN_FAILURES="0")  # it sends wrong ones
    running.start()
    running.ready()
    yield running
    running.kill()


def operation_ids() -> list[str]:
    paths = json.loads(document())["paths"].values()
    return [operation["operationId"] for path in paths for operation in path.values()]


def world(cast: Cast, model: RegisteredModel) -> dict[str, Any]:
    """Something of everything that has an id: what hooks.py puts in the place of made-up ones."""
    model_path = f"models/{model.model_id}"

    def asked(path: str, body: Any = None) -> Any:
        answer = cast.alice.post(f"{model_path}/{path}", body)
        assert answer.status_code == 201, answer.content
        return json.loads(answer.content)

    upload = asked("uploads/data")
    url = upload["data_presigned_url"].removeprefix("http://testserver")
    cast.nobody.put(url, b"an input", content_type="application/octet-stream")
    asked("inferences", request_of("with-input", data_storage_key=upload["data_storage_key"]))
    asked("bulk-create", [request_of(f"i-{number}") for number in range(3)])
    exports = [asked("export-tasks", {"format": format_})["id"] for format_ in ("archive", "coco")]
    for export in exports:
        tasks.run_export(export)
    policy_id = asked("retention-policies", POLICY)["id"]
    preview = asked("retention-tasks", {"dry_run": True, "retention_policy_id": policy_id})["id"]
    tasks.run_retention(preview)
    return {
        "token": cast.alice.token,
        "model_id": model.model_id,
        "project_id": model.project_id,
        "task_type": model.task_type,
        "request": request_of(),
        "policy": POLICY,
        "exports": exports,
        "previews": [preview],
        "records": list(AuditRecord.objects.filter(project_id=model.project_id).values_list("pk", flat=True)),
    }


def test_no_operation_answers_what_it_does_not_document(
    cast: Cast, detector: RegisteredModel, web: Web, tmp_path: Path
) -> None:
    User.objects.filter(username="alice").update(is_staff=True)  # creates projects
    there = tmp_path / "world.json"
    there.write_text(json.dumps(world(cast, detector) | {"url": f"{web.url}{BASE}"}))
    configuration = tmp_path / "schemathesis.toml"
    # Any other model is a 404, which would hide all that lies behind it.
    configuration.write_text(f'[parameters]\n"path.model_id" = "{detector.model_id}"\n')
    results = tmp_path / "results.json"
    # The command of this environment, wherever it is.
    command = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"]
    command += ["--config-file", str(configuration), "run", f"{web.url}{BASE}/openapi.json"]
    command += ["--header", f"Authorization: Bearer {cast.alice.token}", "--checks", ",".join(CHECKS)]
    command += ["--max-examples", str(EXAMPLES), "--seed", str(SEED), "--continue-on-failure"]
    command += ["--max-failures", "100", "--generation-database", "none", "--no-color"]
    command += ["--request-timeout", "60", "--report-json-path", str(results)]
    given = {
        "SCHEMATHESIS_HOOKS": str(Path(__file__).parent / "hooks.py"),
        "FUZZ_WORLD": str(there),
        "FUZZ_TOLD": str(tmp_path / "told.json"),
        "FUZZ_SEED": str(SEED),
    }
    ended = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | given, check=False
    )

    assert ended.returncode == 0, f"SEED={SEED}\n{ended.stdout}\n{ended.stderr}"
    told = json.loads((tmp_path / "told.json").read_text())
    for name, statuses in sorted(told.items()):
        print(f"{name}: " + ", ".join(f"{n} × {status}" for status, n in sorted(statuses.items())))
    operations = len(operation_ids())
    tested = re.search(r"Tested: (\d+)", ended.stdout)
    cases = re.search(r"(\d+) generated", ended.stdout)
    assert tested, ended.stdout
    assert cases, ended.stdout
    assert int(tested[1]) == operations
    assert int(cases[1]) >= operations * CASES_OF_AN_OPERATION
    reached = {name for name, statuses in told.items() if any(status < "300" for status in statuses)}
    assert set(operation_ids()) - reached == set(), "operations of which no call was answered with 2xx"
    print(f"{cases[1]} cases of {operations} operations, SEED={SEED}")
