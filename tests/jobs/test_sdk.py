"""The SDK against a real server and a real worker: begun, waited for, downloaded, previewed, run."""

from datetime import UTC, datetime, timedelta

import pytest

from inference_store import client as istore
from inference_store.client.command import main
from inference_store.models import Token
from tests.making import make_model, make_project, make_request, make_upload, make_user, store

pytestmark = pytest.mark.django_db(transaction=True)
QUICKLY = {"interval": 0.05, "timeout": 60}


@pytest.fixture
def model(live_server, blob_root):
    """Ten inferences with inputs, five of them ten hours old, in a store that the SDK is connected to."""
    user = make_user()
    model = make_model(project=make_project(admin=user))
    old = datetime.now(UTC) - timedelta(hours=10)
    for number in range(10):
        created_at = old + timedelta(minutes=number) if number < 5 else None
        key = make_upload(model, f"input {number}".encode())
        store(model, make_request(model, f"i-{number}", key=key, created_at=created_at))
    istore.connect(base_url=live_server.url, token=Token.objects.issue(user, "tests")[1])
    yield model.model_id
    istore.disconnect()


def test_an_export_is_waited_for_downloaded_and_good(model, worker, tmp_path, capsys):
    request = istore.NewExportTaskRequest(exclude_inference_ids=["i-3"])
    begun = istore.create_export_task(model, request)
    task = istore.wait_for_export(model, begun.id, **QUICKLY)
    assert (task.state, task.progress_count, task.expected_count) == ("complete", 9, 9)
    assert "9/9" in capsys.readouterr().err

    path = istore.download_export(model, task.id, tmp_path / "nine.zip")
    assert path.stat().st_size == task.size
    manifest = istore.verify_archive(path)
    assert (manifest.model_id, manifest.request.exclude_inference_ids) == (model, ["i-3"])
    assert len([member for member in manifest.members if member.name.startswith("data/")]) == 9
    assert main(["verify", str(path)]) == 0

    assert [each.id for each in istore.list_export_tasks(model)] == [task.id]
    assert istore.stop_export_task(model, task.id).state == "complete"


def test_a_stopped_export_is_raised(model, tmp_path):
    # No worker runs: it is stopped before it begins.
    begun = istore.create_export_task(model, istore.NewExportTaskRequest())
    with pytest.raises(istore.InferenceStoreError, match="has no archive") as refused:
        istore.download_export(model, begun.id, tmp_path / "none.zip")
    assert refused.value.code == "no_archive"
    with pytest.raises(istore.TaskTimeoutError):
        istore.wait_for_export(model, begun.id, timeout=0, progress=False)
    assert istore.stop_export_task(model, begun.id).id == begun.id
    with pytest.raises(istore.TaskNotCompleteError, match="was stopped"):
        istore.wait_for_export(model, begun.id, progress=False, **QUICKLY)


def test_a_preview_is_read_and_run(model, worker, capsys):
    policy = istore.create_retention_policy(
        model,
        istore.NewRetentionPolicyRequest(automated_interval=0, maximum_record_age=5, maximum_blob_age=5),
    )
    asked = {"retention_policy_id": policy.id}
    dry = istore.create_retention_task(model, istore.NewRetentionTaskRequest(dry_run=True, **asked))
    assert istore.wait_for_retention(model, dry.id, **QUICKLY).total_record_count == 5
    found = istore.get_retention_preview(model, dry.id)
    assert [each.inference_id for each in found] == [f"i-{number}" for number in range(5)]
    assert {each.reason for each in found} == {istore.RetentionReason.RECORD}
    assert list(istore.iterate_retention_preview(model, dry.id)) == found

    istore.set_protection(model, "i-2", True)  # its record and blob are expected still
    request = istore.NewRetentionTaskRequest(dry_run=False, preview_task_id=dry.id, **asked)
    task = istore.wait_for_retention(model, istore.create_retention_task(model, request).id, **QUICKLY)
    assert (task.deleted_record_count, task.deleted_blob_count) == (4, 4)
    assert "8/10" in capsys.readouterr().err
    assert istore.stop_retention_task(model, task.id).state == "complete"
    assert istore.count_inferences(model, istore.NewGetInferencesRequest()) == 6
    assert istore.get_inference(model, "i-2") is not None
