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

import pytest

from inference_store.api.document import document
from inference_store.models import RegisteredModel
from tests.cast import BASE, Cast
from tests.workers import Web

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES") or 10)
SEED = int(os.environ.get("FUZZ_SEED") or random.randrange(2**32))
CASES_OF_AN_OPERATION = 20
"""So many at least are tried of each, on average: fewer mean that something kept them from running."""
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


def test_no_operation_answers_what_it_does_not_document(
    cast: Cast, detector: RegisteredModel, web: Web, tmp_path: Path
) -> None:
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
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    assert ended.returncode == 0, f"SEED={SEED}\n{ended.stdout}\n{ended.stderr}"
    operations = sum(len(path) for path in json.loads(document())["paths"].values())
    tested = re.search(r"Tested: (\d+)", ended.stdout)
    cases = re.search(r"(\d+) generated", ended.stdout)
    assert tested, ended.stdout
    assert cases, ended.stdout
    assert int(tested[1]) == operations
    assert int(cases[1]) >= operations * CASES_OF_AN_OPERATION
    print(f"{cases[1]} cases of {operations} operations, SEED={SEED}")
