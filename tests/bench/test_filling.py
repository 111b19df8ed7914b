"""What is filled at once is what ingest would have stored."""

import pytest

from bench.compare.stores import database, filling
from bench.compare.stores.contract_objects import MODEL_ID, storage_requests
from bench.compare.workload import Workload
from inference_store.contract.enums import TaskType
from inference_store.models import Entry, Inference, SearchSlot
from inference_store.services import ingest
from tests.making import make_model

STAMPED = {"id", "registered_model_id", "content_digest", "updated_at"}
"""What is another's in each store."""


def rows_of(model):
    found = []
    for row in Inference.objects.filter(registered_model=model).order_by("created_at").values():
        entries = Entry.objects.filter(inference_id=row["id"]).order_by("position")
        listed = list(entries.values("registered_model_id", "position", "label", "score", "geometry"))
        assert all(each.pop("registered_model_id") == model.pk for each in listed)
        found.append({key: value for key, value in row.items() if key not in STAMPED} | {"entries": listed})
    return found


@pytest.mark.django_db
def test_it_writes_what_ingest_writes(places):
    workload = Workload.open(300, embedded=False)
    ingested = make_model(MODEL_ID, task=TaskType.OBJECT_DETECTION)
    database.expect_searches(MODEL_ID)
    slots = SearchSlot.objects.searched(ingested)
    assert {slot: kept for kept, slot in slots.items()} == database.SLOTS
    ingest.store_inferences(model=ingested, requests=storage_requests(workload.records(0, 300), None))
    right = rows_of(ingested)
    filled = make_model(task=TaskType.OBJECT_DETECTION)
    filling.fill(filled, workload)
    assert rows_of(filled) == right
    assert len(right) == 300
