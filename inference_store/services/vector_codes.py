"""Codes of embeddings are made in the background, of each vector index for cosines once it is there.

Nobody reads them before it is written down how far they are off: so they are written a part at a time, and
what a builder left that died is as good as what the next one writes.
"""

import logging
import random
from collections.abc import Iterator

import numpy as np
from django.db import IntegrityError
from pgvector import Vector

from inference_store import statements
from inference_store.models import RegisteredModel, VectorCodes, VectorIndex
from inference_store.models.vector_index import COSINE, EMBEDDINGS, UNITS
from inference_store.query.codes import codes_of, expected, is_telling
from inference_store.query.distances import asking, near
from inference_store.query.neighbours import look_up_again
from inference_store.query.numbers import Array
from inference_store.services.vector_measuring import sample
from inference_store.statements import Keys

logger = logging.getLogger(__name__)
READ_AT_ONCE = 10_000
OF_A_PART = 25
"""Times as many are one part, so that nobody holds all of them at once."""
NEAREST = 1_600
AT_RANDOM = 1_600
"""Embeddings for each query by which it is measured how far codes are off."""
QUANTILE = 0.999

SENT = "inference_id, halfvec_send(half)"
HEADER = 2
"""Halves before the first number."""
NEXT = f"""
    select {SENT} from {UNITS}
     where registered_model_id = %s and inference_id > %s and inference_id <= %s
     order by inference_id limit {READ_AT_ONCE}
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
        registered_model=model, metric=COSINE.value, state=VectorIndex.State.READY, spread=None
    )
    made = sum(_make(index, model) for index in waiting.order_by("pk"))
    if made:
        look_up_again()
    return made


def _make(index: VectorIndex, model: RegisteredModel) -> bool:
    """False where somebody else has done it, or the index has gone away."""
    spread = _spread(index, model)
    try:
        if is_telling(spread, model.embedding_size):
            for number, (keys, codes) in enumerate(_parts(index)):
                part = VectorCodes(
                    vector_index=index, part=number, keys=keys.astype(">i8").tobytes(), codes=codes.tobytes()
                )
                VectorCodes.objects.bulk_create(
                    [part],
                    update_conflicts=True,
                    unique_fields=["vector_index", "part"],
                    update_fields=["keys", "codes"],
                )
    except IntegrityError:
        logger.info("%s went away while its codes were made.", index.name)
        return False
    own = VectorIndex.objects.filter(pk=index.pk, state=VectorIndex.State.READY, spread=None)
    return bool(own.update(spread=spread))


def _parts(index: VectorIndex) -> Iterator[tuple[Array, Array]]:
    """Keys and codes, a part at a time. A zero vector has no direction: without a code it is always read."""
    held: list[tuple[Array, Array]] = []
    after = index.after
    while rows := statements.rows(NEXT, [index.registered_model_id, after, index.watermark]):
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
def _spread(index: VectorIndex, model: RegisteredModel) -> float:
    """By how many bits more a code differs than its angle lets expect, but for one of a thousand; at least 0.

    Of the nearest of some queries, and of any: filters may leave either. All bits where nothing can tell.
    """
    starts = np.array([random.randint(index.after + 1, index.watermark) for _ in range(AT_RANDOM)])  # noqa: S311 # nosec B311
    rows = statements.rows(PICKED.format(predicate=index.predicate), [Keys(starts)], anew=True)
    picked = np.array(sorted({key for (key,) in rows if key is not None}), np.int64)
    off: list[list[Array]] = [[], []]
    for query in sample(index):
        probes = str(index.probes_for(NEAREST))
        off[0].append(_off(query, near(index, model, NEAREST), probes))
        off[1].append(_off(query, "inference_id = any(%s)", Keys(picked)))
    measured = [np.concatenate(each) for each in off if each]
    if not measured or any(not len(each) for each in measured):
        return float(model.embedding_size)
    return max(0.0, *(float(np.quantile(each, QUANTILE)) for each in measured))


def _off(query: list[float], among: str, value: str | Keys) -> Array:
    """By how many bits more than is expected the codes of those embeddings differ from the query's."""
    statement = f"{asking(COSINE)} select {SENT} from {UNITS} where {among}"  # noqa: S608 # nosec B608
    rows = statements.rows(statement, [Vector(query), value], anew=True)
    asked = np.array(query, np.float32)
    length = float(np.linalg.norm(asked.astype(np.float64)))
    if not rows or not length:
        return np.zeros(0)
    units = _units([sent for _, sent in rows])
    units = units[units.any(axis=1)]
    differing = np.bitwise_count(codes_of(units) ^ codes_of(asked[None])).sum(axis=1, dtype=np.int64)
    off: Array = differing - expected(len(query), 1 - units @ (asked / length))
    return off
