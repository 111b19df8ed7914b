"""Rounds over all systems: each is warm when it is timed, and whatever drifts, drifts for all."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from bench.compare.answers import Answers
from bench.compare.operations import OPERATIONS, QUERIES_A_VARIANT, VARIANTS, Operation
from bench.compare.process import Process

ROUNDS = 3
SLOW_MILLISECONDS = 2_500
"""An operation that takes longer runs once a round, without a warm-up."""


@dataclass
class Measured:
    """An operation of a system; `milliseconds` has one value a variant."""

    milliseconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    recalls: list[float] = field(default_factory=list)
    error: str = ""
    impossible: bool = False

    @property
    def median(self) -> float | None:
        return statistics.median(self.milliseconds) if self.milliseconds else None

    @property
    def recall(self) -> float | None:
        return statistics.mean(self.recalls) if self.recalls else None

    @property
    def ended(self) -> bool:
        return self.impossible or bool(self.error)

    def as_plain(self) -> dict[str, Any]:
        return {
            "median_ms": self.median,
            "milliseconds": [round(each, 4) for each in self.milliseconds],
            "wrong": self.wrong[:3],
            "recall": self.recall,
            "error": self.error,
            "impossible": self.impossible,
        }


def warm_up(processes: list[Process], operations: list[Operation]) -> None:
    """Ask everything once: what has just been started again reads from disk what one in use has in memory."""
    for operation in operations:
        if operation.is_delete:
            continue
        for process in processes:
            for variant in range(VARIANTS):
                answer = process.run(operation.code, variant)
                if answer.get("milliseconds", SLOW_MILLISECONDS) >= SLOW_MILLISECONDS:
                    break


def measure(processes: list[Process], operation: Operation, answers: Answers) -> dict[str, Measured]:
    """Every variant by every system; each of them takes three turns of three variants."""
    variants = range(ROUNDS if operation.is_delete else VARIANTS)
    for variant in variants:
        answers.exact(operation.code, variant)  # not between two timings
    found = {process.system: Measured() for process in processes}
    slow: set[str] = set()
    for turn in range(ROUNDS):
        for process in processes:
            timed = _turn(operation, turn, process.system in slow)
            if _take_turn(process, operation, timed, found[process.system], answers):
                slow.add(process.system)
    return found


def _turn(operation: Operation, turn: int, slow: bool) -> list[int]:
    if operation.is_delete:
        return [turn]
    first = turn * VARIANTS // ROUNDS
    return [first] if slow else list(range(first, first + VARIANTS // ROUNDS))


def _take_turn(
    process: Process, operation: Operation, variants: Iterable[int], measured: Measured, answers: Answers
) -> bool:
    """Warm up and time these variants; whether the operation proved slow."""
    asked = list(variants)
    warms_up = len(asked) > 1
    if warms_up:
        # With parameters that this turn does not time.
        asked.insert(0, (asked[-1] + 1) % VARIANTS)
    for number, variant in enumerate(asked):
        if measured.ended:
            return False
        answer = process.run(operation.code, variant)
        if "milliseconds" not in answer:
            measured.impossible = answer.get("impossible", False)
            measured.error = answer.get("error", "")
            return False
        whole = answer["milliseconds"] * (QUERIES_A_VARIANT if operation.is_search else 1)
        slow = whole > SLOW_MILLISECONDS
        if number or not warms_up or slow:
            _note(measured, answer, operation, variant, answers)
        if slow:
            return True
    return False


def _note(
    measured: Measured, answer: dict[str, Any], operation: Operation, variant: int, answers: Answers
) -> None:
    measured.milliseconds.append(answer["milliseconds"])
    verdict = answers.check(operation.code, variant, answer["answer"])
    if verdict.wrong:
        measured.wrong.append(f"variant {variant}: {verdict.wrong}")
    if verdict.recall is not None:
        measured.recalls.append(verdict.recall)


def operations_of(names: str) -> list[Operation]:
    """The operations of a list like Q1,Q8; deletes last, because they change what is asked."""
    codes = names.split(",") if names else list(OPERATIONS)
    return sorted((OPERATIONS[code] for code in codes), key=lambda operation: operation.is_delete)
