"""One id posted many times at once: one row, and everybody is told the truth."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from inference_store.contract.errors import Refusal
from inference_store.models import Inference
from inference_store.query.statistics import key_type_counts
from inference_store.services import ingest
from tests.making import make_model, make_request, make_upload

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(act, arguments, threads):
    """What each call gave, or the status it was refused with."""

    def one(argument):
        try:
            return act(argument)
        except Refusal as refusal:
            return refusal.status
        finally:
            connection.close()

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, arguments))


def test_one_id_posted_a_hundred_times():
    model = make_model()

    def post(number):
        request = make_request(model, "one", metadata=[("k", "int", "1")], entries=[{"label": "a"}])
        return ingest.store_inference(model=model, request=request).created_count

    assert sorted(at_once(post, range(100), 20)) == [0] * 99 + [1]
    assert Inference.objects.filter(registered_model=model).count() == 1
    assert key_type_counts(model).counts == {"k": {"int": 1}}


def test_one_id_posted_a_hundred_times_with_differing_bodies():
    model = make_model()

    def post(number):
        request = make_request(model, "one", source=f"source {number % 2}")
        return ingest.store_inference(model=model, request=request).created_count

    answers = at_once(post, range(100), 20)
    assert {answer: answers.count(answer) for answer in set(answers)} == {1: 1, 0: 49, 409: 50}
    assert Inference.objects.filter(registered_model=model).count() == 1


def test_bulks_of_the_same_ids_in_opposite_orders():
    model = make_model()
    filling = [("k", "string", "x" * 300)]  # long enough that the bulks meet
    requests = [make_request(model, f"{number:05}", metadata=filling) for number in range(4_000)]

    def post(number):
        ordered = requests if number % 2 else requests[::-1]
        return ingest.store_inferences(model=model, requests=ordered).created_count

    assert sorted(at_once(post, range(4), 4)) == [0, 0, 0, 4_000]


def test_one_key_claimed_by_many():
    model = make_model()
    key = make_upload(model)

    def post(number):
        request = make_request(model, str(number), key=key)
        return ingest.store_inference(model=model, request=request).created_count

    assert sorted(at_once(post, range(20), 10)) == [1] + [409] * 19
    assert Inference.objects.filter(registered_model=model).count() == 1
