"""Inferences go with their input, one or many at once."""

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from inference_store import client as istore
from tests.client.scripted_store import Answer, Received, ScriptedStore, refused
from tests.client.test_calls import BASE, COLLECTION, INFERENCE, SENT_STORAGE


# --- Input and inference in one call -----------------------------------------------------------------------
def with_uploads(store: ScriptedStore) -> Callable[[Received], Answer]:
    upload = {"data_presigned_url": f"{store.url}/blobs/a?s=1", "data_storage_key": "blob-key"}

    def answer(request: Received) -> Answer:
        if request.path.endswith("/uploads/data"):
            return Answer(201, upload)
        return Answer(201, INFERENCE)

    return answer


@pytest.mark.parametrize(("data", "stored"), [("é", "é".encode()), (b"\xff", b"\xff"), (b"", b"")])
def test_the_input_is_uploaded_before_the_inference(
    store: ScriptedStore, data: str | bytes, stored: bytes
) -> None:
    store.answers = [with_uploads(store)]
    made = istore.create_inference_storage_request("m", "i", data, COLLECTION, is_protected=True)

    assert made == istore.Inference(**INFERENCE)
    upload, put, create = store.received
    assert upload.target == f"{BASE}/models/m/uploads/data"
    assert (put.method, put.target, put.body) == ("PUT", "/blobs/a?s=1", stored)
    assert create.target == f"{BASE}/models/m/inferences?embeddings=base64"
    assert create.json() == SENT_STORAGE | {"data_storage_key": "blob-key", "is_protected": True}


def test_without_input_nothing_is_uploaded(store: ScriptedStore) -> None:
    store.answers = [with_uploads(store)]
    istore.create_inference_storage_request(
        "m", "i", None, COLLECTION, created_at=datetime(2026, 1, 31, tzinfo=UTC)
    )
    (create,) = store.received
    assert create.json() == SENT_STORAGE | {"created_at": "2026-01-31T00:00:00Z"}


def test_what_could_not_be_stored_is_not_uploaded(store: ScriptedStore) -> None:
    store.answers = [with_uploads(store)]
    with pytest.raises(ValueError, match="inference_id"):
        istore.create_inference_storage_request("m", "a/b", b"x", COLLECTION)
    assert store.received == []


# --- Many at once ------------------------------------------------------------------------------------------
def bulk(request: Received) -> Answer:
    ids = [json.loads(line)["inference_id"] for line in request.body.splitlines()]
    return Answer(200, {"inference_ids": ids, "created_count": len(ids)})


def requests(count: int, data: istore.NewInferenceAndMetadataCollection = COLLECTION) -> Any:
    for number in range(count):
        yield istore.NewInferenceStorageRequest(model_id="m", inference_id=f"i{number}", data=data)


def test_many_are_sent_in_chunks_and_come_back_in_order(
    store: ScriptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference_store.client.inference.CHUNK_ITEMS", 100)
    store.answers = [bulk]
    assert istore.create_inferences("m", requests(250)) == [f"i{number}" for number in range(250)]
    received = sorted(store.received, key=first_of)
    assert [len(each.body.splitlines()) for each in received] == [100, 100, 50]
    first = received[0]
    assert (first.method, first.target) == ("POST", f"{BASE}/models/m/bulk-create")
    assert first.headers["content-type"] == "application/x-ndjson"
    assert json.loads(first.body.splitlines()[0]) == SENT_STORAGE | {"inference_id": "i0"}


def test_a_chunk_is_bounded_in_bytes(store: ScriptedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference_store.client.inference.CHUNK_BYTES", 2_000)
    store.answers = [bulk]
    large = COLLECTION.model_copy(update={"inference": "x" * 5_000})
    mixed = [*requests(20), *requests(1, large), *requests(20)]
    assert len(istore.create_inferences("m", mixed)) == 41
    sizes = [len(each.body) for each in store.received]
    assert [size for size in sizes if size > 2_000] == [size for size in sizes if size > 5_000] != []
    assert len(sizes) < 20


def test_nothing_sends_nothing(store: ScriptedStore) -> None:
    assert istore.create_inferences("m", []) == []
    assert store.received == []


def first_of(request: Received) -> str:
    return str(json.loads(request.body.splitlines()[0])["inference_id"])


def refusing(wrong: str, last: str) -> Callable[[Received], Answer]:
    """The chunk that begins with `wrong` is refused, once the one that begins with `last` has come."""
    came = threading.Event()

    def answer(request: Received) -> Answer:
        if first_of(request) == last:
            came.set()
        if first_of(request) != wrong:
            return bulk(request)
        assert came.wait(30)
        return refused(409, "conflict", "item 3 differs")

    return answer


BEFORE = "{} items before this chunk are stored; it counts its own from 0"


@pytest.mark.parametrize(
    ("wrong", "note"),
    [
        ("i100", BEFORE.format(100) + "; 50 items after it are stored"),
        ("i200", BEFORE.format(200)),
    ],
)
def test_a_refused_chunk_says_what_is_stored(
    wrong: str, note: str, store: ScriptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference_store.client.inference.CHUNK_ITEMS", 100)
    store.answers = [refusing(wrong, last="i200")]
    with pytest.raises(istore.InferenceStoreError, match="item 3 differs") as raised:
        istore.create_inferences("m", requests(250))
    assert raised.value.__notes__ == [note]


def test_nothing_is_sent_after_a_chunk_that_was_refused(
    store: ScriptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference_store.client.inference.CHUNK_ITEMS", 10)
    store.answers = [refusing("i10", last="i10")]
    with pytest.raises(istore.InferenceStoreError):
        istore.create_inferences("m", requests(1_000), connections=1)
    assert len(store.received) == 2


@pytest.mark.parametrize("connections", [1, 2, 3])
def test_so_many_chunks_are_on_their_way_at_once(
    connections: int, store: ScriptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference_store.client.inference.CHUNK_ITEMS", 10)
    together, lock, under_way, most = threading.Barrier(connections), threading.Lock(), 0, 0

    def answer(request: Received) -> Answer:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        together.wait(30)  # all of them are here, or this breaks
        with lock:
            under_way -= 1
        return bulk(request)

    store.answers = [answer]
    sent = requests(60)
    assert istore.create_inferences("m", sent, connections) == [f"i{number}" for number in range(60)]
    assert most == connections
    with pytest.raises(ValueError, match="at least 1"):
        istore.create_inferences("m", requests(1), connections=0)
