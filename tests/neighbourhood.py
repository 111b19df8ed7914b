"""Many clustered embeddings at once, and their neighbours by brute force."""

from datetime import UTC, datetime

import numpy as np
from django.db import connection

from inference_store.contract.filters import NewGetInferencesRequest
from inference_store.models import Embedding, Inference, UnitEmbedding
from inference_store.query import pages
from inference_store.services import vector_indexes
from inference_store.services.ingest_rows import copy_embeddings

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
CLUSTERS = 12


def clustered(count, size, seed=1):
    """Vectors in clusters, and the cluster of each."""
    shape = np.random.default_rng(100)
    centres, random = shape.normal(size=(CLUSTERS, size)), np.random.default_rng(seed)
    cluster = random.integers(0, CLUSTERS, count)
    return (centres[cluster] + random.normal(0, 0.3, (count, size))).astype(np.float32), cluster


PLANT = f"""
    insert into {Inference._meta.db_table} (registered_model_id, inference_id, created_at, updated_at, action,
           data_hash, content_digest, data_size, version, has_list, is_protected, metadata)
    select %s, %s + position - 1, '{CREATED}', '{CREATED}', 'embed', decode(repeat('00', 32), 'hex'),
           decode(repeat('00', 32), 'hex'), 1, 2, false, false,
           jsonb_build_object('float', jsonb_build_object('at', at),
                              'int', jsonb_build_object('cluster', cluster))
      from unnest(%s::float8[], %s::int[]) with ordinality each(at, cluster, position) order by position
 returning id"""


def plant(model, vectors, cluster, first=0, *, analyzed=True):
    """Store them under their positions, with `at` from 0 to 1 and their cluster as metadata; their keys."""
    at = np.random.default_rng(first).random(len(vectors))
    with connection.cursor() as cursor:
        cursor.execute(PLANT, [model.pk, first, at.tolist(), cluster[: len(vectors)].tolist()])
        keys = [key for (key,) in cursor.fetchall()]
        copy_embeddings(model, list(zip(keys, vectors, strict=True)))
        if analyzed:
            cursor.execute("analyze inference_store_embedding, inference_store_inference")
    return keys


def remove(model):
    """What was planted, with its model and its project."""
    for table in (Embedding, UnitEmbedding, Inference):
        table.objects.filter(registered_model=model).delete()
    project = model.project
    model.delete()
    project.delete()
    vector_indexes.drop_unneeded()


def make_units(keys):
    """As the background does where there is a vector index."""
    with connection.cursor() as cursor:
        cursor.execute(
            "insert into inference_store_unitembedding (inference_id, registered_model_id, half) "
            "select inference_id, registered_model_id, l2_normalize(vector)::halfvec "
            "from inference_store_embedding where inference_id = any(%s)",
            [keys],
        )


def request_of(query, metric="cosine", filters=None, **pagination):
    return NewGetInferencesRequest.model_validate(
        {
            "filters": filters or {},
            "embedding_filters": {"query_embedding": query.tolist(), "distance_metric": metric},
            "pagination": pagination,
        }
    )


def nearest(model, query, metric="cosine", filters=None, **pagination):
    """(id, distance) of a page."""
    page = pages.inference_page(model, request_of(query, metric, filters, **pagination))
    return [(each.inference_id, each.embedding_distance) for each in page.inferences]


def distances(metric, query, vectors):
    """By brute force, in double precision."""
    query, vectors = query.astype(np.float64), vectors.astype(np.float64)
    if metric == "l2":
        return np.linalg.norm(vectors - query, axis=1)
    products = vectors @ query
    if metric == "negative_dot_product":
        return -products
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
    return 1 - np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)


def share_found(found, expected, limit):
    """How many of the nearest were found; what is as near as the last of them is as good."""
    wanted = np.sort(expected)[:limit]
    assert len(found) == len(wanted)
    if not len(wanted):
        return 1.0
    farthest = wanted[-1] + 1e-5 * max(1.0, abs(wanted[-1]))
    return sum(distance <= farthest for _, distance in found) / len(wanted)
