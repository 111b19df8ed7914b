"""Retention over REST, as the SDK's calls and people with curl meet it."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from inference_store.models import (
    Inference,
    RegisteredModel,
    RetentionPolicy,
    RetentionTask,
    SoftDeletedInference,
)
from inference_store.services import retention_runs
from tests.cast import Cast, request_of

MODEL = "models/detector"
POLICY = {"automated_interval": 0, "maximum_record_age": 48, "maximum_blob_age": 24, "delete_action": "hard"}
TASKS = f"{MODEL}/retention-tasks"


def made(cast: Cast, **changes: Any) -> str:
    """The id of a new policy."""
    answer = cast.alice.post(f"{MODEL}/retention-policies", POLICY | changes)
    assert answer.status_code == 201, answer.content
    return str(answer.json()["id"])


def begun(cast: Cast, policy: str, **changes: Any) -> Any:
    body = {"dry_run": True, "retention_policy_id": policy} | changes
    answer = cast.alice.post(TASKS, body)
    assert answer.status_code == 201, answer.content
    return answer.json()


def carried_out(cast: Cast, task: Any) -> Any:
    """The task, when a worker was at it."""
    retention_runs.run(RetentionTask.objects.get(pk=task["id"]).pk)
    return cast.carol.get(f"{TASKS}/{task['id']}").json()


def stored(cast: Cast, *ids: str, hours: float = 100) -> None:
    created_at = (datetime.now(UTC) - timedelta(hours=hours)).isoformat()
    for inference_id in ids:
        answer = cast.bob.post(f"{MODEL}/inferences", request_of(inference_id, created_at=created_at))
        assert answer.status_code == 201, answer.content


# --- Policies -----------------------------------------------------------------------------------------------
def test_a_policy_from_first_to_last(cast: Cast, detector: RegisteredModel) -> None:
    assert cast.carol.get(f"{MODEL}/retention-policy").status_code == 404
    policy = made(cast)
    told = {"id": policy, "model_id": "detector", "last_scheduled_at": None} | POLICY
    assert cast.carol.get(f"{MODEL}/retention-policy").json() == told
    again = cast.alice.post(f"{MODEL}/retention-policies", POLICY)
    assert (again.status_code, again.json()) == (200, told)
    other = cast.alice.post(f"{MODEL}/retention-policies", POLICY | {"maximum_blob_age": 1})
    assert (other.status_code, other.json()["fields"]) == (409, {"maximum_blob_age": "is 24 there"})
    deleted = cast.alice.delete(f"{MODEL}/retention-policies/{policy}")
    assert (deleted.status_code, deleted.json()) == (200, {"id": policy})
    again = cast.alice.delete(f"{MODEL}/retention-policies/{policy}")
    assert (again.status_code, again.json()["code"]) == (404, "not_found")


def test_soft_is_what_is_not_said(cast: Cast, detector: RegisteredModel) -> None:
    unsaid = {name: value for name, value in POLICY.items() if name != "delete_action"}
    answer = cast.alice.post(f"{MODEL}/retention-policies", unsaid)
    assert (answer.status_code, answer.json()["delete_action"]) == (201, "soft")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"maximum_record_age": -2}, "maximum_record_age"),
        ({"maximum_record_age": 23}, ""),
        ({"maximum_blob_age": -1}, "maximum_blob_age"),
        ({"maximum_blob_age": 49}, ""),
        ({"automated_interval": -1}, "automated_interval"),
        ({"automated_interval": 1.5}, "automated_interval"),
        ({"maximum_record_age": 10**12}, "maximum_record_age"),
        ({"delete_action": "purge"}, "delete_action"),
        ({"maximum_record_ages": 5}, "maximum_record_ages"),  # fault 26
    ],
)
def test_wrong_policies(cast: Cast, detector: RegisteredModel, change: Any, field: str) -> None:
    answer = cast.alice.post(f"{MODEL}/retention-policies", POLICY | change)
    assert answer.status_code == 400
    assert not field or list(answer.json()["fields"]) == [field]
    assert not RetentionPolicy.objects.exists()


# --- Tasks --------------------------------------------------------------------------------------------------
def test_a_dry_run_then_a_run_of_its_list(cast: Cast, detector: RegisteredModel) -> None:
    stored(cast, "a", "b", "c")
    stored(cast, "young", hours=1)
    policy = made(cast)
    preview = begun(cast, policy)
    assert (preview["state"], preview["dry_run"], preview["started_by"]) == ("pending", True, "alice")
    preview = carried_out(cast, preview)
    assert (preview["state"], preview["total_record_count"], preview["deleted_record_count"]) == (
        *("complete", 3),
        0,
    )
    cast.alice.put(f"{MODEL}/inferences/b/protection", {"is_protected": True})
    task = carried_out(cast, begun(cast, policy, dry_run=False, preview_task_id=preview["id"]))
    assert task["preview_task_id"] == preview["id"]
    assert (task["total_record_count"], task["deleted_record_count"]) == (3, 2)
    for limit in ("maximum_record_age_limit", "maximum_blob_age_limit"):
        assert task[limit] == preview[limit]
    left = Inference.objects.order_by("inference_id").values_list("inference_id", flat=True)
    assert list(left) == ["b", "young"]
    assert cast.carol.get(f"{MODEL}/retention-policy").json()["last_scheduled_at"] == task["created_at"]


def test_what_is_refused(cast: Cast, detector: RegisteredModel) -> None:
    policy = made(cast)
    run = {"dry_run": False, "retention_policy_id": policy}

    def refused(**changes: Any) -> tuple[int, list[str]]:
        answer = cast.alice.post(TASKS, run | changes)
        return answer.status_code, list(answer.json()["fields"])

    assert refused(retention_policy_id=str(uuid4()))[0] == 404
    assert refused(retention_policy_id="x")[0] == 404
    assert refused(preview_task_id="x") == (400, ["preview_task_id"])
    assert refused(dry_run=True, preview_task_id=str(uuid4())) == (400, ["preview_task_id"])
    assert refused(dryrun=True) == (400, ["dryrun"])
    unfinished = begun(cast, policy)
    assert refused(preview_task_id=unfinished["id"]) == (409, ["preview_task_id"])
    active = begun(cast, policy, dry_run=False)
    answer = cast.alice.post(TASKS, run)
    assert (answer.status_code, active["id"] in answer.json()["error"]) == (409, True)
    cast.alice.post(f"{TASKS}/{active['id']}/stop")
    cast.alice.delete(f"{MODEL}/retention-policies/{policy}")
    policy = made(cast, automated_interval=24)
    assert refused(retention_policy_id=policy)[0] == 409
    assert begun(cast, policy)["state"] == "pending"


def test_stop(cast: Cast, detector: RegisteredModel) -> None:
    task = begun(cast, made(cast), dry_run=False)
    assert cast.bob.post(f"{TASKS}/{task['id']}/stop").status_code == 403
    stopped = cast.alice.post(f"{TASKS}/{task['id']}/stop").json()
    assert stopped["state"] == "stopped"
    assert cast.alice.post(f"{TASKS}/{task['id']}/stop").json() == stopped
    assert carried_out(cast, task)["state"] == "stopped"


@pytest.mark.parametrize("tail", ["", "/stop", "/preview", "/preview.jsonl", "/preview.csv"])
@pytest.mark.parametrize("task_id", ["x", str(UUID(int=7)), "%00", "é"])
def test_no_such_task(cast: Cast, detector: RegisteredModel, tail: str, task_id: str) -> None:
    call = cast.alice.post if tail == "/stop" else cast.alice.get
    answer = call(f"{TASKS}/{task_id}{tail}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_task_of_another_model(cast: Cast, detector: RegisteredModel) -> None:
    task = begun(cast, made(cast))
    RegisteredModel.objects.create(model_id="other", project_id="birds", task_type="Text Embedding")
    assert cast.alice.get(f"models/other/retention-tasks/{task['id']}").status_code == 404
    assert cast.alice.post("models/other/retention-tasks/filter", {}).json() == {"retention_tasks": []}


def test_lists_of_tasks(cast: Cast, detector: RegisteredModel) -> None:
    policy = made(cast)
    ids = [begun(cast, policy)["id"] for _ in range(3)]

    def listed(**body: Any) -> list[str]:
        answer = cast.carol.post(f"{TASKS}/filter", body)
        assert answer.status_code == 200, answer.content
        return [task["id"] for task in answer.json()["retention_tasks"]]

    assert listed() == listed(retention_policy_id=policy, state_filter="pending") == ids
    assert listed(pagination={"direction": "desc", "limit": 1, "offset": 1}) == [ids[1]]
    assert listed(state_filter="complete") == []
    for wrong in (
        {"state_filter": "done"},
        {"pagination": {"limit": 1001}},
        {"pagination": {"sort": "label"}},
        {"pagination": {"cursor": "x"}},
        {"time_window_filter": {"start": "yesterday"}},
        {"policy": policy},
    ):
        assert cast.carol.post(f"{TASKS}/filter", wrong).status_code == 400, wrong


# --- What a dry run found -----------------------------------------------------------------------------------
def body_of(answer: Any) -> str:
    assert answer.status_code == 200, answer
    assert answer["X-Content-Type-Options"] == "nosniff"
    return b"".join(answer.streaming_content).decode()


def test_what_a_dry_run_found(cast: Cast, detector: RegisteredModel) -> None:
    ids = ["=1+1", "+a", "-a", "@a", "a,b", '"a"', "é", "plain"]  # fault 10
    for age, inference_id in enumerate(ids):
        stored(cast, inference_id, hours=100 - age)
    preview = carried_out(cast, begun(cast, made(cast)))
    path = f"{TASKS}/{preview['id']}/preview"
    listed, cursor = [], ""
    while cursor is not None:
        page = cast.carol.get(f"{path}?limit=3&cursor={cursor}").json()
        listed, cursor = [*listed, *page["items"]], page["next_cursor"]
    assert [item["inference_id"] for item in listed] == ids
    assert {(item["reason"], item["blob_count"], item["blob_bytes"]) for item in listed} == {("record", 0, 0)}

    lines = cast.carol.get(f"{path}.jsonl")
    assert lines["Content-Type"] == "application/x-ndjson"
    assert [json.loads(line) for line in body_of(lines).splitlines()] == listed

    sheet = cast.carol.get(f"{path}.csv")
    assert sheet["Content-Type"] == "text/csv; charset=utf-8"
    assert sheet["Content-Disposition"] == f'attachment; filename="retention-{preview["id"]}.csv"'
    rows = list(csv.DictReader(io.StringIO(body_of(sheet))))
    assert [row["inference_id"] for row in rows] == ["'=1+1", "'+a", "'-a", "'@a", *ids[4:]]
    assert [row["created_at"] for row in rows] == [item["created_at"] for item in listed]


def test_downloads_longer_than_a_piece(
    cast: Cast, detector: RegisteredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference_store.query.retention.READ_AT_ONCE", 2)
    monkeypatch.setattr("inference_store.api.retention.TEXTS_AT_ONCE", 3)
    stored(cast, *"abcdefg")
    preview = carried_out(cast, begun(cast, made(cast)))
    answer = cast.carol.get(f"{TASKS}/{preview['id']}/preview.csv")
    pieces = [*answer.streaming_content]
    assert [piece.count(b"\n") for piece in pieces] == [3, 3, 2]
    assert [row.split(b",")[0] for row in b"".join(pieces).splitlines()[1:]] == [
        each.encode() for each in "abcdefg"
    ]


def test_an_empty_list(cast: Cast, detector: RegisteredModel) -> None:
    path = f"{TASKS}/{carried_out(cast, begun(cast, made(cast)))['id']}/preview"
    assert cast.carol.get(path).json() == {"items": [], "next_cursor": None}
    assert body_of(cast.carol.get(f"{path}.jsonl")) == ""
    assert (
        body_of(cast.carol.get(f"{path}.csv")) == "inference_id,created_at,reason,blob_count,blob_bytes\r\n"
    )


@pytest.mark.parametrize("tail", ["", ".jsonl", ".csv"])
def test_no_list(cast: Cast, detector: RegisteredModel, tail: str) -> None:
    policy = made(cast)
    unfinished, run = begun(cast, policy), begun(cast, policy, dry_run=False)
    for task in (unfinished, run):
        answer = cast.carol.get(f"{TASKS}/{task['id']}/preview{tail}")
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    carried_out(cast, unfinished)
    RetentionTask.objects.update(finished_at=datetime(2026, 1, 1, tzinfo=UTC))
    answer = cast.carol.get(f"{TASKS}/{unfinished['id']}/preview{tail}")
    assert answer.status_code == 404
    assert "another dry run" in answer.json()["error"]


def test_unknown_parameters(cast: Cast, detector: RegisteredModel) -> None:
    path = f"{TASKS}/{carried_out(cast, begun(cast, made(cast)))['id']}/preview"
    for query in ("?offset=1", "?limit=0", "?limit=1001", "?limit=x", "?cursor=x", "?cursor=-1"):
        assert cast.carol.get(path + query).status_code == 400, query
    assert cast.carol.get(f"{path}.csv?limit=1").status_code == 400
    assert cast.alice.post(f"{TASKS}?dry_run=true", {}).status_code == 400
    assert cast.alice.post(f"{TASKS}/{uuid4()}/stop", {"now": True}).status_code == 400


# --- The user's own word ------------------------------------------------------------------------------------
def test_deleting_what_retention_put_away(cast: Cast, detector: RegisteredModel) -> None:
    stored(cast, "a")
    task = carried_out(cast, begun(cast, made(cast, delete_action="soft"), dry_run=False))
    assert task["deleted_record_count"] == 1
    assert cast.carol.get(f"{MODEL}/inferences/a").status_code == 404
    assert cast.bob.delete(f"{MODEL}/inferences/a").status_code == 404
    assert not SoftDeletedInference.objects.exists()
