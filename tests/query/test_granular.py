"""Granular rows: one per entry, judged by the entry itself, with its inference."""

import pytest

from inference_store.contract.enums import TaskType
from inference_store.contract.filters import NewGetInferencesRequest
from inference_store.query.granular import granular_page
from tests.making import LONG_AGO, make_model, make_request, store

pytestmark = pytest.mark.django_db


def found(model, deconstructed=None, **pagination):
    filters = {"deconstructed_inference_filter": deconstructed}
    request = NewGetInferencesRequest.model_validate({"filters": filters, "pagination": pagination})
    return granular_page(model, request).granular_inferences


def brief(rows):
    return [(row.inference.inference_id, row.position, row.label, row.score) for row in rows]


@pytest.fixture
def model():
    model = make_model()
    store(
        model,
        make_request(model, "1", entries=[{"label": "dog", "score": 0.9}, {"label": "cat", "score": 0.2}]),
        make_request(model, "2", entries=[{"label": "cat", "score": 0.8}, {"label": "cat"}]),
        make_request(model, "3", entries=[]),
        make_request(model, "4"),
    )
    return model


def test_one_row_for_each_entry(model):
    assert brief(found(model)) == [
        ("1", 0, "dog", 0.9),
        ("1", 1, "cat", 0.2),
        ("2", 0, "cat", 0.8),
        ("2", 1, "cat", None),
    ]


def test_label_and_score_are_asked_of_the_entry_itself(model):
    assert brief(found(model, {"labels": ["cat"], "minimum_score": 0.5})) == [("2", 0, "cat", 0.8)]
    assert brief(found(model, {"labels": ["dog"]})) == [("1", 0, "dog", 0.9)]
    assert brief(found(model, {"minimum_score": 0.8, "maximum_score": 0.9})) == [
        ("1", 0, "dog", 0.9),
        ("2", 0, "cat", 0.8),
    ]
    assert found(model, {"labels": []}) == []


def test_entries_without_a_score_are_last(model):
    for direction in ("asc", "desc"):
        assert found(model, sort="score", direction=direction)[-1].score is None


def test_sorted_by_label(model):
    assert [row.label for row in found(model, sort="label")] == ["cat", "cat", "cat", "dog"]


def test_geometry_comes_along():
    model = make_model(task=TaskType.OBJECT_DETECTION)
    sides = {"xmin": 1.5, "ymin": 0, "xmax": 10, "ymax": 20}
    entries = [{"label": "a", **sides}, {"label": "b", "bbox": sides}, {"label": "c"}]
    store(model, make_request(model, "1", entries=entries, created_at=LONG_AGO))
    rows = found(model)
    assert [row.geometry for row in rows] == [{"bbox": sides}, {"bbox": sides}, None]
    assert all(row.inference.created_at == LONG_AGO for row in rows)


def test_other_models_have_their_own(model):
    other = make_model()
    store(other, make_request(other, "1", entries=[{"label": "dog"}]))
    assert brief(found(other)) == [("1", 0, "dog", None)]
