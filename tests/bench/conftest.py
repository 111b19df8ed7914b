"""A small workload for all tests here."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.compare import workload as workload_module
from bench.compare.answers import Answers
from bench.compare.workload import Workload

SIZE = 2_000


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Workloads are generated in a directory of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("workloads")
        patch.setattr(workload_module, "WORKLOADS", place)
        yield place


@pytest.fixture(scope="session")
def workload(places: Path) -> Workload:
    return Workload.open(SIZE)


def right_answer(workload: Workload, code: str, variant: int = 0) -> dict[str, Any]:
    """What a system without fault answers."""
    exact = Answers(workload).exact(code, variant)
    answer: dict[str, Any] = {"count": exact.count, "histogram": exact.histogram, "values": exact.values}
    if exact.positions is not None:
        answer["records"] = [workload.record(position) for position in exact.positions]
    if exact.neighbours is not None:
        answer["neighbours"] = [[workload.identity(each) for each in near] for near in exact.neighbours]
    return answer
