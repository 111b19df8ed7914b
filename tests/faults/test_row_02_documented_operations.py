"""Every operation answers as the OpenAPI document says: here once each, whole; fuzzed in tests/fuzz.

tests/fuzz/test_schemathesis.py tries ten cases of each operation in every run, `make fuzz EXAMPLES=1000` a
thousand.
"""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from inference_store.models import RegisteredModel
from tests.cast import Cast, request_of
from tests.faults.documented import DOCUMENT, OPERATIONS, Operation
from tests.fuzz import test_schemathesis

GOOD: dict[str, Any] = {
    "create_inference": request_of(),
    "create_inferences": [request_of("i-2")],
    "filter_inferences": {},
    "filter_granular_inferences": {},
    "count_inferences": {},
    "create_metadata": {"key": "k", "type": "int", "value": "1"},
}
NAMES = {"model_id": "detector", "inference_id": "i-1", "project_id": "birds"}


def told(operation: Operation) -> dict[str, Any]:
    answers: dict[str, Any] = DOCUMENT["paths"][operation.path][operation.method.lower()]["responses"]
    return answers


def check(operation: Operation, answer: Any) -> None:
    documented = told(operation)
    assert str(answer.status_code) in documented, (operation.operation_id, answer.status_code, answer.content)
    content = documented[str(answer.status_code)].get("content", {})
    media_type = answer["Content-Type"].partition(";")[0]
    assert media_type in content, (operation.operation_id, answer.status_code, media_type)
    if media_type == "application/json" and not answer.streaming:
        schema = content[media_type]["schema"] | {"components": DOCUMENT["components"]}
        Draft202012Validator(schema).validate(json.loads(answer.content))


@pytest.mark.parametrize("name", ["alice", "carol", "mallory", "nobody"])
def test_each_answers_as_it_is_documented(cast: Cast, detector: RegisteredModel, name: str) -> None:
    cast.bob.post("models/detector/inferences", request_of())
    caller = getattr(cast, name)
    for operation in OPERATIONS:
        bodies = [None] if operation.schema is None else [operation.body, b"{", {}]
        bodies += [GOOD[operation.operation_id]] if operation.operation_id in GOOD else []
        for body in bodies:
            # As lines, or as one.
            answer = caller(
                operation.method, operation.address(**NAMES), body, content_type=operation.content_type
            )
            assert answer.status_code < 500, (operation.operation_id, answer.content)
            check(operation, answer)


def test_all_of_them_are_fuzzed() -> None:
    assert test_schemathesis.EXAMPLES >= 10
    assert {"not_a_server_error", "status_code_conformance", "response_schema_conformance"} <= set(
        test_schemathesis.CHECKS
    )
