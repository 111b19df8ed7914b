"""Vector indexes are built in the background, one at a time, while everybody reads and writes.

What is newer than every index is searched exactly. When it has grown, an index of its own is built over it,
together with its predecessors as long as these are no larger: so there are few, and a row is indexed again
only when there are twice as many.
"""

import logging
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db import DatabaseError, IntegrityError, OperationalError, connection, connections, transaction
from django.db.models import Q
from django.db.models.functions import Now
from psycopg.errors import ProgramLimitExceeded

from inference_store.contract.enums import EmbeddingDistanceMetric
from inference_store.models import Embedding, RegisteredModel, VectorIndex
from inference_store.models.job import hence
from inference_store.models.vector_index import (
    COSINE,
    EMBEDDINGS,
    NAME_PREFIX,
    SPELLINGS,
    UNITS,
    indexable,
)
from inference_store.query.neighbours import look_up_again, take_wanted
from inference_store.services import vector_codes
from inference_store.services.background import Background
from inference_store.services.vector_measuring import measured
from inference_store.services.writers import INFERENCE_IDS, wait_for_holders

logger = logging.getLogger(__name__)
State = VectorIndex.State

LEASE_SECONDS = 60.0
GRACE_SECONDS = 60.0
"""Until an index that was replaced is dropped: longer than a search takes from choosing it to reading it."""
COPIED_AT_ONCE = 10_000
FEWEST_AT_ONCE = 1_000
"""New rows that are worth an index when somebody asks for one."""
MOST_LISTS = 1_000
"""Finding so many centres takes half a gigabyte and a minute."""
SAMPLES_PER_LIST = 50
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Plan:
    """An index to build over the ids from `after` on; it takes the place of `replaced`."""

    model: RegisteredModel
    metric: EmbeddingDistanceMetric
    after: int
    watermark: int
    rows: int
    replaced: list[VectorIndex]


# --- Which metrics are asked for ----------------------------------------------------------------------------
def write_down_wanted() -> None:
    """Have indexes built for the metrics that were asked for; a failure is logged alone."""
    if connection.in_atomic_block or not (wanted := take_wanted()):
        return
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            for model, metric in sorted(wanted):
                cursor.execute(WRITE_DOWN, [metric, model, metric])
    except DatabaseError:
        logger.warning("It was not written down that %s was asked for.", wanted, exc_info=True)


WRITE_DOWN = """
    insert into inference_store_vectorindex
           (registered_model_id, metric, state, after, watermark, row_count, lists, probes, error)
    select id, %s, 'wanted', 0, 0, 0, 0, '[]', '' from inference_store_registeredmodel model
     where id = %s and not exists (
           select from inference_store_vectorindex known
            where known.registered_model_id = model.id and known.metric = %s)
    on conflict do nothing
"""


def _metrics(model: RegisteredModel) -> list[EmbeddingDistanceMetric]:
    known = VectorIndex.objects.filter(registered_model=model).values_list("metric", flat=True)
    return [metric for metric in SPELLINGS if metric is COSINE or metric.value in set(known)]


# --- All that is due ----------------------------------------------------------------------------------------
_building = Background("Building vector indexes")


def build_in_background() -> bool:
    """Build what is due, so that a long build holds up no job; False where this process is at it already."""
    return _building.begin(lambda: build_due())


def build_due(only: RegisteredModel | None = None, *, at_once: bool = False) -> int:
    """Build every index that is due and drop those that are not needed; how many were built.

    `at_once`: also over new rows that alone are too few to be worth it.
    """
    drop_unneeded()
    built = 0
    models = RegisteredModel.objects.filter(embedding_size__gt=0).order_by("pk")
    for model in models if only is None else [only]:
        for metric in _metrics(model):
            while (plan := _plan(model, metric, at_once=at_once)) is not None:
                if not _build(plan):
                    break
                built += 1
        vector_codes.make_due(model)
    return built


def _plan(model: RegisteredModel, metric: EmbeddingDistanceMetric, *, at_once: bool) -> Plan | None:
    """The index that is due, if any."""
    if not indexable(model, metric):
        return None
    chain = VectorIndex.objects.chain(model, metric)
    # Those of fewer live rows than half are built again, for their lists would hold too little.
    for index in chain:
        if _live_rows(index) < index.row_count / 2:
            rows = _count(model, index.after, index.watermark)
            return Plan(model, metric, index.after, index.watermark, rows, [index])
    after, watermark = chain[-1].watermark if chain else 0, _last_id(model)
    fewest = FEWEST_AT_ONCE if at_once and chain else settings.VECTOR_INDEX_ROWS
    rows = _count(model, after, watermark) if watermark > after else 0
    if rows < fewest or _failed(model, metric, rows + sum(index.row_count for index in chain), at_once):
        return None
    replaced = []
    while chain and chain[-1].row_count <= rows:
        last = chain.pop()
        rows += last.row_count
        replaced.append(last)
    return Plan(model, metric, replaced[-1].after if replaced else after, watermark, rows, replaced)


def _failed(model: RegisteredModel, metric: EmbeddingDistanceMetric, rows: int, again: bool) -> bool:
    """Whether building failed on these rows; forgotten where there are twice as many, or on demand."""
    failed = VectorIndex.objects.filter(registered_model=model, metric=metric, state=State.FAILED)
    if not again and failed.filter(row_count__gt=rows // 2).exists():
        return True
    failed.delete()
    return False


def _last_id(model: RegisteredModel) -> int:
    rows = Embedding.objects.filter(registered_model=model).order_by("-inference_id")
    return rows.values_list("inference_id", flat=True).first() or 0


def _count(model: RegisteredModel, after: int, watermark: int) -> int:
    rows = Embedding.objects.filter(registered_model=model)
    return rows.filter(inference_id__gt=after, inference_id__lte=watermark).count()


def _live_rows(index: VectorIndex) -> float:
    """How many rows it held when it was last vacuumed."""
    return float(_value("select reltuples from pg_class where oid = to_regclass(%s)", [index.name]) or 0)


def _value(statement: str, parameters: list[Any]) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        row = cursor.fetchone()
    return row[0] if row else None


# --- One index ----------------------------------------------------------------------------------------------
def _build(plan: Plan) -> bool:
    """Build, measure and put it in place; False where another is being built, or it failed."""
    index = _claim(plan)
    if index is None:
        return False
    try:
        with _kept(index), _session(_memory(index.lists, plan.model.embedding_size)):
            if plan.metric is COSINE and not _make_units(plan):
                index.delete()  # tried again, beside other writers
                return False
            _create(index, plan.model)
            index.probes, index.recall = measured(index, plan.model)
        _put_in_place(index, plan.replaced)
        look_up_again()
    except DatabaseError as error:
        if isinstance(error, OperationalError) and not isinstance(error.__cause__, ProgramLimitExceeded):
            raise  # the database is away, or has no room: it is tried again when the claim has run out
        _fail(index, str(error))
        logger.warning("The vector index %s could not be built.", index.name, exc_info=True)
        return False
    if index.state == State.FAILED:
        logger.warning("The vector index %s finds too little: %s", index.name, index.error)
    return bool(index.state == State.READY)


def _claim(plan: Plan) -> VectorIndex | None:
    index = VectorIndex(
        registered_model=plan.model,
        metric=plan.metric.value,
        after=plan.after,
        watermark=plan.watermark,
        state=State.BUILDING,
        row_count=plan.rows,
        lists=max(1, min(MOST_LISTS, math.isqrt(plan.rows))),
        claim=uuid4(),
        claimed_until=hence(LEASE_SECONDS),
    )
    try:
        with transaction.atomic():
            index.save()
    except IntegrityError:
        return None
    return index


@contextmanager
def _kept(index: VectorIndex) -> Iterator[None]:
    """Renew the claim while the block runs."""
    done = threading.Event()

    def renew(pk: int, claim: UUID) -> None:
        while not done.wait(LEASE_SECONDS / 4):
            try:
                own = VectorIndex.objects.filter(pk=pk, claim=claim)
                own.update(claimed_until=hence(LEASE_SECONDS))
            except DatabaseError:
                logger.exception("The claim of %s could not be renewed.", index.name)
                connection.close()
        connections.close_all()

    keeper = threading.Thread(target=renew, args=(index.pk, index.claim), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        done.set()
        keeper.join()


@contextmanager
def _session(memory: int) -> Iterator[None]:
    """Without a time limit, and with so many MiB to build in."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_size_bytes(current_setting('maintenance_work_mem')) / %s", [MIB])
        given = int(cursor.fetchone()[0])
        cursor.execute("set statement_timeout = 0")
        cursor.execute(f"set maintenance_work_mem = '{max(given, memory)}MB'")
        try:
            yield
        finally:
            if connection.connection is not None and not connection.connection.closed:
                cursor.execute("reset statement_timeout")
                cursor.execute("reset maintenance_work_mem")


def _memory(lists: int, size: int) -> int:
    """MiB that pgvector needs to find the centres of the lists."""
    samples = max(10_000, lists * SAMPLES_PER_LIST)
    needed = samples * (4 * size + 8) + 4 * samples * lists + 4 * lists * (lists + 2 * size)
    return 64 + int(1.25 * needed) // MIB


def _make_units(plan: Plan) -> bool:
    """Make the units that the index is to be of; False where others take too long to end.

    Who may still store an id up to the watermark holds a lock on the ids' sequence; and who has deleted an
    embedding, but was too early to see its unit, one on the embeddings.
    """
    covered = plan.replaced[0].watermark if plan.replaced else plan.after
    if covered >= plan.watermark:
        return True
    if not wait_for_holders(INFERENCE_IDS):
        return False
    after: int | None = covered
    while after is not None:
        after = _value(MAKE_UNITS, [plan.model.pk, after, plan.watermark, COPIED_AT_ONCE])
    if not wait_for_holders(EMBEDDINGS):
        return False
    with connection.cursor() as cursor:
        cursor.execute(DROP_UNITS, [plan.model.pk, covered, plan.watermark])
        cursor.execute(f"analyze {UNITS} (inference_id, registered_model_id)")
    return True


# The last key of these, or null where there are no more.
MAKE_UNITS = """
    with chunk as materialized (
        select inference_id, registered_model_id, vector from inference_store_embedding
         where registered_model_id = %s and inference_id > %s and inference_id <= %s
         order by inference_id limit %s
    ), made as (
        insert into inference_store_unitembedding (inference_id, registered_model_id, half)
        select inference_id, registered_model_id, l2_normalize(vector)::halfvec from chunk
        on conflict do nothing
    )
    select max(inference_id) from chunk
"""
DROP_UNITS = """
    delete from inference_store_unitembedding unit
     where registered_model_id = %s and inference_id > %s and inference_id <= %s
       and not exists (select from inference_store_embedding held where held.inference_id = unit.inference_id)
"""


def _create(index: VectorIndex, model: RegisteredModel) -> None:
    table, expression, operators, _ = SPELLINGS[EmbeddingDistanceMetric(index.metric)]
    vector = expression.format(size=model.embedding_size)
    with connection.cursor() as cursor:
        cursor.execute(
            f"create index concurrently {index.name} on {table} using ivfflat (({vector}) {operators}) "
            f"with (lists = {index.lists}) where {index.predicate}"
        )


def _put_in_place(index: VectorIndex, replaced: list[VectorIndex]) -> None:
    index.state = State.READY if index.probes else State.FAILED
    if not index.probes:
        index.error = (
            f"recall {index.recall:.3f} with all lists read; halves are too coarse for these vectors"
        )
    index.claimed_until, index.changed_at, index.built_at = None, Now(), Now()
    with transaction.atomic():
        own = VectorIndex.objects.filter(pk=index.pk, claim=index.claim, state=State.BUILDING)
        if not own.select_for_update().exists():
            return  # another has taken it for dead
        if index.state == State.READY:
            passed = VectorIndex.objects.filter(pk__in=[each.pk for each in replaced])
            passed.update(state=State.LEAVING, changed_at=Now())
            VectorIndex.objects.filter(
                registered_model=index.registered_model, metric=index.metric, state=State.WANTED
            ).delete()
        index.save()


def _fail(index: VectorIndex, error: str) -> None:
    own = VectorIndex.objects.filter(pk=index.pk, claim=index.claim)
    own.update(state=State.FAILED, error=error[:1_000], claimed_until=None, changed_at=Now())


# --- Dropping -----------------------------------------------------------------------------------------------
# Not those that a dead worker's session is still building.
STORED = """
    select held.relname from pg_index known join pg_class held on held.oid = known.indexrelid
     where known.indrelid in (%s::regclass, %s::regclass) and held.relname like %s
       and not exists (select from pg_stat_progress_create_index at where at.index_relid = known.indexrelid)
"""


def drop_unneeded() -> int:
    """Drop the indexes that were replaced, that failed, or whose builder died; how many."""
    VectorIndex.objects.filter(state=State.BUILDING).filter(
        Q(claimed_until__lt=Now()) | Q(claimed_until=None)
    ).delete()
    VectorIndex.objects.filter(state=State.LEAVING, changed_at__lt=hence(-GRACE_SECONDS)).delete()
    kept = VectorIndex.objects.filter(state__in=[State.BUILDING, State.READY, State.LEAVING])
    needed = {f"{NAME_PREFIX}{pk}" for pk in kept.values_list("pk", flat=True)}
    with connection.cursor() as cursor:
        cursor.execute(STORED, [EMBEDDINGS, UNITS, f"{NAME_PREFIX}%".replace("_", r"\_")])
        unneeded = [name for (name,) in cursor.fetchall() if name not in needed]
    for name in unneeded:
        with _session(0), connection.cursor() as cursor:
            cursor.execute(f"drop index concurrently if exists {name}")
    return len(unneeded)
