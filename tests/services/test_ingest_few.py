"""Single posts: the short way stores just what the long way does, and who is stored together fails alone."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import numpy as np
import pytest
from django.db import connection
from django.utils import timezone

from inference_store.contract.enums import TaskType
from inference_store.contract.errors import Refusal
from inference_store.models import Embedding, Entry, Inference, SearchSlot
from inference_store.query import rows
from inference_store.query.pages import plain_inference
from inference_store.query.statistics import key_type_counts
from inference_store.services import deletion, ingest, ingest_few, slot_assignment
from tests.making import LONG_AGO, make_model, make_request, make_upload
from tests.query.random_data import give_slots, random_request, searched_keys
from tests.services.test_slots import drift

POINTS = [{"x": 0.1, "y": -0.0}, {"x": 1, "y": 1e22}]
GEOMETRIES = {
    TaskType.OBJECT_DETECTION: {
        "bbox": {"xmin": 1, "ymin": 0.1, "xmax": 1e300, "ymax": -0.0},
        "mine": [None],
    },
    TaskType.ORIENTED_OBJECT_DETECTION: {"cx": 0.5, "cy": 0.1, "w": 5e-324, "h": 1, "r": -3.14},
    TaskType.IMAGE_SEGMENTATION: {"contours": [POINTS, []], "\\": '"'},
}


@pytest.fixture(autouse=True)
def nothing_known():
    ingest_few._slots.clear()


def held(model):
    """All that the tables hold of the model but keys, and what the store's clock said."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select to_jsonb(r) - 'id' - 'updated_at', r.metadata::text, r.created_at::text, "
            "  (select jsonb_agg(to_jsonb(e) - 'inference_id' order by position) "
            "     from inference_store_entry e where e.inference_id = r.id), "
            "  (select vector::text from inference_store_embedding v where v.inference_id = r.id) "
            "from inference_store_inference r where registered_model_id = %s order by inference_id",
            [model.pk],
        )
        return cursor.fetchall()


def told(model, stored, form):
    return rows.plain(stored.told.row, model.model_id, stored.told.vector, None, form)


def stored_both_ways(model, request):
    """What the tables hold after the short way, and after the long one."""
    short = ingest.store_inference(model=model, request=request)
    assert short.told is not None
    for form in ("base64", "numbers", "none"):
        answered = told(model, short, form)
        read = plain_inference(model, request.inference_id, form)
        assert rows.orjson.dumps(answered) == rows.orjson.dumps(read)
    first = held(model), key_type_counts(model).counts
    deletion.delete_inference(model=model, inference_id=request.inference_id)
    ingest.store_inferences(model=model, requests=[request])
    return first, (held(model), key_type_counts(model).counts)


@pytest.mark.django_db
@pytest.mark.parametrize("seed", range(5))
def test_both_ways_store_the_same(seed):
    rng = random.Random(seed)
    model = make_model()
    requests = [random_request(rng, model, number) for number in range(25)]
    give_slots(rng, model, searched_keys(requests))
    short_ways = 0
    for request in requests:
        try:
            short, long = stored_both_ways(model, request)
        except AssertionError:
            # A slot that can't hold a value is none for the short way.
            if not SearchSlot.objects.filter(registered_model=model, state="unfit").exists():
                raise
        else:
            assert short == long
            short_ways += 1
        Inference.objects.filter(registered_model=model).delete()
        SearchSlot.objects.filter(registered_model=model, state="unfit").update(state="ready")
    assert short_ways > 5


@pytest.mark.django_db
@pytest.mark.parametrize("task", GEOMETRIES)
def test_both_ways_store_the_same_entries_and_embeddings(task):
    model = make_model(task=task, embedding_size=6)
    vectors = [
        [0.1, 1e-45, -0.0, 3.4e38, 1 / 3, 16777217.0],
        np.array([0.1, 1e-45, -0.0, 3.4e38, 1 / 3, 16777217.0], np.float32),
        None,
    ]
    for number, vector in enumerate(vectors):
        entries = [{"class_name": "é\\\n\t", "score": 0.1, **GEOMETRIES[task]}, {"label": "", "score": None}]
        request = make_request(
            model, f"{number}", entries=entries, embedding=vector, created_at=LONG_AGO, place=(-0.0, 180)
        )
        short, long = stored_both_ways(model, request)
        assert short == long


@pytest.mark.django_db
def test_what_is_not_plain_goes_the_long_way():
    model = make_model()
    SearchSlot.objects.create(registered_model=model, type="int", key="k", slot="n1", state="ready")
    unfit = make_request(model, "unfit", metadata=[("k", "int", str(2**53 + 1))])
    with_input = make_request(model, "input", key=make_upload(model))
    large = make_request(model, "large", inference="x" * ingest_few.LARGEST_BYTES)
    for request in (unfit, with_input, large):
        stored = ingest.store_inference(model=model, request=request)
        assert (stored.created_count, stored.told) == (1, None)
    assert SearchSlot.objects.get().state == SearchSlot.State.UNFIT
    soon = make_request(model, "soon", created_at=timezone.now() + timedelta(minutes=1))
    with pytest.raises(Refusal, match="future") as refused:
        ingest.store_inference(model=model, request=soon)
    assert (refused.value.status, list(refused.value.fields)) == (400, ["created_at"])
    assert Inference.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_slots_that_others_hand_out_are_filled():
    model = make_model()

    def post(number):
        request = make_request(model, f"{number}", metadata=[("k", "int", f"{number}")])
        return ingest.store_inference(model=model, request=request)

    assert post(1).told is not None
    slot_assignment.assign(model=model, type_="int", key="k")  # as another process does
    assert post(2).told is None
    assert post(3).told is not None
    assert [row.n1 for row in Inference.objects.order_by("inference_id")] == [1.0, 2.0, 3.0]
    assert drift(model) == []


# --- Together ----------------------------------------------------------------------------------------------


@pytest.fixture
def together(monkeypatch):
    """Post all but the first while the first is being stored; what each got, and the groups."""
    execute, groups, stopped, go_on = ingest_few._execute, [], threading.Event(), threading.Event()

    def held_up(model, group):
        groups.append(sorted(each.inference_id for each in group))
        if len(groups) == 1:
            stopped.set()
            assert go_on.wait(30)
        return execute(model, group)

    def one(model, request):
        try:
            return ingest.store_inference(model=model, request=request)
        except Refusal as refusal:
            return refusal
        finally:
            connection.close()

    def post(model, first, others):
        monkeypatch.setattr(ingest_few, "_execute", held_up)
        waiting = ingest_few._turns._waiting
        with ThreadPoolExecutor(20) as pool:
            posted = [pool.submit(one, model, first)]
            assert stopped.wait(30)
            posted += [pool.submit(one, model, request) for request in others]
            while len(waiting[model.pk]) < len(others):
                assert all(not each.done() for each in posted)
            go_on.set()
            return [each.result(30) for each in posted], groups

    yield post
    assert ingest_few._turns._waiting == {}


@pytest.mark.django_db(transaction=True)
def test_who_comes_while_one_is_stored_goes_in_one_statement(together):
    model = make_model(embedding_size=2)
    requests = [
        make_request(
            model,
            f"{number}",
            entries=[{"label": f"l{number}"}] * (number % 3),
            embedding=[number, 0.5] if number % 2 else None,
            metadata=[("k", "int", f"{number}")],
        )
        for number in range(8)
    ]
    stored, groups = together(model, requests[0], requests[1:])
    assert groups == [["0"], [f"{number}" for number in range(1, 8)]]
    assert [each.created_count for each in stored] == [1] * 8
    for number, each in enumerate(stored):
        assert told(model, each, "base64") == plain_inference(model, f"{number}", "base64")
    labels = Entry.objects.values_list("inference__inference_id", "label")
    assert sorted(labels) == [(f"{n}", f"l{n}") for n in range(8) for _ in range(n % 3)]
    vectors = Embedding.objects.values_list("inference__inference_id", "vector")
    assert {name: list(vector) for name, vector in vectors} == {f"{n}": [n, 0.5] for n in (1, 3, 5, 7)}
    assert key_type_counts(model).counts == {"k": {"int": 8}}


@pytest.mark.django_db(transaction=True)
def test_one_that_is_refused_is_refused_alone(together):
    model = make_model()
    ingest.store_inference(model=model, request=make_request(model, "taken"))
    ingest.store_inference(model=model, request=make_request(model, "same"))
    others = [
        make_request(model, "good"),
        make_request(model, "taken", source="other"),
        make_request(model, "same"),
        make_request(model, "soon", created_at=timezone.now() + timedelta(minutes=1)),
        make_request(model, "twice"),
        make_request(model, "twice"),
        make_request(model, "first", source="other"),
    ]
    got, _ = together(model, make_request(model, "first"), others)
    told_ = [each.status if isinstance(each, Refusal) else each.created_count for each in got]
    assert told_[:5] == [1, 1, 409, 0, 400]
    assert sorted(told_[5:7]) == [0, 1]
    assert told_[7] == 409
    names = Inference.objects.values_list("inference_id", flat=True)
    assert sorted(names) == ["first", "good", "same", "taken", "twice"]
