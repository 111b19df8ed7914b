"""Codes of embeddings are made in the background, of each vector index for cosines once it is there."""

import random

import numpy as np
from django.db import connection, transaction
from pgvector import Vector

from inference_store import statements
from inference_store.models import RegisteredModel, VectorCodes, VectorIndex
from inference_store.models.vector_index import COSINE, EMBEDDINGS, UNITS
from inference_store.query.codes import expected, is_telling
from inference_store.query.column_cache import Array
from inference_store.query.distances import asking, near
from inference_store.query.neighbours import look_up_again
from inference_store.services.jobs import unlimited
from inference_store.services.vector_measuring import sample

IDS_OF_A_PART = 250_000
NEAREST = 1_600
AT_RANDOM = 1_600
"""Embeddings for each query by which it is measured how far codes are off."""
QUANTILE = 0.999

# A zero vector has no direction: without a code it is always looked up.
WRITE = f"""
    insert into {VectorCodes._meta.db_table} (vector_index_id, part, keys, codes)
    select %s, inference_id / {IDS_OF_A_PART},
           string_agg(int8send(inference_id), '' order by inference_id),
           string_agg(substr(bit_send(binary_quantize(half)), 5), '' order by inference_id)
      from {UNITS} where {{predicate}} and l2_norm(half) > 0 group by 2
"""  # noqa: S608 # nosec B608
# Its key or the next one that there is, as other models' are among them.
PICKED = f"""
    select (select inference_id from {EMBEDDINGS} where {{predicate}} and inference_id >= start
             order by registered_model_id, inference_id limit 1)
      from unnest(%s::bigint[]) start
"""  # noqa: S608 # nosec B608
COMPARED = f"""
    {asking(COSINE)}
    select 1 + (half <#> (select half from asked)),
           binary_quantize(half) <~> binary_quantize((select half from asked))
      from {UNITS} where l2_norm(half) > 0 and {{among}}
"""  # noqa: S608 # nosec B608


def make_due(model: RegisteredModel) -> int:
    """Make the codes of each index that has none yet; of how many."""
    waiting = VectorIndex.objects.filter(
        registered_model=model, metric=COSINE.value, state=VectorIndex.State.READY, spread=None
    )
    return sum(_make(model, key) for key in waiting.values_list("pk", flat=True))


@transaction.atomic
def _make(model: RegisteredModel, key: int) -> bool:
    """False where somebody is at it, or has done it."""
    own = VectorIndex.objects.select_for_update(skip_locked=True).filter(pk=key, spread=None)
    index = own.first()
    if index is None:
        return False
    unlimited()
    spread = _spread(index, model)
    if is_telling(spread, model.embedding_size):
        with connection.cursor() as cursor:
            cursor.execute(WRITE.format(predicate=index.predicate), [index.pk])
    VectorIndex.objects.filter(pk=key).update(spread=spread)
    transaction.on_commit(look_up_again)
    return True


def _spread(index: VectorIndex, model: RegisteredModel) -> float:
    """By how many signs more an embedding differs than its angle lets expect, all but one of a thousand.

    Of the nearest of some queries, and of any: filters may leave either.
    """
    starts = [random.randint(index.after + 1, index.watermark) for _ in range(AT_RANDOM)]  # noqa: S311 # nosec B311
    rows = statements.rows(PICKED.format(predicate=index.predicate), [starts], anew=True)
    picked = sorted({key for (key,) in rows if key is not None})
    by_key = f"inference_id = any('{{{','.join(map(str, picked))}}}'::bigint[])"
    nearest, others = [], []
    for query in sample(index):
        nearest.append(
            _off(query, near(index, model, NEAREST), [str(index.probes_for(NEAREST))], model.embedding_size)
        )
        others.append(_off(query, by_key, [], model.embedding_size))
    spreads = [np.quantile(np.concatenate(each), QUANTILE) for each in (nearest, others) if each]
    return float(max(spreads, default=model.embedding_size))


def _off(query: list[float], among: str, values: list[str], size: int) -> Array:
    """By how many signs more than is expected each of those embeddings differs from the query."""
    rows = statements.rows(COMPARED.format(among=among), [Vector(query), *values], anew=True)
    return np.array([differing - expected(size, distance) for distance, differing in rows])
