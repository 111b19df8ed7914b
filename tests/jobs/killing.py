"""Workers that are killed while they are at a job, and what is looked at meanwhile."""

import os
import signal
import time

from django.conf import settings
from django.db import connection, transaction

from inference_store.models import Blob, Inference
from inference_store.services import exports, jobs, sweeping
from tests.jobs.stock import stored_files
from tests.workers import wait_until


class Killer:
    """Lets a worker take up a job, looks on, and kills the worker at some moment."""

    def __init__(self, worker, job, watch):
        self.worker, self.job, self.watch = worker, job, watch
        self.kills = 0
        """Of a worker that was at the job, which had not ended."""

    def begin(self):
        """Have a worker at the job, handed out as the scheduler does it."""
        last = self.job.claim
        if self.worker.process is None:
            self.worker.start()

        def taken():
            jobs.resume()
            return self.look().claim not in (last, None) or not self.job.is_active

        wait_until(taken, "a worker has taken up the job")

    def look(self):
        self.watch()
        return self.job

    def live_for(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.look().is_active:
            time.sleep(0.01)

    def live_until(self, condition, what):
        wait_until(lambda: condition(self.look()), what)

    def live_for_a_batch(self):
        before = self.watch.progress()
        self.live_until(lambda job: self.watch.progress() > before or not job.is_active, "it gets on")

    def kill(self):
        """The whole worker at once."""
        self.worker.kill()
        self.kills += self.look().is_active

    def kill_child(self):
        """The process that does the work; its parent starts another."""
        os.kill(self.worker.child(), signal.SIGKILL)
        self.kills += self.look().is_active

    def end(self):
        """The job ends, with a worker that lives."""
        if self.worker.process is None:
            self.worker.start()

        def ended():
            jobs.resume()
            return not self.look().is_active

        wait_until(ended, "the job ends", 300)
        assert self.job.state == "complete", self.job.error


class ExportWatch:
    """What an export's row says is true at every moment."""

    def __init__(self, export):
        self.export, self.seen = export, 0

    def progress(self):
        return self.export.progress_count

    def __call__(self):
        self.export.refresh_from_db()
        export = self.export
        assert self.seen <= export.progress_count <= export.expected_count
        self.seen = export.progress_count
        if export.archive_key is None and export.lengths:
            # Each inference of these has an input, which is a member.
            listing = settings.BLOB_ROOT / "drafts" / str(export.pk) / "members"
            durable = listing.read_bytes()[: export.lengths["members"]]
            assert len(durable) == export.lengths["members"]
            assert durable.count(b"\n") == export.progress_count


class RetentionWatch:
    """What a run's row says has gone is what has gone, at every moment."""

    def __init__(self, task):
        self.task = task
        self.before = self.counts()

    def progress(self):
        return self.task.deleted_record_count + self.task.deleted_blob_count

    def counts(self):
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("set transaction isolation level repeatable read, read only")
            self.task.refresh_from_db()
            stored = Inference.objects.filter(registered_model=self.task.registered_model)
            return stored.count(), stored.exclude(data_storage_key=None).count()

    def __call__(self):
        records, inputs = self.counts()
        task = self.task
        assert task.deleted_record_count == self.before[0] - records
        assert task.deleted_blob_count == self.before[1] - inputs
        if task.is_counted:
            assert task.deleted_record_count <= task.total_record_count
            assert task.deleted_blob_count <= task.total_blob_count


def assert_nothing_is_left():
    """After what the schedule does: each file is a known blob, each input an inference's, and no draft."""
    exports.expire_archives()
    sweeping.sweep_blobs()
    known = set(Blob.objects.values_list("key", flat=True))
    assert stored_files() == known
    inputs = Blob.objects.filter(kind=Blob.Kind.DATA)
    owners = dict(inputs.values_list("inference_id", "key"))
    named = Inference.objects.exclude(data_storage_key=None).values_list("pk", "data_storage_key")
    assert owners == dict(named)
    assert not (settings.BLOB_ROOT / "drafts").exists() or not list((settings.BLOB_ROOT / "drafts").iterdir())
