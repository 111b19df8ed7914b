"""Codes of embeddings are made in the background, of each vector index for cosines once it is there.

Those of an index are stored in one transaction, so nobody reads some of them. A search of all codes must miss
no embedding: so who stores an old id again gives the index another claim (services/soft_deletion.py), and its
codes are made anew.
"""

import logging
import random
from collections.abc import Iterator

import numpy as np
from django.db import IntegrityError, transaction
from pgvector import Vector

from inference_store import statements
from inference_store.models import RegisteredModel, VectorCodes, VectorIndex
from inference_store.models.vector_index import COSINE, EMBEDDINGS, UNITS
from inference_store.query.code_search import is_telling
from inference_store.query.codes import EARLY, LOST, WORD, Asked, Codes, angle_at, codes_of
from inference_store.query.distances import asking, near
from inference_store.query.neighbours import look_up_again
from inference_store.query.numbers import Array
from inference_store.services.vector_measuring import sample
from inference_store.services.writers import wait_for_holders
from inference_store.statements import Keys

logger = logging.getLogger(__name__)
READ_AT_ONCE = 10_000
OF_A_PART = 10
"""Times as many are one part, so that nobody holds all of them at once."""
NEAREST = 1_600
AT_RANDOM = 1_600
"""Embeddings for each query by which it is measured how far codes are off."""
QUANTILE = 0.995
LEAST = (2.4, 2.0, 2.8)
"""Deviations that spreads are at least, as of embeddings that are alike in no way: many that are all the same
would hide by how much the codes of the rest are off."""
LOCK_CLASS = 1_919_251_311
"""Of the advisory lock, by model, of who makes its codes."""

SENT = "inference_id, halfvec_send(half)"
HEADER = 2
"""Halves before the first number."""
NEXT = f"""
    select {SENT} from {UNITS}
     where registered_model_id = %s and inference_id > %s and inference_id <= %s
     order by inference_id limit %s
"""  # noqa: S608 # nosec B608
# Its key or the next one that there is, as other models' are among them.
PICKED = f"""
    select (select inference_id from {EMBEDDINGS} where {{predicate}} and inference_id >= start
             order by registered_model_id, inference_id limit 1)
      from unnest(%s::bigint[]) start
"""  # noqa: S608 # nosec B608


def make_due(model: RegisteredModel) -> int:
    """Make the codes of each index that has none yet; of how many."""
    waiting = VectorIndex.objects.filter(
        registered_model=model, metric=COSINE.value, state=VectorIndex.State.READY, spreads__isnull=True
    )
    made = sum(_make(index, model) for index in waiting.order_by("pk"))
    if made:
        look_up_again()
    return made


def _make(index: VectorIndex, model: RegisteredModel) -> bool:
    """False where somebody else has done it, the index has gone away, or old ids are stored meanwhile."""
    if not wait_for_holders(EMBEDDINGS):
        return False  # of who began to store old ids before the index was there; tried again
    spreads = _spreads(index, model)
    try:
        with transaction.atomic():
            is_own = _lock(model) and _store(index, model, spreads)
            transaction.set_rollback(not is_own)
    except IntegrityError:
        logger.info("%s went away while its codes were made.", index.name)
        return False
    return is_own


def _lock(model: RegisteredModel) -> bool:
    """Until the transaction ends; False where somebody else makes codes of this model."""
    return bool(statements.rows("select pg_try_advisory_xact_lock(%s, %s)", [LOCK_CLASS, model.pk])[0][0])


def _store(index: VectorIndex, model: RegisteredModel, spreads: list[float]) -> bool:
    """False where the index is another by now, or has its codes."""
    VectorCodes.objects.filter(vector_index=index).delete()
    if is_telling(spreads, model.embedding_size):
        for number, (keys, codes) in enumerate(_parts(index)):
            if len(keys):
                VectorCodes.objects.create(
                    vector_index=index, part=number, keys=keys.astype(">i8").tobytes(), codes=codes.tobytes()
                )
    own = VectorIndex.objects.filter(
        pk=index.pk, claim=index.claim, state=VectorIndex.State.READY, spreads__isnull=True
    )
    return bool(own.update(spreads=spreads))


def _parts(index: VectorIndex) -> Iterator[tuple[Array, Array]]:
    """Keys and codes, a part at a time. A zero vector has no direction: without a code it is always read."""
    held: list[tuple[Array, Array]] = []
    after = index.after
    while rows := statements.rows(NEXT, [index.registered_model_id, after, index.watermark, READ_AT_ONCE]):
        after = rows[-1][0]
        keys, units = np.array([key for key, _ in rows]), _units([sent for _, sent in rows])
        has_one = units.any(axis=1)
        held.append((keys[has_one], codes_of(units[has_one])))
        if len(held) == OF_A_PART:
            yield _joined(held)
            held.clear()
    if held:
        yield _joined(held)


def _joined(held: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    return np.concatenate([keys for keys, _ in held]), np.concatenate([codes for _, codes in held])


def _units(sent: list[bytes]) -> Array:
    numbers = np.frombuffer(b"".join(sent), ">f2").reshape(len(sent), -1)
    units: Array = numbers[:, HEADER:].astype(np.float32)
    return units


# --- Measuring ----------------------------------------------------------------------------------------------
def _spreads(index: VectorIndex, model: RegisteredModel) -> list[float]:
    """By how much the first signs, all signs and estimated angles are off at most, but for five of a
    thousand: signs by how many more differ than the angle lets expect. All there is where nothing can tell.

    Of the nearest of some queries, and of any: filters may leave either.
    """
    starts = np.array([random.randint(index.after + 1, index.watermark) for _ in range(AT_RANDOM)])  # noqa: S311 # nosec B311
    rows = statements.rows(PICKED.format(predicate=index.predicate), [Keys(starts)], anew=True)
    picked = np.array(sorted({key for (key,) in rows if key is not None}), np.int64)
    off: list[list[Array]] = [[], []]
    for query in sample(index):
        probes = str(index.probes_for(NEAREST))
        off[0].append(_off(query, near(index, model, NEAREST), probes))
        off[1].append(_off(query, "inference_id = any(%s)", Keys(picked)))
    measured = [np.concatenate(each, axis=1) for each in off if each]
    if not measured or any(not each.size for each in measured):
        return [float(model.embedding_size), float(model.embedding_size), np.pi]
    most = np.max([np.quantile(each, QUANTILE, axis=1) for each in measured], axis=0)
    size = model.embedding_size
    deviations = np.sqrt([min(size, EARLY * WORD) / 4, size / 4, LOST / size])
    return np.maximum(most, LEAST * deviations).tolist()  # type: ignore[no-any-return]


def _off(query: list[float], among: str, value: str | Keys) -> Array:
    """(3, n): by how much the codes of those embeddings are off, as `_spreads` has them."""
    statement = f"{asking(COSINE)} select {SENT} from {UNITS} where {among}"  # noqa: S608 # nosec B608
    rows = statements.rows(statement, [Vector(query), value], anew=True)
    vector = np.array(query)
    length = float(np.linalg.norm(vector))
    if not rows or not length:
        return np.zeros((3, 0))
    units = _units([sent for _, sent in rows])
    units = units[units.any(axis=1)]
    angles = angle_at(1 - units @ (vector / length).astype(np.float32))
    asked, at = Asked(vector), np.arange(len(units))
    size = len(vector)
    codes = Codes.of(size, len(units), [(at, codes_of(units))])
    return np.stack(
        [
            codes.differing_early(asked) - min(size, EARLY * WORD) * angles / np.pi,
            codes.differing(asked, at) - size * angles / np.pi,
            np.abs(codes.angles(asked, at) - angles),
        ]
    )
