"""Statements that find embeddings by their distance to a query embedding; each begins with `asking`."""

import numpy as np

from inference_store.contract.enums import EmbeddingDistanceMetric
from inference_store.models import RegisteredModel, VectorIndex
from inference_store.models.vector_index import COSINE, EMBEDDINGS, UNITS
from inference_store.query.conditions import TABLE
from inference_store.query.rows import columns_of

OPERATORS = {
    EmbeddingDistanceMetric.COSINE: "<=>",
    EmbeddingDistanceMetric.L2: "<->",
    EmbeddingDistanceMetric.NEGATIVE_DOT_PRODUCT: "<#>",
}
HALVES_FIRST = f"""(array(
    select inference_id from {UNITS} where inference_id = any(%s)
     order by half <#> (select half from asked) limit {{depth}}) || %s::bigint[])"""  # noqa: S608 # nosec B608
"""Of the first keys so many, and all of the second."""


def scale(metric: EmbeddingDistanceMetric, query: list[float]) -> float:
    """What distances grow with, though which are the nearest stays the same."""
    length = float(np.linalg.norm(np.asarray(query, np.float64)))
    return length if length and metric is EmbeddingDistanceMetric.NEGATIVE_DOT_PRODUCT else 1.0


def asking(metric: EmbeddingDistanceMetric) -> str:
    """The query embedding, whose value is to follow; for cosines also as units are stored."""
    vector = "select %s::vector as query"
    if metric is COSINE:
        vector = f"select query, l2_normalize(query)::halfvec as half from ({vector}) given"  # noqa: S608 # nosec B608
    return f"with asked as materialized ({vector})"


def near(index: VectorIndex, model: RegisteredModel, depth: int) -> str:
    """The condition that an embedding is one of those that the index gives first; after `asking`.

    The value to follow is how many lists are read, as text. A scan begins when what it orders by is known.
    """
    query = "half" if EmbeddingDistanceMetric(index.metric) is COSINE else "query"
    wanted = f"select {query} from asked, set_config('ivfflat.probes', %s, true)"  # noqa: S608 # nosec B608
    ordering = index.ordering(model.embedding_size, wanted)
    source = f"{index.table} where {index.predicate}"
    keys = f"select inference_id from {source} order by {ordering} limit {depth}"  # noqa: S608 # nosec B608
    return f"inference_id = any(array({keys}))"


def exact_distances(metric: EmbeddingDistanceMetric, among: str) -> str:
    """A query, after `asking`, for (distance, key) of embeddings, nearest first, as `with_distance` has them.

    The subquery keeps a distance from being computed wherever it is named.
    """
    distance = "raw"
    if metric is COSINE:
        product = "l2_normalize(vector) <#> (select l2_normalize(query) from asked)"
        distance = f"case when raw in ('NaN', 0, 1, 2) then greatest(0, 1 + ({product})) else raw end"
    return (
        f"select {distance} as distance, inference_id from (select inference_id, vector, "  # noqa: S608
        f"vector {OPERATORS[metric]} (select query from asked) as raw from {EMBEDDINGS} where {among} "
        "offset 0) held order by 1, 2"  # nosec B608
    )


def found_with_rows(found: str, count: int, *, with_vectors: bool) -> str:
    """(part, distance, key) of what is found, nearest first, and of the nearest so many their row or nulls.
    After `asking`; `found` is a query for the three."""
    joined = f"left join {EMBEDDINGS} e on e.inference_id = r.id" if with_vectors else ""
    return f"""
        , found(part, distance, key) as materialized ({found})
        select found.part, found.distance, found.key, {columns_of(with_vectors=with_vectors)} from found
          left join (select key from found order by distance, key limit {count}) nearest using (key)
          left join {TABLE} r on r.id = nearest.key {joined}
         order by found.distance, found.key"""  # noqa: S608 # nosec B608
