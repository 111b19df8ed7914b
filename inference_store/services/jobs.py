"""Jobs are handed to workers in turns, claimed by one at a time, and taken up again when a worker died.

A message says that there is work, not which: the worker that takes it asks whose turn it is.

The claim is a fence: each step of a job ends in a transaction that holds the job's row and checks the claim,
so a worker that lost it (because it hung, or its machine slept) can write nothing more.
"""

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID, uuid4

from django.conf import settings
from django.db import close_old_connections, connection, connections, transaction
from django.db.models import F, Max, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce, Now
from kombu.exceptions import OperationalError as BrokerError

from inference_store import blobs, calling
from inference_store.calling import Calling
from inference_store.celery import app
from inference_store.contract.enums import AuditAction
from inference_store.contract.errors import Refusal
from inference_store.models import Export, Job, JobState, RetentionTask
from inference_store.models.job import hence
from inference_store.services import audit
from inference_store.services.commits import after_commit

logger = logging.getLogger(__name__)

TASK_NAMES: dict[type[Job], str] = {
    Export: "inference_store.run_export",
    RetentionTask: "inference_store.run_retention",
}
STOPPED: dict[type[Job], tuple[AuditAction, str]] = {
    Export: (AuditAction.EXPORT_STOP, "export"),
    RetentionTask: (AuditAction.TASK_STOP, "task"),
}
PRIORITY = 9
"""The last (0 is the first): what is short goes before jobs, or it would wait for all that are queued."""
SLICE_SECONDS = 20.0
"""A job works so long at a stretch, then queues again: a long one holds up no short one."""
RESEND_SECONDS = 60.0
"""A job that was sent so long ago and has no worker is sent again."""
MOST_ATTEMPTS = 8
"""Claims in a row that came to nothing before the job is called failed."""

J = TypeVar("J", bound=Job)


class ClaimLostError(Exception):
    """Another worker has this job now."""


class JobStopped(Exception):  # noqa: N818  (not an error)
    """Somebody asked for the job to stop."""


# --- Handing out --------------------------------------------------------------------------------------------
def send(job: Job) -> None:
    """Hand the job to a worker, once the caller's transaction is committed."""
    after_commit(_send, type(job), job.pk, job.request_id)


def _send(kind: type[Job], pk: UUID, request_id: str) -> None:
    try:
        headers = {calling.TASK_HEADER: request_id}
        app.send_task(TASK_NAMES[kind], args=[str(pk)], retry=False, headers=headers, priority=PRIORITY)
    except (BrokerError, OSError):
        # It stays pending, and the scheduler hands it out when the broker is back.
        logger.warning("The broker is away; job %s waits until it is back.", pk)
        return
    kind.objects.filter(pk=pk).update(sent_at=Now())
    kind.objects.filter(pk=pk, state=JobState.PENDING.value).update(state=JobState.SCHEDULED.value)


def resume() -> int:
    """Hand out again what no worker is at: its worker died, or the broker was away; how many."""
    sent = 0
    for kind in TASK_NAMES:
        died, forgotten = Q(claimed_until__gt=F("sent_at")), Q(sent_at__lt=hence(-RESEND_SECONDS))
        for pk, request_id in (
            kind.objects.active()
            .unclaimed()
            .filter(died | forgotten | Q(sent_at=None))
            .values_list("pk", "request_id")
        ):
            _send(kind, pk, request_id)
            sent += 1
    return sent


# --- Taking turns -------------------------------------------------------------------------------------------
def whose_turn() -> Job | None:
    """The job for the next free worker, of whoever had a turn longest ago; None where none waits.

    So whoever starts a hundred delays others by a turn at a time; exports and retention take turns likewise.
    """
    while True:
        waiting = [job for job in map(_first_waiting, TASK_NAMES) if job is not None]
        if not waiting:
            return None
        job: Job = min(waiting, key=lambda job: (_ago(job.had_turn_at), _ago(job.turn_at), job.created_at))
        # Another worker that saw the same looks again.
        if type(job).objects.filter(pk=job.pk, turn_at=job.turn_at).update(turn_at=Now()):
            return job


def _first_waiting(kind: type[Job]) -> Any:
    same = kind.objects.filter(started_by=OuterRef("started_by")).order_by()
    had_turn_at = same.values("started_by").annotate(last=Max("turn_at")).values("last")
    free = kind.objects.active().unclaimed().annotate(had_turn_at=Subquery(had_turn_at))
    first = F("had_turn_at").asc(nulls_first=True), F("turn_at").asc(nulls_first=True), "created_at"
    return free.order_by(*first).only("turn_at", "created_at").first()


def _ago(turn: datetime | None) -> datetime:
    return turn or datetime.min.replace(tzinfo=UTC)


# --- Working ------------------------------------------------------------------------------------------------
def work(kind: type[J], pk: UUID, step: Callable[[J], bool]) -> None:
    """Take the job step by step until `step` says there is nothing more to do, or the time slice is over.

    A refusal or a full disk ends the job as failed. Anything else is tried again when the claim has run out.
    """
    job = claim(kind, pk)
    if job is not None:
        with _serving(job):
            _work(job, step)


def _work(job: J, step: Callable[[J], bool]) -> None:
    until = time.monotonic() + SLICE_SECONDS
    try:
        with _kept(job):
            while step(job):
                if time.monotonic() > until:
                    _give_back(job)
                    return
    except ClaimLostError:
        logger.warning("Job %s has passed to another worker.", job.pk)
    except JobStopped:
        finish(job, JobState.STOPPED)
    except blobs.UnavailableError:
        # It is no fault of the job's: it is taken up again when the claim has run out, as often as it takes.
        logger.warning("The blob store is away; job %s waits until it is back.", job.pk, exc_info=True)
        type(job).objects.filter(pk=job.pk, claim=job.claim).update(attempts=0)
    except Refusal as refusal:
        finish(job, JobState.FAILED, refusal.message)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        logger.exception("Job %s", job.pk)
        finish(job, JobState.FAILED, "The disk of the blob store is full. Make room and start it again.")


def claim(kind: type[J], pk: UUID) -> J | None:
    """The job, for this worker alone; None where another has it or nothing is left to do."""
    claim = uuid4()
    free = kind.objects.active().unclaimed().filter(pk=pk)
    taken = free.update(
        claim=claim,
        claimed_until=hence(settings.JOB_LEASE_SECONDS),
        state=JobState.RUNNING.value,
        started_at=Coalesce(F("started_at"), Now()),
        attempts=F("attempts") + 1,
    )
    if not taken:
        return None
    job: J = kind.objects.select_related("registered_model").get(pk=pk)
    if job.stop_requested_at is not None:
        finish(job, JobState.STOPPED)
        return None
    if job.attempts > MOST_ATTEMPTS:
        message = f"It was begun {MOST_ATTEMPTS} times and never got on; the worker's log says why."
        finish(job, JobState.FAILED, message)
        return None
    return job


def _serving(job: Job) -> AbstractContextManager[Calling]:
    """It is done for the one who asked, under the request that asked, however often it is taken up again."""
    request_id = job.request_id or calling.current_id() or calling.new_id()
    return calling.serving(Calling(request_id, calling.JOB, job.user_id, job.started_by))


@contextmanager
def _kept(job: Job) -> Iterator[None]:
    """Renew the claim while the block runs, however long one of its statements takes."""
    done = threading.Event()

    def renew() -> None:
        own = type(job).objects.filter(pk=job.pk, claim=job.claim)
        while not done.wait(settings.JOB_LEASE_SECONDS / 3):
            try:
                own.update(claimed_until=hence(settings.JOB_LEASE_SECONDS))
            except Exception:
                # The database is away: the claim runs out, and the fence keeps what follows right.
                logger.exception("The claim of job %s could not be renewed.", job.pk)
                close_old_connections()
        connections.close_all()

    keeper = threading.Thread(target=renew, daemon=True)
    keeper.start()
    try:
        yield
    finally:
        done.set()
        keeper.join()


@contextmanager
def progress(job: J) -> Iterator[J]:
    """A transaction that holds the job's row, for the end of a step: what is set on it is saved.

    Raises ClaimLostError, or JobStopped where somebody asked for it, before anything is done.
    """
    with transaction.atomic():
        unlimited()
        held: J | None = (
            type(job).objects.select_for_update().filter(pk=job.pk, claim=job.claim).active().first()
        )
        if held is None:
            raise ClaimLostError
        if held.stop_requested_at is not None:
            raise JobStopped
        held.registered_model = job.registered_model
        yield held
        held.attempts = 0
        held.claimed_until = hence(settings.JOB_LEASE_SECONDS)
        held.save()
    # What the next step builds on is what was committed.
    for field in type(job)._meta.concrete_fields:
        if field.attname != "claimed_until":
            setattr(job, field.attname, getattr(held, field.attname))


def unlimited() -> None:
    """Lift the time limit of a request's queries for the rest of this transaction."""
    with connection.cursor() as cursor:
        cursor.execute("set local statement_timeout = 0")


def _give_back(job: Job) -> None:
    """Let another turn at the queue go on with it."""
    with transaction.atomic():
        # Without the claim too, or its keeper might renew it before it hears that it is done.
        own = type(job).objects.filter(pk=job.pk, claim=job.claim)
        own.update(claim=None, claimed_until=None, sent_at=None, attempts=0)
        send(job)


def finish(job: Job, state: JobState, error: str = "") -> bool:
    """End the job; False where it is another worker's or has ended already."""
    own = type(job).objects.active().filter(pk=job.pk, claim=job.claim)
    return bool(own.update(state=state.value, error=error, finished_at=Now(), claimed_until=None))


# --- Stopping -----------------------------------------------------------------------------------------------
@transaction.atomic
def stop(job: J) -> J:
    """Have it stop at the end of its step, at once where no worker is at it; what has ended stays so."""
    held: J = type(job).objects.select_for_update().select_related("registered_model").get(pk=job.pk)
    if not held.is_active:
        return held
    action, name = STOPPED[type(job)]
    audit.record(action, model=held.registered_model, details={name: str(job.pk)})
    free = type(job).objects.unclaimed().filter(pk=job.pk)
    if free.update(state=JobState.STOPPED.value, finished_at=Now(), stop_requested_at=Now()):
        held.refresh_from_db()
    elif held.stop_requested_at is None:
        type(job).objects.filter(pk=job.pk).update(stop_requested_at=Now())
    return held


def find(kind: type[J], model: Any, pk: str) -> J:
    """The model's job of that id; 404 where there is none."""
    try:
        found: J | None = kind.objects.filter(registered_model=model, pk=UUID(pk)).first()
    except ValueError:
        found = None
    if found is None:
        raise Refusal.not_found(f"The model has no such task: {pk[:100]!r}.")
    return found
