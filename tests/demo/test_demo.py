"""The demo's models make what the contract wants, alike on every run; the command brings them to a store."""

import io
import math
import sys
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np
import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from inference_store.client import connection, inference, metadata
from inference_store.contract.enums import ACTIONS_OF_TASK, TaskType
from inference_store.contract.filters import NewGetInferencesRequest
from inference_store.contract.inferences import LIST_OF_TASK
from inference_store.demo import sending
from inference_store.demo.base import typed
from inference_store.demo.catalogue import MODELS
from inference_store.demo.places import DAYS, PLACES, Visit, today
from inference_store.models import Membership, Project, Role, Token

FEW = 12
NOW = datetime(2026, 3, 14, 9, 30, tzinfo=UTC)
by_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.model_id)
_made = {}


def few(model):
    """A few samples; made once."""
    if model.model_id not in _made:
        _made[model.model_id] = list(model.samples(FEW))
    return _made[model.model_id]


def picture(sample):
    return cv2.imdecode(np.frombuffer(sample.blob, dtype=np.uint8), cv2.IMREAD_UNCHANGED)


def requests(model):
    start = today(NOW)
    return [model.request(s, model.visit(s.number).created_at(start, NOW)) for s in few(model)]


def test_every_task_type_has_a_model():
    assert {model.task_type for model in MODELS} == set(TaskType)
    assert len({model.model_id for model in MODELS}) == len(MODELS) >= 6
    assert all(model.action in ACTIONS_OF_TASK[model.task_type] for model in MODELS)
    assert 2_500 <= sum(model.count for model in MODELS) <= 4_000


@by_model
def test_requests_keep_the_contract(model):
    made = requests(model)
    assert [request.inference_id for request in made] == [model.inference_id(n) for n in range(FEW)]
    for request, sample in zip(made, few(model), strict=True):
        standard = request.data.metadata.standard_metadata
        assert request.data.list_name == LIST_OF_TASK.get(model.task_type)
        assert standard.data_size == len(sample.blob) > 0
        assert NOW - timedelta(days=DAYS + 1) <= request.created_at <= NOW
        types = {item.type for item in request.data.metadata.extended_metadata}
        assert types == {"int", "float", "string", "json"}
        if model.embedding_size:
            assert len(request.data.embedding) == model.embedding_size
            assert any(request.data.embedding)


@by_model
def test_samples_are_the_same_on_every_run(model):
    assert list(model.samples(FEW)) == few(model)


@by_model
def test_inputs_are_distinct(model):
    assert len({sample.blob for sample in few(model)}) == FEW


@pytest.mark.parametrize(
    "model", [m for m in MODELS if m.task_type is TaskType.OBJECT_DETECTION], ids=lambda model: model.model_id
)
def test_boxes_lie_in_the_picture(model):
    found = 0
    for sample in few(model):
        tall, wide = picture(sample).shape[:2]
        for entry in sample.entries:
            box = entry["bbox"]
            assert 0 <= box["xmin"] < box["xmax"] <= wide
            assert 0 <= box["ymin"] < box["ymax"] <= tall
            assert 0 <= entry["score"] <= 1
            found += 1
    assert found >= 5


def test_oriented_boxes_lie_in_the_picture():
    model = next(m for m in MODELS if m.task_type is TaskType.ORIENTED_OBJECT_DETECTION)
    found = 0
    for sample in few(model):
        tall, wide = picture(sample).shape[:2]
        for entry in sample.entries:
            box = entry["oriented_bbox"]
            assert -math.pi <= box["r"] <= math.pi
            sides = ((box["cx"] * wide, box["cy"] * tall), (box["w"] * wide, box["h"] * tall))
            corners = cv2.boxPoints((*sides, math.degrees(box["r"])))
            assert (corners >= -0.1).all()
            assert (corners[:, 0] <= wide + 0.1).all()
            assert (corners[:, 1] <= tall + 0.1).all()
            found += 1
    assert found >= 30


def test_contours_are_rings_in_the_picture():
    model = next(m for m in MODELS if m.task_type is TaskType.IMAGE_SEGMENTATION)
    found = 0
    for sample in few(model):
        tall, wide = picture(sample).shape[:2]
        for entry in sample.entries:
            assert entry["contours"]
            for ring in entry["contours"]:
                assert len(ring) >= 3
                assert all(0 <= point["x"] < wide and 0 <= point["y"] < tall for point in ring)
            found += 1
    assert found >= 100


def test_digits_are_told_apart_and_doubted():
    model = next(m for m in MODELS if m.task_type is TaskType.IMAGE_CLASSIFICATION)
    samples = list(model.samples(model.count))
    assert len(samples) == model.count
    right = sum(sample.metadata["verdict"] == "right" for sample in samples)
    assert 0.9 < right / len(samples) < 1
    assert all(abs(sum(entry["score"] for entry in s.entries) - 1) < 1e-4 for s in samples)
    assert min(sample.entries[0]["score"] for sample in samples) < 0.5


def test_visits_spread_over_weeks_and_places():
    visits = [model.visit(number) for model in MODELS for number in range(model.count)]
    times = [visit.created_at(today(NOW), NOW) for visit in visits]
    assert max(times) <= NOW
    assert timedelta(days=DAYS - 2) < max(times) - min(times) <= timedelta(days=DAYS)
    assert {visit.site for visit in visits} == {place.name for place in PLACES}
    placed = [visit for visit in visits if visit.latitude is not None]
    assert 0.9 < len(placed) / len(visits) < 1
    east = [v.longitude for v in placed if v.site == "Taveuni"]
    assert min(east) < -179 < 179 < max(east)
    assert 0.02 < sum(visit.share < 0.03 for visit in visits) / len(visits) < 0.04


def test_the_first_day_is_told_by_what_is_stored():
    visits = [Visit.of(f"any-{number}") for number in range(50)]
    days = [visit.first_day(visit.created_at(today(NOW), NOW)) for visit in visits]
    assert max(days) == today(NOW)
    later = NOW + timedelta(days=9)
    assert sending.first_day([sending.Stored(frozenset({0}), max(days))], later) == today(NOW)
    assert sending.first_day([sending.Stored(frozenset(), None)], later) == today(later)


def test_metadata_takes_the_type_it_has():
    made = [typed("k", value) for value in (3, 0.5, "3", {"a": [1]}, True)]
    assert [item.type for item in made] == ["int", "float", "string", "json", "json"]
    assert [item.parsed() for item in made] == [3, 0.5, "3", {"a": [1]}, True]


def test_ids_of_others_are_left_alone():
    model = MODELS[0]
    assert model.number(model.inference_id(41)) == 41
    assert model.number("mine-00041") is None
    assert model.number(f"{model.model_id}-x") is None


def test_nobody_there_is_a_clear_message(monkeypatch):
    monkeypatch.setattr("inference_store.client.sending.RETRIES", 0)
    with pytest.raises(CommandError, match="make up"):
        call_command("demo", url="http://127.0.0.1:9", token="any")


def test_without_an_address_or_with_a_wrong_scale(monkeypatch):
    for name in ("INFERENCE_STORE_URL", "INFERENCE_STORE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CommandError, match="INFERENCE_STORE_URL"):
        call_command("demo")
    with pytest.raises(CommandError, match="--scale"):
        call_command("demo", scale=0.0)


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "inference_store.demo.catalogue", None)
    with pytest.raises(CommandError, match=r"inference-store\[demo\]"):
        call_command("demo", url="http://127.0.0.1:9", token="any")


@pytest.fixture
def store(live_server):
    """A store's address with an editor's token; requests travel over HTTP."""
    user = get_user_model().objects.create_user("demo-editor")
    project = Project.objects.create(project_id="demo", name="Demo")
    Membership.objects.create(user=user, project=project, role=Role.EDITOR)
    _, secret = Token.objects.issue(user, "test")
    yield {"url": live_server.url, "token": secret}
    connection.disconnect()


def run(store, scale):
    """What the command printed, and what the store holds then: {model: {id: created_at}}."""
    out = io.StringIO()
    call_command("demo", **store, scale=scale, stdout=out)
    connection.connect(store["url"], store["token"])
    held = {
        model.model_id: {i.inference_id: i.created_at for i in inference.iterate_inferences(model.model_id)}
        for model in MODELS
    }
    return out.getvalue(), held


def test_a_second_run_finds_everything_there(store):
    scale = 0.02
    printed, held = run(store, scale)
    counts = {model.model_id: sending.scaled(model, scale) for model in MODELS}
    assert {model_id: len(times) for model_id, times in held.items()} == counts
    assert f"There now: {sum(counts.values())} inferences of {len(MODELS)} models" in printed
    again, held_again = run(store, scale)
    assert held_again == held
    assert again.count(" 0 new") == len(MODELS)
    # What was lost comes back as it was; what is there stays.
    model = MODELS[0]
    lost = model.inference_id(3)
    assert inference.delete_inference(model.model_id, lost) == lost
    _, healed = run(store, scale)
    assert healed == held
    types = metadata.get_metadata_key_type_counts(model.model_id).counts
    assert {kind for kinds in types.values() for kind in kinds} == {"int", "float", "string", "json"}
    everything = inference.filter_inferences(model.model_id, NewGetInferencesRequest())
    assert len({found.data_storage_key for found in everything} - {None}) == counts[model.model_id]


def test_a_project_that_is_not_there_is_named(store):
    with pytest.raises(CommandError, match="'elsewhere'"):
        call_command("demo", **store, project="elsewhere", scale=0.01)
