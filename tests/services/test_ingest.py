"""What is stored comes back as it was sent; what does not fit is refused, and then nothing is stored."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

import pytest
from django.utils import timezone
from pydantic import ValidationError

from inference_store.contract.enums import ACTIONS_OF_TASK, InferenceAction, TaskType
from inference_store.contract.errors import Refusal
from inference_store.contract.inferences import NewInferenceStorageRequest
from inference_store.models import Embedding, Entry, Inference
from inference_store.query.pages import one_inference
from inference_store.services import deletion, ingest, metadata
from tests import oracle
from tests.making import HASH, LONG_AGO, make_model, make_request, make_upload, store
from tests.query.random_data import FLOATS, INTS, STRINGS

pytestmark = pytest.mark.django_db
SIDES = {"xmin": 1, "ymin": 2.5, "xmax": 10, "ymax": 20}


def refused(model, *requests):
    """The refusal of a bulk, of which nothing may be stored."""
    before = Inference.objects.count()
    with pytest.raises(Refusal) as caught:
        store(model, *requests)
    assert Inference.objects.count() == before
    return caught.value


def stored(model, **fields):
    (inference_id,) = store(model, make_request(model, **fields))
    return one_inference(model, inference_id)


def changed(request, **fields):
    return NewInferenceStorageRequest.model_validate(request.model_dump() | fields)


# --- Once more ---------------------------------------------------------------------------------------------


def test_the_same_content_again_is_the_same_row():
    model = make_model()
    request = make_request(model, "1", metadata=[("k", "int", "1")], entries=[{"label": "a"}], source="s")
    first = ingest.store_inference(model=model, request=request)
    again = ingest.store_inference(model=model, request=changed(request))
    assert (first.created_count, again.created_count, again.inference_ids) == (1, 0, ["1"])
    assert (Inference.objects.count(), Entry.objects.count()) == (1, 1)


def test_storage_keys_are_no_content():
    model = make_model()
    first = make_request(model, "1", key=make_upload(model))
    store(model, first)
    store(model, changed(first, data_storage_key=make_upload(model, b"the input, sent again")))
    assert one_inference(model, "1").data_storage_key == first.data_storage_key


def test_later_edits_of_metadata_are_no_content():
    model = make_model()
    request = make_request(model, "1", metadata=[("k", "int", "1")])
    store(model, request)
    metadata.delete_metadata(model=model, inference_id="1", key="k")
    assert ingest.store_inference(model=model, request=request).created_count == 0


@pytest.mark.parametrize(
    "other",
    [
        {"source": "another"},
        {"protected": True},
        {"metadata": [("k", "int", "2")]},
        {"metadata": [("k", "float", "1")]},
        {"entries": []},
        {"entries": [{"label": "a", "more": 1}]},
        {"place": (0, 0)},
        {"created_at": LONG_AGO + timedelta(microseconds=1)},
        {"inference": {"a": 1}},
        {"data_hash": "cd" * 32},
        {"size": 11},
        {"action": "predict"},
    ],
    ids=str,
)
def test_other_content_for_the_same_id(other):
    model = make_model()
    fields = {"metadata": [("k", "int", "1")], "entries": [{"label": "a"}], "created_at": LONG_AGO}
    store(model, make_request(model, "1", **fields))
    refusal = refused(model, make_request(model, "1", **fields | other))
    assert refusal.status == 409
    assert one_inference(model, "1").data_source is None


def test_the_order_of_keys_and_the_zone_of_a_time_are_no_content():
    model = make_model()
    there = LONG_AGO.astimezone(datetime.fromisoformat("2026-01-01T00:00:00+05:00").tzinfo)
    store(model, make_request(model, "1", inference={"a": 1, "b": 2}, created_at=LONG_AGO))
    store(model, make_request(model, "1", inference={"b": 2, "a": 1}, created_at=there))
    assert Inference.objects.count() == 1


def test_a_hash_in_upper_case_is_the_same_hash():
    model = make_model()
    store(model, make_request(model, "1"), make_request(model, "1", data_hash=HASH.upper()))
    assert one_inference(model, "1").data_hash == HASH


def test_a_deleted_id_may_be_stored_again():
    model = make_model()
    store(model, make_request(model, "1"))
    deletion.delete_inference(model=model, inference_id="1")
    assert (
        ingest.store_inference(model=model, request=make_request(model, "1", source="b")).created_count == 1
    )


def test_two_models_may_use_one_id():
    one, other = make_model(), make_model()
    store(one, make_request(one, "1"))
    store(other, make_request(other, "1"))
    assert Inference.objects.count() == 2


# --- All or nothing ----------------------------------------------------------------------------------------


def test_a_bulk_names_the_item_that_is_wrong():
    model = make_model()
    good = [make_request(model, f"good {number}") for number in range(3)]
    bad = make_request(model, "bad", embedding=[1.0])
    refusal = refused(model, *good, bad)
    assert refusal.status == 400
    assert list(refusal.fields) == ["3.data.embedding"]
    assert "item 3" in refusal.message
    assert "'bad'" in refusal.message


def test_a_bulk_names_the_item_that_is_taken():
    model = make_model()
    store(model, make_request(model, "taken"))
    refusal = refused(model, make_request(model, "new"), make_request(model, "taken", source="other"))
    assert refusal.status == 409
    assert list(refusal.fields) == ["1.inference_id"]


def test_an_id_twice_in_one_bulk():
    model = make_model()
    request = make_request(model, "1")
    result = ingest.store_inferences(model=model, requests=[request, request, make_request(model, "2")])
    assert (result.inference_ids, result.created_count) == (["1", "1", "2"], 2)
    other = make_request(model, "3")
    refusal = refused(model, other, changed(other, is_protected=True))
    assert (refusal.status, list(refusal.fields)) == (409, ["1.inference_id"])


def test_a_storage_key_that_fails_leaves_nothing():
    model = make_model(embedding_size=1)
    request = make_request(model, key="1/" + "0" * 32, entries=[{"label": "a"}], embedding=[1.0])
    assert refused(model, make_request(model), request).status == 400
    assert (Entry.objects.count(), Embedding.objects.count()) == (0, 0)


# --- What does not fit -------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TaskType)
def test_only_the_allowed_pairs(task):
    model = make_model(task=task)
    for action in InferenceAction:
        request = make_request(model, action=action)
        if action in ACTIONS_OF_TASK[task]:
            assert len(store(model, request)) == 1
        else:
            assert refused(model, request).status == 400


def test_another_task_than_the_model_s():
    model, other = make_model(), make_model(task=TaskType.OBJECT_DETECTION)
    request = changed(make_request(other), model_id=model.model_id)
    assert list(refused(model, request).fields) == ["0.data.metadata.standard_metadata.task_type"]


def test_another_model_than_the_path_s():
    model, other = make_model(), make_model()
    assert refused(model, make_request(other)).status == 400


def test_a_list_of_another_task():
    model = make_model()
    request = make_request(model, "1").model_dump()
    request["data"]["object_detection"] = []
    refusal = refused(model, NewInferenceStorageRequest.model_validate(request))
    assert (refusal.status, list(refusal.fields)) == (400, ["0.data.object_detection"])


@pytest.mark.parametrize(("size", "sent"), [(0, [1.0]), (0, []), (2, [1.0]), (2, [1.0] * 3), (2, [])])
def test_an_embedding_of_the_wrong_size(size, sent):
    model = make_model(embedding_size=size)
    assert refused(model, make_request(model, embedding=sent)).status == 400


def test_a_time_in_the_future():
    model = make_model()
    soon = timezone.now() + timedelta(minutes=1)
    assert refused(model, make_request(model, created_at=soon)).status == 400
    assert stored(model, created_at=LONG_AGO).created_at == LONG_AGO


@pytest.mark.parametrize(
    "wrong",
    [
        {"place": (90.0001, 0)},
        {"place": (0, -180.5)},
        {"place": (1.0, None)},
        {"place": (float("nan"), 0)},
        {"embedding": [float("nan")]},
        {"embedding": [float("inf")]},
        {"embedding": [3.5e38]},
        {"embedding": [None]},
        {"entries": [{"label": "a", "score": float("nan")}]},
        {"entries": [{"label": "a", "score": float("inf")}]},
        {"entries": [{"label": "a", "score": "0.5"}]},
        {"entries": [{"label": "a", "score": True}]},
        {"entries": [{"score": 0.5}]},
        {"entries": [{"label": "a\x00"}]},
        {"entries": [{"label": "\ud800"}]},
        {"inference": {"a\x00": 1}},
        {"inference": ["\udfff"]},
        {"source": "\x00"},
        {"data_hash": "ab"},
        {"data_hash": "zz" * 32},
        {"size": -1},
        {"metadata": [("k", "int", "1.0")]},
        {"metadata": [("k", "int", str(2**63))]},
        {"metadata": [("k", "float", "nan")]},
        {"metadata": [("k", "float", "1e400")]},
        {"metadata": [("k", "json", "{")]},
        {"metadata": [("k", "json", "[NaN]")]},
        {"metadata": [("k", "json", '"\\u0000"')]},
        {"metadata": [("k", "json", '"\\ud800"')]},
        {"metadata": [("k", "string", "\x00")]},
        {"metadata": [("", "string", "")]},
        {"metadata": [("k\x00", "string", "")]},
        {"metadata": [("k", "int", "1"), ("k", "float", "1")]},
        {"inference_id": "a/b"},
        {"inference_id": ".."},
        {"inference_id": "a\nb"},
        {"inference_id": "x" * 256},
    ],
    ids=ascii,
)
def test_what_can_not_be_stored_is_refused_before(wrong):
    with pytest.raises(ValidationError):
        make_request(make_model(embedding_size=1), **wrong)


# --- What comes back ---------------------------------------------------------------------------------------


def test_a_list_comes_back_as_it_was_sent():
    model = make_model(task=TaskType.OBJECT_DETECTION)
    entries = [{"class_name": "é😀", "score": 1, "bbox": SIDES, "mine": {"a": [None, 10**30]}}, {"label": ""}]
    found = stored(model, entries=entries)
    assert json.loads(found.data) == entries
    assert (found.version, found.structured_embedding, found.embedding) == ("v2", None, None)


@pytest.mark.parametrize(
    ("fields", "data", "version"),
    [
        ({}, None, "v1"),
        ({"inference": {"boxes": [1, 2.5]}}, {"boxes": [1, 2.5]}, "v1"),
        ({"entries": []}, [], "v2"),
        ({"entries": [], "inference": {"native": 1}}, [], "v2"),
        ({"embedding": [1.0, 2.0]}, [1.0, 2.0], "v2"),
        ({"embedding": [1.0, 2.0], "inference": 1}, [1.0, 2.0], "v2"),
        ({"entries": [], "embedding": [1.0, 2.0]}, [], "v2"),
    ],
    ids=str,
)
def test_data_and_version(fields, data, version):
    found = stored(make_model(embedding_size=2), **fields)
    assert (None if found.data is None else json.loads(found.data)) == data
    assert found.version == version


@pytest.mark.parametrize(
    "numbers", [[0.1, 0.2], [1, 2], [1 / 3, 1e-30], [16777217.0, -0.0], [1e-60, 3e38], [0.5, 0.25]]
)
def test_the_numbers_of_an_embedding_come_back_as_sent(numbers):
    model = make_model(embedding_size=2)
    found = stored(model, embedding=numbers)
    assert json.loads(found.data) == numbers
    assert found.structured_embedding == numbers


def test_an_embedding_beside_a_list():
    model = make_model(embedding_size=2)
    for entries in ([], [{"label": "a"}]):
        found = stored(model, entries=entries, embedding=[0.5, 0.25])
        assert json.loads(found.data) == entries
        assert found.structured_embedding == [0.5, 0.25]


def test_metadata_comes_back_equal():
    model = make_model()
    documents = [None, True, 1, 1.0, 10**30, "é😀", [], {}, {"a": {"b.c": [1, None, {"": -0.5}]}}, 1e300]
    values = [*(("int", text) for text in INTS), *(("float", text) for text in FLOATS)]
    values += [("string", text) for text in STRINGS]
    values += [("json", json.dumps(document)) for document in documents]
    sent = {f"key {number}": value for number, value in enumerate(values)}
    found = stored(model, metadata=[(key, type_, text) for key, (type_, text) in sent.items()]).metadata
    # A JSON number is its decimal value: 1e300 may come back with all its zeros.
    read = {"int": int, "float": float, "string": str}
    read["json"] = partial(json.loads, parse_int=Decimal, parse_float=Decimal)
    assert {each.key for each in found} == set(sent)
    for each in found:
        type_, text = sent[each.key]
        assert each.type == type_
        assert read[type_](each.value) == read[type_](text)


def test_standard_metadata_comes_back():
    model = make_model()
    found = stored(model, source="camera", place=(-90, 180), action="embed", protected=True)
    assert (found.data_source, found.inference_action, found.is_protected) == ("camera", "embed", True)
    assert (found.data_coordinates.latitude, found.data_coordinates.longitude) == (-90, 180)
    assert abs(found.created_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_entries_are_read_for_filters():
    model = make_model()
    request = make_request(model, "1", entries=[{"class_label": "a", "score": 0.5}, {"class_name": "b"}])
    store(model, request)
    rows = Entry.objects.order_by("position").values_list("label", "score")
    assert list(rows) == oracle.entries(request)
