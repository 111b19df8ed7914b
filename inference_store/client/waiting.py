"""Waits until a task has ended, and shows how far it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TypeVar

from inference_store.client.errors import (
    NOT_FOUND,
    InferenceStoreError,
    TaskNotCompleteError,
    TaskTimeoutError,
)
from inference_store.contract.enums import RetentionTaskState
from inference_store.contract.jobs import ExportTask, RetentionTask

Task = TypeVar("Task", ExportTask, RetentionTask)

LONGEST_PAUSE_SECONDS = 3.0
GROWTH = 1.15
PATIENCE_SECONDS = 300.0
"""How long a store that has answered before may give no answer: it may be starting anew."""

_PASSING_STATUSES = frozenset({0, 429, 502, 503, 504})
_UNSUCCESSFUL = (RetentionTaskState.FAILED, RetentionTaskState.STOPPED)


@dataclass(frozen=True, slots=True)
class Waiting:
    """How to wait: `timeout` in seconds or None, the first pause, and whether to show a bar."""

    what: str
    timeout: float | None
    interval: float
    progress: bool


def wait(
    ask: Callable[[], Task | None], measure: Callable[[Task], tuple[int, int | None]], waiting: Waiting
) -> Task:
    """Ask until the task is complete; `measure` says how much of it is done, of how much.

    Raises:
        TaskNotCompleteError: it failed or was stopped.
        TaskTimeoutError: the time was over first.
        InferenceStoreError: there is none, or the store refused or could not be reached for too long.
    """
    if not waiting.interval > 0:
        raise ValueError("interval must be a number of seconds above 0")
    began = answered = monotonic()
    task, pause = _found(ask(), waiting), waiting.interval
    with _bar(waiting) as show:
        while True:
            show(*measure(task), task.state)
            if task.state == RetentionTaskState.COMPLETE:
                return task
            if task.state in _UNSUCCESSFUL:
                raise TaskNotCompleteError(task)
            spent = monotonic() - began
            if waiting.timeout is not None and spent >= waiting.timeout:
                raise TaskTimeoutError(task)
            sleep(pause if waiting.timeout is None else min(pause, waiting.timeout - spent))
            pause = min(pause * GROWTH, max(waiting.interval, LONGEST_PAUSE_SECONDS))
            try:
                task, answered = _found(ask(), waiting), monotonic()
            except InferenceStoreError as error:
                silent = monotonic() - answered
                if error.status not in _PASSING_STATUSES or silent > PATIENCE_SECONDS:
                    raise


def _found(task: Task | None, waiting: Waiting) -> Task:
    if task is None:
        raise InferenceStoreError(404, f"There is no such {waiting.what} task.", NOT_FOUND)
    return task


@contextmanager
def _bar(waiting: Waiting) -> Iterator[Callable[[int, int | None, str], None]]:
    if not waiting.progress:
        yield lambda done, expected, state: None
        return
    from tqdm import tqdm

    with tqdm(desc=waiting.what) as bar:

        def show(done: int, expected: int | None, state: str) -> None:
            bar.total = expected or None
            bar.set_postfix_str(state, refresh=False)
            bar.update(done - bar.n)
            bar.refresh()

        yield show
