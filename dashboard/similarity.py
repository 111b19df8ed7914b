"""Search by similarity: to the embedding of an inference, or to a vector that somebody pasted."""

from dataclasses import dataclass

from django.http import QueryDict

from inference_store.contract.enums import EmbeddingDistanceMetric
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import EmbeddingFilter
from inference_store.models import RegisteredModel
from inference_store.query.embeddings import vector_of

PARAMETERS = ("similar_to", "metric")
METRICS = {
    EmbeddingDistanceMetric.COSINE.value: "Cosine distance",
    EmbeddingDistanceMetric.L2.value: "Euclidean distance",
    EmbeddingDistanceMetric.NEGATIVE_DOT_PRODUCT.value: "Negative dot product",
}
DEFAULT_METRIC = EmbeddingDistanceMetric.COSINE.value


@dataclass(frozen=True)
class Similarity:
    """What the results are near to, in words, and as the contract's filter."""

    words: str
    metric: str
    filter: EmbeddingFilter

    @property
    def metric_words(self) -> str:
        return METRICS[self.metric]


def similarity_of(model: RegisteredModel, data: QueryDict) -> Similarity | None:
    """What the query string asks to be near to; a Refusal names the parameter that is wrong."""
    metric = data.get("metric") or DEFAULT_METRIC
    if metric not in METRICS:
        raise Refusal.invalid("metric", f"choose one of {', '.join(METRICS)}")
    inference_id = data.get("similar_to", "")
    if not inference_id:
        return None
    if not model.embedding_size:
        raise Refusal.invalid("similar_to", "this model has no embeddings")
    vector = vector_of(model, inference_id) if "\x00" not in inference_id else None
    if vector is None:
        raise Refusal.invalid("similar_to", f"there is no inference {inference_id[:80]!r} with an embedding")
    return Similarity(f"like {inference_id}", metric, _filter(vector.tolist(), metric))


def _filter(numbers: list[float], metric: str) -> EmbeddingFilter:
    return EmbeddingFilter(query_embedding=numbers, distance_metric=metric)
