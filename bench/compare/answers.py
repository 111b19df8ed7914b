"""The exact answers, and whether a system's is one."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from bench.compare.operations import BINS, NEIGHBOURS, OPERATIONS, PAGE, Operation, Parameters
from bench.compare.workload import SENSORS, Array, Record, Workload

VECTORS_AT_ONCE = 100_000
RIM = 0.005
"""The share of a circle's inferences that may differ: systems differ in the radius of their earth."""
RIM_ROWS = 2
EDGE_VALUES = 4
"""So many values of a histogram may lie in the next bin: edges differ in their last digit."""


@dataclass(frozen=True)
class Exact:
    """What the right answer is made of; `positions` are those of a page, newest first."""

    count: int | None = None
    positions: list[int] | None = None
    histogram: list[int] | None = None
    values: dict[str, int] | None = None
    neighbours: list[list[int]] | None = None


@dataclass(frozen=True)
class Verdict:
    """`wrong` is empty where the answer is right; `recall` is of searches only."""

    wrong: str = ""
    recall: float | None = None


class Answers:
    """The exact answers to every variant, each computed once."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.exact = lru_cache(None)(self._exact)

    def _exact(self, code: str, variant: int) -> Exact:
        operation = OPERATIONS[code]
        parameters = operation.variants(self.workload)[variant]
        return exact(self.workload, operation, parameters)

    def check(self, code: str, variant: int, answer: dict[str, Any]) -> Verdict:
        """Compare what a system answered, as plain data, with what is right."""
        right = self.exact(code, variant)
        if right.neighbours is not None:
            return self._check_neighbours(right.neighbours, answer)
        wrong = [
            *self._check_count(right, answer, RIM if code == "Q5" else 0.0),
            *self._check_page(right, answer, RIM_ROWS if code == "Q5" else 0),
        ]
        if right.histogram is not None:
            given = answer.get("histogram") or []
            moved = sum(abs(a - b) for a, b in zip(given, right.histogram, strict=False))
            if len(given) != BINS or moved > EDGE_VALUES:
                wrong.append(f"histogram {given}, not {right.histogram}")
        if right.values is not None and answer.get("values") != right.values:
            wrong.append(f"values {answer.get('values')}, not {right.values}")
        return Verdict("; ".join(wrong))

    def _check_neighbours(self, right: list[list[int]], answer: dict[str, Any]) -> Verdict:
        shares = []
        for positions, given in zip(right, answer["neighbours"], strict=True):
            identities = {self.workload.identity(position) for position in positions}
            shares.append(len(identities & set(given)) / len(identities))
        return Verdict(recall=float(np.mean(shares)))

    def _check_count(self, right: Exact, answer: dict[str, Any], rim: float) -> list[str]:
        if right.count is None:
            return []
        given, allowed = answer.get("count"), rim * right.count + (RIM_ROWS if rim else 0)
        off = given is None or abs(given - right.count) > allowed
        return [f"count {given}, not {right.count}"] if off else []

    def _check_page(self, right: Exact, answer: dict[str, Any], rim_rows: int) -> list[str]:
        if right.positions is None:
            return []
        expected = {record["id"]: record for record in map(self.workload.record, right.positions)}
        given: list[Record] = answer.get("records") or []
        identities = [record["id"] for record in given]
        common = [record for record in given if record["id"] in expected]
        if len(common) < len(expected) - rim_rows or len(given) != len(expected):
            return [f"page has {len(common)} of {len(expected)} right inferences"]
        if not rim_rows and identities != list(expected):
            return ["page in another order"]
        differing = [record for record in common if not same(record, expected[record["id"]])]
        return [f"{len(differing)} of {len(given)} inferences differ in content"] if differing else []


def same(given: Record, expected: Record) -> bool:
    """Whether it is the stored inference, with its time to the millisecond."""
    if abs(given["created_at"] - expected["created_at"]) > 0.0005:
        return False
    return {**given, "created_at": 0} == {**expected, "created_at": 0}


def exact(workload: Workload, operation: Operation, parameters: Parameters) -> Exact:
    """The right answer, computed from the columns alone."""
    positions = np.flatnonzero(operation.matches(workload, parameters))
    if operation.is_search:
        first, after = parameters["queries"]
        return Exact(neighbours=_nearest(workload, positions, workload.queries[first:after]))
    match operation.code:
        case "Q1" | "Q12":
            offset = parameters.get("offset", 0)
            return Exact(positions=positions[::-1][offset : offset + PAGE].tolist())
        case "Q2" | "Q3" | "Q5" | "Q7":
            return Exact(count=len(positions), positions=positions[::-1][:PAGE].tolist())
        case "Q10":
            return Exact(histogram=histogram(workload.columns.altitude[positions]))
        case "Q11":
            numbers, counts = np.unique(workload.columns.sensor, return_counts=True)
            found = zip(numbers.tolist(), counts.tolist(), strict=True)
            return Exact(values={SENSORS[number]: count for number, count in found})
        case _:
            return Exact(count=len(positions))


def histogram(values: Array) -> list[int]:
    """Counts in bins of equal width from the smallest value to the largest."""
    if not len(values):
        return [0] * BINS
    counts: list[int] = np.histogram(values, BINS, (values.min(), values.max()))[0].tolist()
    return counts


def _nearest(workload: Workload, positions: Array, queries: Array) -> list[list[int]]:
    """The positions of the nearest embeddings by cosine, in no order, a block of embeddings at a time."""
    assert workload.embeddings is not None
    everything = len(positions) == workload.size
    best_scores = np.empty((len(queries), 0), np.float32)
    best_positions = np.empty((len(queries), 0), np.int64)
    for first in range(0, len(positions), VECTORS_AT_ONCE):
        block = positions[first : first + VECTORS_AT_ONCE]
        vectors = workload.embeddings[block[0] : block[-1] + 1] if everything else workload.embeddings[block]
        best_scores = np.concatenate([best_scores, queries @ vectors.T], axis=1)
        best_positions = np.concatenate(
            [best_positions, np.broadcast_to(block, (len(queries), len(block)))], 1
        )
        last = min(NEIGHBOURS, best_scores.shape[1]) - 1
        kept = np.argpartition(-best_scores, last, axis=1)[:, : last + 1]
        best_scores = np.take_along_axis(best_scores, kept, 1)
        best_positions = np.take_along_axis(best_positions, kept, 1)
    nearest: list[list[int]] = best_positions.tolist()
    return nearest
