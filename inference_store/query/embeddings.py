"""Distances between stored embeddings and a query embedding."""

import math
from typing import Any

import numpy as np
import orjson
from django.db.models import Case, F, FloatField, Func, Q, QuerySet, Value, When
from django.db.models.functions import Greatest
from pgvector.django import CosineDistance, L2Distance, MaxInnerProduct, VectorField

from inference_store.contract.enums import EmbeddingDistanceMetric
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import EmbeddingFilter
from inference_store.models import Embedding, QueryVector, RegisteredModel

DISTANCES = {
    EmbeddingDistanceMetric.COSINE: CosineDistance,
    EmbeddingDistanceMetric.L2: L2Distance,
    EmbeddingDistanceMetric.NEGATIVE_DOT_PRODUCT: MaxInnerProduct,
}
Vector = np.ndarray[Any, np.dtype[np.float32]]


def refuse_unfit(model: RegisteredModel, wanted: EmbeddingFilter) -> None:
    """A query must have the size of the model's embeddings."""
    field, size = "embedding_filters.query_embedding", len(wanted.query_embedding)
    if model.embedding_size == 0:
        raise Refusal.invalid(field, f"model {model.model_id!r} is registered without embeddings")
    if size != model.embedding_size:
        raise Refusal.invalid(
            field, f"has {size} numbers; embeddings of {model.model_id!r} have {model.embedding_size}"
        )


def with_distance(queryset: QuerySet[Any], wanted: EmbeddingFilter, prefix: str = "") -> QuerySet[Any]:
    """The rows that have an embedding, each with its `distance` in float32."""
    vector = f"{prefix}embedding__vector"
    distance = DISTANCES[wanted.metric](vector, wanted.query_embedding)
    queryset = queryset.filter(Q(**{f"{prefix}embedding__isnull": False}))
    found: QuerySet[Any]
    if wanted.metric is not EmbeddingDistanceMetric.COSINE:
        found = queryset.annotate(distance=distance)
        return found
    # Where a squared length leaves float32's range, the plain distance reads NaN or one of these.
    doubtful = [Value("NaN", output_field=FloatField()), Value(0.0), Value(1.0), Value(2.0)]
    product = MaxInnerProduct(Unit(F(vector)), unit(wanted.query_embedding))
    found = queryset.annotate(raw_distance=distance).annotate(
        distance=Case(
            When(raw_distance__in=doubtful, then=Greatest(Value(0.0), Value(1.0) + product)),
            default=F("raw_distance"),
            output_field=FloatField(),
        )
    )
    return found


class Unit(Func):
    """The vector at length 1, its length taken in double precision; a zero vector stays zero."""

    function = "l2_normalize"
    output_field = VectorField()


def unit(vector: list[float]) -> list[float]:
    length = math.hypot(*vector)
    return [each / length for each in vector] if length else vector


def finite_distance(distance: float, wanted: EmbeddingFilter, vector: Vector) -> float:
    """The distance; computed in double precision where float32 overflowed."""
    if math.isfinite(distance):
        return distance
    query, stored = np.asarray(wanted.query_embedding, np.float64), vector.astype(np.float64)
    if wanted.metric is EmbeddingDistanceMetric.L2:
        return float(np.linalg.norm(stored - query))
    return float(-(stored @ query))


def vectors(inference_ids: list[int]) -> dict[int, Vector]:
    """The embeddings of those inferences that have one. One query."""
    rows = Embedding.objects.filter(pk__in=inference_ids).values_list("inference_id", "vector")
    return {key: _array(vector) for key, vector in rows}


def vector_of(model: RegisteredModel, inference_id: str) -> Vector | None:
    """The embedding of that inference, None where it has none or is none. One query."""
    found = Embedding.objects.filter(inference__registered_model=model, inference__inference_id=inference_id)
    vector = found.values_list("vector", flat=True).first()
    return None if vector is None else _array(vector)


def kept_vector(model: RegisteredModel, digest: str) -> Vector | None:
    """A vector that was kept to search by, None where there is none of that digest. One query."""
    found = QueryVector.objects.filter(registered_model=model, digest=digest)
    packed = found.values_list("packed", flat=True).first()
    return None if packed is None else np.frombuffer(packed, "<f4")


def _array(vector: Any) -> Vector:
    return np.asarray(vector.to_numpy() if hasattr(vector, "to_numpy") else vector, np.float32)


def spelled(vector: Vector) -> str:
    """A float32 vector as JSON, each number in the fewest digits that name it."""
    return orjson.dumps(np.ascontiguousarray(vector), option=orjson.OPT_SERIALIZE_NUMPY).decode()
