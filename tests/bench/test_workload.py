"""The benchmark's workload is the same everywhere, and its checker knows right from wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.compare import workload as workload_module
from bench.compare.answers import Answers
from bench.compare.operations import NEIGHBOURS, OPERATIONS, VARIANTS
from bench.compare.stores.inference_store_query import QueryStore
from bench.compare.worker import Worker
from bench.compare.workload import START, Workload
from tests.bench.conftest import SIZE, right_answer


def test_the_same_size_is_the_same_workload(
    workload: Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workload_module, "WORKLOADS", tmp_path)
    again = Workload.open(SIZE)
    assert again.records(0, SIZE) == workload.records(0, SIZE)
    assert np.array_equal(again.embeddings, workload.embeddings)
    assert np.array_equal(again.queries, workload.queries)


def test_its_shape(workload: Workload) -> None:
    records, vectors = workload.records(0, SIZE), workload.vectors(0, SIZE)
    created = [record["created_at"] for record in records]
    assert created == sorted(set(created))
    assert START <= created[0] < created[-1] < START + 30 * 86_400
    assert len({record["id"] for record in records}) == SIZE
    assert {len(record["entries"]) for record in records} == {1, 2, 3, 4, 5, 6}
    assert {record["metadata"]["sensor"] for record in records} == set(workload_module.SENSORS)
    assert vectors is not None
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_every_variant_matches_something_and_not_everything(workload: Workload) -> None:
    for operation in OPERATIONS.values():
        for parameters in operation.variants(workload):
            found = operation.matches(workload, parameters).sum()
            if operation.code in ("Q8", "Q11", "Q12"):
                assert found == SIZE
            else:
                assert 0 < found < SIZE, (operation.code, parameters)


@pytest.mark.parametrize("code", OPERATIONS)
def test_the_checker_takes_the_right_answer(workload: Workload, code: str) -> None:
    verdict = Answers(workload).check(code, 0, right_answer(workload, code))
    assert verdict.wrong == ""
    assert verdict.recall in (None, 1.0)


@pytest.mark.parametrize("code", [code for code in OPERATIONS if code not in ("Q8", "Q9")])
def test_the_checker_refuses_wrong_ones(workload: Workload, code: str) -> None:
    answer, answers = right_answer(workload, code), Answers(workload)
    wrong: list[dict[str, Any]] = []
    if answer["count"] is not None:
        wrong.append({"count": answer["count"] + 10})
        wrong.append({"count": None})
    if answer["values"]:
        wrong.append({"values": {**answer["values"], "sensor-00": 1}})
    if answer["histogram"]:
        wrong.append({"histogram": answer["histogram"][::-1]})
    if records := answer.get("records"):
        wrong.append({"records": records[:-3]})
        wrong.append({"records": [*records[:-3], *workload.records(0, 3)]})
        wrong.append({"records": [{**record, "entries": []} for record in records]})
        if code != "Q5":
            wrong.append({"records": records[::-1]})
    assert wrong
    for change in wrong:
        assert answers.check(code, 0, answer | change).wrong, change.keys()


def test_recall_is_the_share_of_true_neighbours(workload: Workload) -> None:
    answer = right_answer(workload, "Q8")
    answer["neighbours"] = [near[: NEIGHBOURS // 2] for near in answer["neighbours"]]
    assert Answers(workload).check("Q8", 0, answer).recall == 0.5


def test_neighbours_are_those_of_all_distances_sorted(workload: Workload) -> None:
    assert workload.embeddings is not None
    query = workload.queries[3]
    sorted_out = np.argsort(1 - workload.embeddings @ query)[:NEIGHBOURS]
    neighbours = Answers(workload).exact("Q8", 0).neighbours
    assert neighbours is not None
    assert set(neighbours[3]) == set(sorted_out.tolist())


@pytest.mark.django_db
def test_the_query_layer_answers_everything_exactly(workload: Workload, tmp_path: Path) -> None:
    store = QueryStore(tmp_path, SIZE, embedded=True)
    store.open(new=True)
    store.insert(workload.records(0, SIZE), workload.vectors(0, SIZE))
    worker, answers = Worker(store, workload, tmp_path), Answers(workload)
    for operation in OPERATIONS.values():
        few = operation.is_delete or operation.is_search  # 20 searches a variant
        for variant in (1,) if few else (0, VARIANTS // 2, VARIANTS - 1):
            found = worker.run(operation.code, variant)
            verdict = answers.check(operation.code, variant, found["answer"])
            assert verdict.wrong == "", (operation.code, variant)
            assert verdict.recall in (None, 1.0), (operation.code, variant)
