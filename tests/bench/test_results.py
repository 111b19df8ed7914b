"""Turns of a measurement, and what is made of the results."""

from typing import Any
from xml.etree import ElementTree

import pytest

from bench.compare.answers import Answers
from bench.compare.install import systems
from bench.compare.measuring import Measured, measure
from bench.compare.operations import OPERATIONS, VARIANTS
from bench.compare.places import CHECKOUT
from bench.compare.plot import Scale, chart
from bench.compare.process import OURS
from bench.compare.report import table
from bench.compare.workload import Workload
from tests.bench.conftest import right_answer

Asked = list[tuple[str, int]]


class System:
    """Answers rightly, except "b" in variant 4, and takes as long as it is told: it stands for a process."""

    def __init__(
        self, system: str, workload: Workload, asked: list[tuple[str, int]], slowness: float
    ) -> None:
        self.system, self.workload, self.asked, self.slowness = system, workload, asked, slowness

    def run(self, code: str, variant: int) -> dict[str, Any]:
        self.asked.append((self.system, variant))
        wrong = (self.system, variant) == ("b", 4)
        answer = {} if wrong else right_answer(self.workload, code, variant)
        return {"milliseconds": self.slowness + variant, "answer": answer}


def turns(
    workload: Workload, slowness: float, code: str
) -> tuple[list[tuple[str, int]], dict[str, Measured]]:
    asked: list[tuple[str, int]] = []
    systems: Any = [System(name, workload, asked, slowness) for name in ("a", "b")]
    return asked, measure(systems, OPERATIONS[code], Answers(workload))


def test_each_system_is_warm_when_it_is_timed_and_all_take_turns(workload: Workload) -> None:
    asked, found = turns(workload, 1.0, "Q1")
    a_turn = 1 + VARIANTS // 3
    systems = [system for system, _ in asked]
    assert systems == (["a"] * a_turn + ["b"] * a_turn) * 3
    assert found["a"].milliseconds == [1.0 + variant for variant in range(VARIANTS)]
    assert found["a"].median == 5.0
    assert found["a"].wrong == []
    assert len(found["b"].wrong) == 1
    assert found["b"].wrong[0].startswith("variant 4: page")
    for start in range(0, len(asked), a_turn):
        warm_up, *timed = [variant for _, variant in asked[start : start + a_turn]]
        assert warm_up not in timed


def test_what_is_slow_runs_once_a_round(workload: Workload) -> None:
    asked, found = turns(workload, 10_000.0, "Q1")
    assert len(asked) == 6
    assert len(found["a"].milliseconds) == 3


def test_deletes_run_once_a_variant(workload: Workload) -> None:
    asked, _ = turns(workload, 1.0, "D1")
    assert asked == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]


def measured(median: float | None, **more: Any) -> dict[str, Any]:
    return {"median_ms": median, "wrong": [], "recall": None, "error": "", "impossible": False} | more


def results(**cells: dict[str, Any]) -> dict[str, Any]:
    loaded = {"version": "1", "kind": "in process", "emulated": ["Q7"], "batched_per_second": 1234.0}
    systems = {
        name: {"loaded": loaded | {"bytes_each": {}}, "operations": {"Q7": cell}}
        for name, cell in cells.items()
    }
    return {"n": 10_000, "operations": ["Q7"], "skipped": ["chroma"], "systems": systems}


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (measured(20.0), "20* (2 ×)"),
        (measured(20.0, wrong=["variant 1: count 1, not 2"]), "20* (2 ×) **wrong**"),
        (measured(20.0, recall=0.5), "20* (2 ×) recall 0.500"),
        (measured(None, impossible=True), "–"),
        (measured(None, error="out of memory"), "error"),
    ],
)
def test_a_cell_of_the_table(cell: dict[str, Any], expected: str) -> None:
    text = table(results(ours=measured(10.0), other=cell))
    assert f"| Q7 {OPERATIONS['Q7'].title} | 10* | {expected} |" in text
    assert "skipped, as not installed: chroma" in text
    for reason in [*cell["wrong"], cell["error"]]:
        assert reason in text


def test_the_figure_is_valid_and_holds_every_point() -> None:
    lines = {
        "inference_store_query": [(10_000, 1.0), (100_000, 2.0)],
        "duckdb": [(10_000, 3.0), (1_000_000, 9.0)],
    }
    drawn = ElementTree.fromstring(chart({"map": lines, "Q6": lines}))
    space = "{http://www.w3.org/2000/svg}"
    assert len(drawn.findall(f".//{space}circle")) == 8
    assert len(drawn.findall(f".//{space}polyline")) == 4
    titles = [each.text for each in drawn.findall(f".//{space}text") if each.get("class") == "title"]
    assert titles == ["Q6 rectangle, count", "map"]


def test_a_logarithmic_scale() -> None:
    scale = Scale(1.0, 1_000.0, 300.0)
    assert [scale.at(value) for value in (1, 10, 100, 1_000)] == pytest.approx([0, 100, 200, 300])
    assert scale.powers() == [1, 10, 100, 1_000]


def test_every_system_can_be_installed() -> None:
    helpers = {"__init__", "base", "contract_objects", "contract_store", "database", "filling", "flattening"}
    helpers.add("servers")
    modules = {path.stem for path in (CHECKOUT / "bench/compare/stores").glob("*.py")}
    assert modules - helpers - set(OURS) == set(systems())
