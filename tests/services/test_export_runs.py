"""Exports that are interrupted, stopped, handed out, and expire."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db.models.functions import Now

from inference_store import blobs
from inference_store.archive import WRITERS
from inference_store.contract.errors import Refusal
from inference_store.models import Blob, Export, RetentionPolicy, Role
from inference_store.models.job import hence
from inference_store.services import exporting, exports, jobs
from tests.making import make_model, make_project, make_user
from tests.services.exported import ALL, begin, complete, content, detector, iter_steps, made, small_batches  # noqa: F401

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("small_batches")]


# --- Interrupted --------------------------------------------------------------------------------------------
def lapse(export):
    """The claim runs out, as when a worker died."""
    Export.objects.filter(pk=export.pk).update(claimed_until=hence(-1))


@pytest.mark.parametrize("format_", sorted(WRITERS))
def test_killed_after_any_step_the_same_bytes_come_out(format_, blob_root):
    model = detector(5, metadata=[("run", "int", "7"), ("note", "string", "=1+1")])
    undisturbed = content(made(model, format=format_, **ALL))
    assert undisturbed == content(made(model, format=format_, **ALL))
    killed_after = 1
    while True:
        export, making = begin(model, format=format_, **ALL), exporting.Making()
        for taken, _ in enumerate(iter_steps(export, making), start=1):
            if taken == killed_after:
                break
        else:
            break  # it had finished
        making.close()
        for path in (blob_root / "drafts" / str(export.pk)).glob("*"):
            path.write_bytes(path.read_bytes() + b"torn")  # what was written and not yet said to be durable
        lapse(export)
        exporting.run(export.pk)
        assert content(complete(export)) == undisturbed, f"killed after step {killed_after}"
        killed_after += 1
    making.close()
    assert killed_after >= 4
    assert blobs.drafts() == []


def test_a_lost_draft_is_made_anew():
    model = detector(5)
    undisturbed = content(made(model))
    export, making = begin(model), exporting.Making()
    steps = iter_steps(export, making)
    next(steps), next(steps)
    making.close()
    blobs.discard_draft(str(export.pk))
    lapse(export)
    exporting.run(export.pk)
    assert content(complete(export)) == undisturbed


def test_one_worker_at_a_time():
    export, making = begin(detector(5)), exporting.Making()
    steps = iter_steps(export, making)
    next(steps), next(steps)
    exporting.run(export.pk)  # another is sent the same job: it is taken
    export.refresh_from_db()
    assert (export.state, export.batches_done) == ("running", 1)
    lapse(export)
    exporting.run(export.pk)  # it holds the claim now, but the first still holds the draft
    export.refresh_from_db()
    assert (export.state, export.batches_done) == ("running", 1)
    with pytest.raises(jobs.ClaimLostError):
        next(steps)
    making.close()
    export.refresh_from_db()
    assert export.batches_done == 1
    lapse(export)
    exporting.run(export.pk)
    complete(export)


def test_a_draft_that_can_not_be_written_fails_it(monkeypatch):
    def full(draft, stream, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(blobs.Draft, "append", full)
    export = begin(detector(1))
    exporting.run(export.pk)
    export.refresh_from_db()
    assert export.state == "failed"
    assert "disk" in export.error
    assert blobs.drafts() == []
    assert not export.batches.exists()


def test_what_never_gets_on_fails_in_the_end(monkeypatch):
    export = begin(detector(1))
    monkeypatch.setattr(exporting, "whole_inferences", lambda *_: 1 / 0)
    for _ in range(jobs.MOST_ATTEMPTS + 2):
        lapse(export)
        try:
            exporting.run(export.pk)
        except ZeroDivisionError:
            continue
    export.refresh_from_db()
    assert export.state == "failed"
    assert str(jobs.MOST_ATTEMPTS) in export.error


# --- Stopped ------------------------------------------------------------------------------------------------
def test_stopped_before_it_began():
    user = make_user()
    export = begin(detector(1), user)
    assert exports.stop_export(export=export, user=user).state == "stopped"
    exporting.run(export.pk)
    export.refresh_from_db()
    assert export.state == "stopped"


def test_stopped_while_it_runs():
    user = make_user()
    export, making = begin(detector(5), user), exporting.Making()
    steps = iter_steps(export, making)
    next(steps), next(steps)
    assert exports.stop_export(export=export, user=user).state == "running"
    with pytest.raises(jobs.JobStopped):
        next(steps)
    making.close()
    lapse(export)
    exporting.run(export.pk)
    export.refresh_from_db()
    assert (export.state, export.archive_key) == ("stopped", None)
    assert blobs.drafts() == []
    assert not export.batches.exists()


def test_who_may_stop_it():
    users = {name: make_user() for name in ("one", "two", "editor")}
    project = make_project(editor=users["editor"])
    for name in ("one", "two"):
        project.members.add(users[name], through_defaults={"role": Role.VIEWER})
    model = make_model(project=project)
    with pytest.raises(Refusal, match="editor"):
        exports.stop_export(export=begin(model, users["one"]), user=users["two"])
    for name in ("one", "editor"):
        assert exports.stop_export(export=begin(model, users["one"]), user=users[name]).state == "stopped"


def test_what_has_ended_stays():
    user = make_user()
    model = detector(1)
    export = begin(model, user)
    exporting.run(export.pk)
    assert exports.stop_export(export=export, user=user).state == "complete"
    assert complete(export).archive_key is not None


# --- Expiry -------------------------------------------------------------------------------------------------
def readable(export):
    return exports.told(export).archive_key is not None


def test_an_archive_expires(settings):
    export = made(detector(1))
    hours = (export.expires_at - export.finished_at).total_seconds() / 3600
    assert hours == settings.EXPORT_KEPT_HOURS == 168
    assert readable(export)
    assert exports.expire_archives() == 0
    Export.objects.filter(pk=export.pk).update(expires_at=Now())
    assert not readable(export)
    key = export.archive_key
    assert exports.expire_archives() == 1
    export.refresh_from_db()
    assert (export.state, export.archive_key) == ("complete", None)
    assert blobs.size(key) is None
    assert not Blob.objects.filter(key=key).exists()


def test_an_archive_never_outlives_the_blob_age():
    model = detector(1)
    export = made(model)
    RetentionPolicy.objects.create(
        registered_model=model, automated_interval=0, maximum_record_age=-1, maximum_blob_age=3
    )
    assert exports.told(export).task.expires_at == export.created_at + timedelta(hours=3)
    assert readable(export)
    Export.objects.filter(pk=export.pk).update(created_at=hence(-3 * 3600))
    assert not readable(export)
    assert exports.expire_archives() == 1


def test_its_url_does_not_outlive_it():
    export = made(detector(1))
    Export.objects.filter(pk=export.pk).update(expires_at=hence(60))
    assert exports.told(export).readable_seconds <= 60


def test_the_sweep_leaves_archives_alone():
    from inference_store.services.sweeping import sweep_blobs

    export = made(detector(1))
    Blob.objects.update(created_at=hence(-10 * 24 * 3600))
    assert sweep_blobs() == 0
    assert readable(export)


def test_drafts_nobody_works_at_are_removed():
    export, making = begin(detector(3)), exporting.Making()
    steps = iter_steps(export, making)
    next(steps), next(steps)
    making.close()
    blobs.open_draft(str(uuid4()), {}).close()
    exports.expire_archives()
    assert blobs.drafts() == [str(export.pk)]


# --- Handed out ---------------------------------------------------------------------------------------------
def test_resume_hands_out_what_no_worker_is_at(monkeypatch):
    sent = []
    monkeypatch.setattr(jobs.app, "send_task", lambda name, args, **options: sent.append((name, *args)))
    export = begin(detector(1))
    expected = [("inference_store.run_export", str(export.pk))]
    assert sent == expected
    export.refresh_from_db()
    assert export.state == "scheduled"
    assert jobs.resume() == 0  # it is in the queue
    Export.objects.update(sent_at=hence(-jobs.RESEND_SECONDS - 1))
    assert jobs.resume() == 1  # or was lost with the broker
    assert jobs.claim(Export, export.pk) is not None
    assert jobs.resume() == 0  # a worker is at it
    lapse(export)
    Export.objects.update(sent_at=hence(-2))
    assert jobs.resume() == 1  # and died
    assert sent == expected * 3


def test_nothing_is_sent_when_the_transaction_fails(monkeypatch):
    from django.db import transaction

    sent = []
    monkeypatch.setattr(jobs.app, "send_task", lambda *args, **options: sent.append(args))
    model = detector(1)
    with transaction.atomic():
        begin(model)
        transaction.set_rollback(True)
    assert (sent, Export.objects.count()) == ([], 0)
