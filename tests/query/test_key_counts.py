"""The catalogue of metadata keys says, right after every write, exactly what a count would."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from inference_store.contract.errors import Refusal
from inference_store.contract.filters import BaseInferenceFilter
from inference_store.contract.metadata import NewExtendedMetadataRequest
from inference_store.models import Inference
from inference_store.query.statistics import key_type_counts
from inference_store.services import deletion, metadata, protection
from tests import oracle
from tests.making import make_model, make_request, store
from tests.query.random_data import metadata_text

KEYS = ["k", "a.b", "%s", "it's", "😀", '"']
TYPES = ["int", "float", "string", "json"]


def some_metadata(rng):
    keys = rng.sample(KEYS, rng.randrange(4))
    return [(key, type_, metadata_text(rng, type_)) for key in keys for type_ in [rng.choice(TYPES)]]


def counted(model):
    """The counts by reading every row."""
    counts = {}
    for held in Inference.objects.filter(registered_model=model).values_list("metadata", flat=True):
        for type_, values in held.items():
            for key in values:
                counts.setdefault(key, {}).setdefault(type_, 0)
                counts[key][type_] += 1
    return counts


def write(rng, model, name):
    """One random write."""
    what = rng.choice(["create", "create", "put", "put", "delete key", "delete", "delete some", "protect"])
    inference_id = f"{name}{rng.randrange(8)}"
    type_ = rng.choice(TYPES)
    filters = BaseInferenceFilter(data_source_filter=f"{name}{rng.randrange(3)}")
    try:
        if what == "create":
            source = f"{name}{rng.randrange(3)}"
            requests = [
                make_request(model, f"{name}{at}", metadata=some_metadata(rng), source=source)
                for at in rng.sample(range(8), 2)
            ]
            store(model, *requests)
        elif what == "put":
            request = NewExtendedMetadataRequest(
                key=rng.choice(KEYS), type=type_, value=metadata_text(rng, type_)
            )
            metadata.put_metadata(model=model, inference_id=inference_id, request=request)
        elif what == "delete key":
            metadata.delete_metadata(model=model, inference_id=inference_id, key=rng.choice(KEYS))
        elif what == "delete":
            deletion.delete_inference(model=model, inference_id=inference_id)
        elif what == "delete some":
            deletion.delete_matching(model=model, filters=filters)
        else:
            protection.set_protection_by_filter(model=model, filters=filters, is_protected=rng.random() < 0.5)
    except Refusal:
        pass  # there is no such inference or key, or it is stored with other content


@pytest.mark.django_db
@pytest.mark.parametrize("seed", range(4))
def test_exact_after_every_write(seed):
    rng = random.Random(seed)
    model, other = make_model(), make_model()
    store(other, make_request(other, metadata=[("k", "int", "1")]))
    for _ in range(60):
        write(rng, model, "")
        assert key_type_counts(model).counts == counted(model)
    assert key_type_counts(other).counts == {"k": {"int": 1}}


@pytest.mark.django_db
def test_exact_after_an_ingest():
    rng = random.Random(1)
    model = make_model()
    requests = [make_request(model, metadata=some_metadata(rng)) for _ in range(100)]
    store(model, *requests)
    assert key_type_counts(model).counts == oracle.key_type_counts(requests)
    store(model, *requests)  # once more: nothing new
    assert key_type_counts(model).counts == oracle.key_type_counts(requests)


@pytest.mark.django_db
def test_a_key_under_another_type():
    model = make_model()
    store(model, make_request(model, "1", metadata=[("k", "int", "1")]))
    request = NewExtendedMetadataRequest(key="k", type="string", value="1")
    metadata.put_metadata(model=model, inference_id="1", request=request)
    assert key_type_counts(model).counts == {"k": {"string": 1}}


@pytest.mark.django_db
def test_a_deleted_key_is_not_listed():
    model = make_model()
    store(model, make_request(model, "1", metadata=[("k", "int", "1")]))
    deletion.delete_inference(model=model, inference_id="1")
    assert key_type_counts(model).counts == {}


@pytest.mark.django_db(transaction=True)
def test_exact_after_writes_at_the_same_time():
    model = make_model()

    def writer(number):
        rng = random.Random(number)
        try:
            for _ in range(25):
                # Two by two the writers share their inferences.
                write(rng, model, f"{number // 2}-")
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(writer, range(8)))
    expected = counted(model)
    assert expected
    assert key_type_counts(model).counts == expected
