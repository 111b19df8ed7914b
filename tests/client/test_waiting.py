"""Waiting for a task: how it ends, what it survives, and what it shows."""

import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from inference_store import client as istore
from inference_store.client import waiting
from tests.client.scripted_store import Answer, ScriptedStore, refused
from tests.client.test_calls import EXPORT, TASK

Wait = Callable[..., Any]
BOTH = pytest.mark.parametrize(
    ("wait", "task"),
    [(istore.wait_for_export, EXPORT), (istore.wait_for_retention, TASK)],
    ids=["export", "retention"],
)
QUICKLY = {"interval": 0.01, "progress": False}


def answers(task: dict[str, Any], *states: str, **more: Any) -> list[Any]:
    return [Answer(200, task | {"state": state} | more) for state in states]


def export(state: str, done: int, expected: int) -> Answer:
    return Answer(200, EXPORT | {"state": state, "progress_count": done, "expected_count": expected})


# --- How it ends --------------------------------------------------------------------------------------------
@BOTH
def test_it_returns_the_complete_task(store: ScriptedStore, wait: Wait, task: dict[str, Any]) -> None:
    store.answers = answers(task, "pending", "scheduled", "running", "complete")
    found = wait("m", task["id"], **QUICKLY)
    assert (found.id, found.state) == (task["id"], "complete")
    assert len(store.received) == 4


@BOTH
def test_what_is_complete_is_not_waited_for(store: ScriptedStore, wait: Wait, task: dict[str, Any]) -> None:
    store.answers = answers(task, "complete")
    began = time.monotonic()
    wait("m", task["id"], interval=60, timeout=0, progress=False)
    assert len(store.received) == 1
    assert time.monotonic() - began < 30


@BOTH
@pytest.mark.parametrize(
    ("state", "error", "told"),
    [("failed", "the disk is full", "failed: the disk is full"), ("stopped", None, "was stopped")],
)
def test_one_that_did_not_complete_is_raised(
    store: ScriptedStore, wait: Wait, task: dict[str, Any], state: str, error: str | None, told: str
) -> None:
    store.answers = [*answers(task, "running"), *answers(task, state, error=error)]
    with pytest.raises(istore.TaskNotCompleteError, match=f"task {task['id']} {told}$") as raised:
        wait("m", task["id"], **QUICKLY)
    assert (raised.value.task.state, raised.value.error) == (state, error)
    again = pickle.loads(pickle.dumps(raised.value))
    assert (again.task, str(again)) == (raised.value.task, str(raised.value))


@BOTH
def test_one_that_takes_too_long_is_a_timeout(store: ScriptedStore, wait: Wait, task: dict[str, Any]) -> None:
    store.answers = answers(task, "running")
    with pytest.raises(TimeoutError, match="is still running; it goes on in the store") as raised:
        wait("m", task["id"], timeout=1, **QUICKLY)
    assert isinstance(raised.value, istore.TaskTimeoutError)
    assert raised.value.task.id == task["id"]
    assert len(store.received) > 1
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


@BOTH
def test_a_timeout_cuts_a_pause_short(
    store: ScriptedStore, wait: Wait, task: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(waiting, "sleep", slept.append)
    store.answers = [*answers(task, "running", "complete")]
    assert wait("m", task["id"], timeout=40, interval=60, progress=False).state == "complete"
    (pause,) = slept
    assert 0 < pause < 40


@BOTH
def test_one_that_is_not_there_is_an_error(store: ScriptedStore, wait: Wait, task: dict[str, Any]) -> None:
    for before in ([], answers(task, "running")):
        store.answers = [*before, refused(404, "not_found")]
        with pytest.raises(istore.InferenceStoreError, match="There is no such") as raised:
            wait("m", task["id"], timeout=30, **QUICKLY)
        assert (raised.value.status, raised.value.code) == (404, "not_found")


@BOTH
@pytest.mark.parametrize("interval", [0, -1, float("nan")])
def test_an_interval_must_be_one(wait: Wait, task: dict[str, Any], interval: float) -> None:
    with pytest.raises(ValueError, match="interval"):
        wait("m", task["id"], interval=interval)


# --- What it survives ---------------------------------------------------------------------------------------
@BOTH
@pytest.mark.parametrize("failure", [refused(503, "busy"), Answer(drop=True), Answer(502, b"proxy")])
def test_a_store_that_starts_anew_is_waited_for(
    store: ScriptedStore, wait: Wait, task: dict[str, Any], failure: Answer
) -> None:
    # More than one call repeats by itself.
    store.answers = [*answers(task, "running"), *[failure] * 7, *answers(task, "complete")]
    assert wait("m", task["id"], **QUICKLY).state == "complete"
    assert len(store.received) == 9


def test_a_store_that_stays_away_is_told(store: ScriptedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE_SECONDS", 0)
    store.answers = [*answers(EXPORT, "running"), refused(503, "busy", "away")]
    with pytest.raises(istore.InferenceStoreError, match="away"):
        istore.wait_for_export("m", "e", timeout=30, **QUICKLY)


def test_one_that_never_answered_is_told_at_once(store: ScriptedStore) -> None:
    store.answers = [refused(503, "busy", "away")]
    with pytest.raises(istore.InferenceStoreError, match="away"):
        istore.wait_for_export("m", "e", **QUICKLY)
    assert len(store.received) == 5


def test_a_refusal_in_between_is_told(store: ScriptedStore) -> None:
    store.answers = [*answers(EXPORT, "running"), refused(401, "unauthorized", "the token has expired")]
    with pytest.raises(istore.InferenceStoreError, match="expired"):
        istore.wait_for_export("m", "e", timeout=30, **QUICKLY)


def test_an_outage_does_not_stretch_a_timeout(store: ScriptedStore) -> None:
    store.answers = [*answers(EXPORT, "running"), refused(503, "busy")]
    with pytest.raises(istore.TaskTimeoutError, match="is still running"):
        istore.wait_for_export("m", "e", timeout=0.05, **QUICKLY)


def test_pauses_grow_to_a_few_seconds(store: ScriptedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(waiting, "sleep", slept.append)
    store.answers = answers(EXPORT, *["running"] * 40, "complete")
    istore.wait_for_export("m", "e", progress=False)
    assert slept[0] == 0.5
    assert slept == sorted(slept)
    assert (slept[1] < 0.6, slept[-1]) == (True, 3.0)
    slept.clear()
    store.answers = answers(EXPORT, "running", "running", "complete")
    istore.wait_for_export("m", "e", progress=False, interval=10)
    assert slept == [10, 10]


# --- What it shows ------------------------------------------------------------------------------------------
def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("\n")  # the bar is closed
    return err.rstrip("\n").rsplit("\r", 1)[-1]


def test_the_bar_follows_counts_that_change(store: ScriptedStore, capsys: pytest.CaptureFixture[str]) -> None:
    store.answers = [
        export("pending", 0, 0),
        export("running", 1, 4),
        export("running", 3, 8),
        export("running", 2, 8),  # begun again
        export("complete", 7, 7),
    ]
    istore.wait_for_export("m", "e", interval=0.01)
    out, err = capsys.readouterr()
    shown = [line for line in err.split("\r") if line.strip()]
    assert out == ""
    for wanted in ("0it", "1/4", "3/8", "2/8", "7/7"):
        assert any(wanted in line for line in shown), (wanted, shown)
    assert "pending" in shown[1]
    assert "complete" in shown[-1]
    assert shown[-1].startswith("export: 100%")


def test_the_bar_counts_records_and_blobs(store: ScriptedStore, capsys: pytest.CaptureFixture[str]) -> None:
    counts = {
        "total_record_count": 5,
        "total_blob_count": 4,
        "deleted_record_count": 5,
        "deleted_blob_count": 3,
    }
    store.answers = answers(TASK, "complete", **counts)
    istore.wait_for_retention("m", "t")
    line = last_line(capsys)
    assert "retention" in line
    assert "8/9" in line


def test_the_bar_of_a_dry_run_counts_what_it_found(
    store: ScriptedStore, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = {"total_record_count": 5, "total_blob_count": 4, "dry_run": True}
    store.answers = answers(TASK, "complete", **counts)
    istore.wait_for_retention("m", "t")
    assert "9it" in last_line(capsys)


@BOTH
def test_without_progress_nothing_is_shown(
    store: ScriptedStore, wait: Wait, task: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    store.answers = answers(task, "running", "complete")
    wait("m", task["id"], **QUICKLY)
    assert capsys.readouterr() == ("", "")


def test_the_bar_is_closed_when_it_fails(store: ScriptedStore, capsys: pytest.CaptureFixture[str]) -> None:
    store.answers = answers(EXPORT, "running", "failed", progress_count=1, expected_count=2)
    with pytest.raises(istore.TaskNotCompleteError):
        istore.wait_for_export("m", "e", interval=0.01)
    assert "1/2" in (line := last_line(capsys))
    assert "failed" in line


def test_without_progress_it_needs_no_tqdm(store: ScriptedStore) -> None:
    store.answers = answers(EXPORT, "complete")
    script = (
        "import sys; sys.modules['tqdm'] = None\n"
        "from inference_store import client as istore\n"
        f"istore.connect(base_url={store.url!r}, token='secret')\n"
        "print(istore.wait_for_export('m', 'e', progress=False).state)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "complete\n"
