"""A blob is written once, has one owner, goes with it, and is swept when nobody came for it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from inference_store import blobs
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import BaseInferenceFilter
from inference_store.models import Blob, Inference
from inference_store.services import deletion, uploads
from inference_store.services.sweeping import sweep_blobs
from tests.making import make_model, make_request, make_upload, store

pytestmark = pytest.mark.django_db


@pytest.fixture
def model():
    return make_model()


def there(key):
    try:
        with blobs.open_blob(key):
            return True
    except Refusal:
        return False


def status_of(act, *args, **kwargs):
    with pytest.raises(Refusal) as refused:
        act(*args, **kwargs)
    return refused.value.status


def aged(key, hours):
    Blob.objects.filter(key=key).update(created_at=timezone.now() - timedelta(hours=hours))


def test_it_is_claimed_once(model):
    key = make_upload(model)
    store(model, make_request(model, "1", key=key))
    assert status_of(store, model, make_request(model, "2", key=key)) == 409
    assert Inference.objects.count() == 1
    assert Blob.objects.get().inference_id == Inference.objects.get().pk


def test_it_is_named_once_in_a_bulk(model):
    key = make_upload(model)
    assert status_of(store, model, make_request(model, key=key), make_request(model, key=key)) == 409
    assert Blob.objects.get().inference_id is None


def test_it_is_written_once(model):
    key = make_upload(model, b"first")
    assert status_of(uploads.receive, key=key, chunks=[b"second"]) == 409
    with blobs.open_blob(key) as file:
        assert file.read() == b"first"


def test_a_body_above_the_maximum_is_not_kept(model, blob_root):
    key = uploads.new_upload(model=model, kind=Blob.Kind.DATA)
    assert status_of(uploads.receive, key=key, chunks=[b"12345", b"6"], limit_bytes=5) == 413
    assert [path for path in blob_root.rglob("*") if path.is_file()] == []
    uploads.receive(key=key, chunks=[b"12345"], limit_bytes=5)


def test_a_key_of_another_model(model):
    key = make_upload(make_model())
    assert status_of(store, model, make_request(model, key=key)) == 400


def test_a_key_never_uploaded(model):
    key = uploads.new_upload(model=model, kind=Blob.Kind.DATA)
    assert status_of(store, model, make_request(model, key=key)) == 400


def test_a_key_of_the_other_kind(model):
    key = make_upload(model, kind=Blob.Kind.METADATA)
    assert status_of(store, model, make_request(model, key=key)) == 400


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "1/" + "0" * 31 + "/", "/etc/passwd", "1/%2e%2e"])
def test_a_key_nobody_gave_out(model, key):
    assert status_of(store, model, make_request(model, key=key)) == 400
    assert status_of(uploads.receive, key=key, chunks=[b"x"]) == 404
    assert status_of(blobs.open_blob, key) == 404


def test_one_of_two_is_deleted(model, django_capture_on_commit_callbacks):
    mine, yours = make_upload(model), make_upload(model)
    store(model, make_request(model, "mine", key=mine), make_request(model, "yours", key=yours))
    with django_capture_on_commit_callbacks(execute=True):
        deletion.delete_inference(model=model, inference_id="mine")
    assert (there(mine), there(yours)) == (False, True)
    assert list(Blob.objects.values_list("key", flat=True)) == [yours]
    assert status_of(store, model, make_request(model, "again", key=mine)) == 400


def test_the_bytes_go_after_commit(model, django_capture_on_commit_callbacks):
    key = make_upload(model)
    store(model, make_request(model, key=key))
    with django_capture_on_commit_callbacks(execute=True):
        deletion.delete_matching(model=model, filters=BaseInferenceFilter())
        assert there(key)
    assert not there(key)


def test_a_crash_between_commit_and_removal_is_swept(model):
    key = make_upload(model)
    store(model, make_request(model, "1", key=key))
    deletion.delete_inference(model=model, inference_id="1")  # no callback runs: the process died
    assert there(key)
    assert status_of(store, model, make_request(model, "2", key=key)) == 409
    assert sweep_blobs() == 1
    assert not there(key)
    assert Blob.objects.count() == 0


def test_what_can_not_be_removed_is_left_to_the_sweep(model, django_capture_on_commit_callbacks, monkeypatch):
    key = make_upload(model)
    store(model, make_request(model, "1", key=key))

    def refuse(key):
        raise OSError("the disk is away")

    with monkeypatch.context() as patch:
        patch.setattr(blobs, "remove", refuse)
        with django_capture_on_commit_callbacks(execute=True):
            deletion.delete_inference(model=model, inference_id="1")
    assert there(key)
    assert sweep_blobs() == 1
    assert not there(key)


def test_the_sweep_takes_only_what_is_old_and_unclaimed(model):
    young, old, owned, never = make_upload(model), make_upload(model), make_upload(model), None
    never = uploads.new_upload(model=model, kind=Blob.Kind.DATA)
    store(model, make_request(model, key=owned))
    for key, hours in [(young, 23.9), (old, 24.1), (owned, 1000), (never, 24.1)]:
        aged(key, hours)
    assert sweep_blobs() == 2
    assert (there(young), there(old), there(owned)) == (True, False, True)
    assert sweep_blobs() == 0
    assert status_of(uploads.receive, key=never, chunks=[b"late"]) == 404


def test_the_sweep_waits_for_the_life_of_a_url(model, settings):
    settings.BLOB_URL_SECONDS = 48 * 3600
    key = make_upload(model)
    aged(key, 47)
    assert sweep_blobs() == 0
    aged(key, 49)
    assert sweep_blobs() == 1


def test_a_retry_s_second_upload_is_left_to_the_sweep(model):
    first, second = make_upload(model), make_upload(model)
    store(model, make_request(model, "1", key=first))
    store(model, make_request(model, "1", key=second))
    aged(first, 25)
    aged(second, 25)
    assert sweep_blobs() == 1
    assert (there(first), there(second)) == (True, False)
