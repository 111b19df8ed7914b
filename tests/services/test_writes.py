"""Deletion, protection, metadata and registration."""

import pytest
from pydantic import ValidationError

from inference_store.contract.enums import TaskType
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import BaseInferenceFilter
from inference_store.contract.inferences import (
    NewBulkDeleteRequest,
    NewProjectRequest,
    NewRegisterModelRequest,
)
from inference_store.contract.metadata import NewExtendedMetadataRequest
from inference_store.models import Embedding, Entry, Inference
from inference_store.query.pages import metadata_of
from inference_store.services import deletion, metadata, protection, registration
from tests.making import make_model, make_project, make_request, make_user, store

pytestmark = pytest.mark.django_db


def status_of(act, **kwargs):
    with pytest.raises(Refusal) as refused:
        act(**kwargs)
    return refused.value.status


# --- Deletion ----------------------------------------------------------------------------------------------


def test_everything_of_an_inference_goes():
    model = make_model(embedding_size=1)
    fields = {"entries": [{"label": "a"}], "embedding": [1.0], "protected": True}
    store(model, make_request(model, "1", **fields), make_request(model, "2", **fields))
    assert deletion.delete_inference(model=model, inference_id="1") == "1"
    for table in (Inference, Entry, Embedding):
        assert table.objects.count() == 1
    assert status_of(deletion.delete_inference, model=model, inference_id="1") == 404


def test_a_filter_deletes_what_it_matches_and_nothing_of_other_models():
    model, other = make_model(), make_model()
    store(model, make_request(model, "1", source="a"), make_request(model, "2", source="b", protected=True))
    store(other, make_request(other, "1", source="b"))
    filters = BaseInferenceFilter(data_source_filter="b")
    assert deletion.delete_matching(model=model, filters=filters) == ["2"]
    assert deletion.delete_matching(model=model, filters=filters) == []
    assert Inference.objects.count() == 2


@pytest.mark.parametrize(
    "filters",
    [
        {"data_source": "a"},
        {"metadata_filters": []},
        {"location_filter": {"circle": None}},
        {"time_window_filter": {"from": "2026-01-01T00:00:00Z"}},
        {"metadata_filter": [{"key": "k", "operator": "=", "type": "int", "value": "1", "op": "="}]},
        {"deconstructed_inference_filter": {"label": ["a"]}},
    ],
)
def test_a_misspelt_filter_is_refused(filters):
    with pytest.raises(ValidationError):
        NewBulkDeleteRequest.model_validate({"filters": filters})


# --- Protection --------------------------------------------------------------------------------------------


def test_protection_is_set_and_lifted():
    model = make_model()
    store(model, make_request(model, "1"), make_request(model, "2", source="a"))
    protection.set_protection(model=model, inference_id="1", is_protected=True)
    assert Inference.objects.get(is_protected=True).inference_id == "1"
    everything = BaseInferenceFilter()
    change = protection.set_protection_by_filter
    assert change(model=model, filters=everything, is_protected=True) == 1
    assert change(model=model, filters=everything, is_protected=True) == 0
    narrow = BaseInferenceFilter(data_source_filter="a")
    assert change(model=model, filters=narrow, is_protected=False) == 1
    assert Inference.objects.get(is_protected=True).inference_id == "1"


def test_protection_of_what_is_not_there():
    model = make_model()
    assert status_of(protection.set_protection, model=model, inference_id="1", is_protected=True) == 404


# --- Metadata ----------------------------------------------------------------------------------------------


def held(model):
    return [(each.key, each.type, each.value) for each in metadata_of(model, "1")]


def test_a_key_posted_again_is_replaced_whatever_its_type():
    model = make_model()
    store(model, make_request(model, "1", metadata=[("k", "int", "1"), ("other", "int", "2")]))
    for type_, value in [("int", "3"), ("string", "x"), ("json", '{"a":1}'), ("float", "0.5"), ("int", "4")]:
        request = NewExtendedMetadataRequest(key="k", type=type_, value=value)
        answer = metadata.put_metadata(model=model, inference_id="1", request=request)
        assert (answer.key, answer.type, answer.value) == ("k", type_, value)
        assert held(model) == [("k", type_, value), ("other", "int", "2")]


def test_a_key_is_deleted_once():
    model = make_model()
    store(model, make_request(model, "1", metadata=[("k", "int", "1")]))
    where = {"model": model, "inference_id": "1", "key": "k"}
    assert metadata.delete_metadata(**where) == "k"
    assert held(model) == []
    assert status_of(metadata.delete_metadata, **where) == 404


def test_metadata_of_what_is_not_there():
    model = make_model()
    request = NewExtendedMetadataRequest(key="k", type="int", value="1")
    assert status_of(metadata.put_metadata, model=model, inference_id="1", request=request) == 404
    assert status_of(metadata.delete_metadata, model=model, inference_id="1", key="k") == 404
    assert metadata_of(model, "1") is None


# --- Registration ------------------------------------------------------------------------------------------


def asked(project, model_id="m", task=TaskType.OBJECT_DETECTION, size=0):
    return NewRegisterModelRequest(
        model_id=model_id, project_id=project.project_id, task_type=task, embedding_size=size
    )


def test_a_model_registered_again():
    editor = make_user()
    project = make_project(editor=editor)
    model, created = registration.register_model(user=editor, request=asked(project))
    again, created_again = registration.register_model(user=editor, request=asked(project))
    assert (created, created_again, again) == (True, False, model)


def test_a_model_registered_with_other_content():
    alice, bob = make_user(), make_user()
    hers, his = make_project("the secret project", editor=alice), make_project(editor=bob)
    registration.register_model(user=alice, request=asked(hers))
    for user, request in [
        (bob, asked(his)),
        (alice, asked(hers, size=3)),
        (alice, asked(hers, task=TaskType.IMAGE_EMBEDDING)),
    ]:
        with pytest.raises(Refusal) as refused:
            registration.register_model(user=user, request=request)
        assert refused.value.status == 409
        assert "secret" not in f"{refused.value.message} {refused.value.fields}"


def test_who_may_register():
    viewer, stranger = make_user(), make_user()
    project = make_project(viewer=viewer)
    assert status_of(registration.register_model, user=viewer, request=asked(project)) == 403
    assert status_of(registration.register_model, user=stranger, request=asked(project)) == 404


def test_staff_create_projects():
    staff, other = make_user(is_staff=True), make_user()
    request = NewProjectRequest(project_id="p")
    project = registration.create_project(user=staff, request=request)
    assert project.role_of(staff) == "admin"
    assert status_of(registration.create_project, user=staff, request=request) == 409
    assert status_of(registration.create_project, user=other, request=request) == 403
