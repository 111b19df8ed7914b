"""Search by similarity: to the embedding of an inference, or to a vector that somebody pasted."""

import re
from dataclasses import dataclass

from django.http import QueryDict
from pydantic import ValidationError

from inference_store.contract.enums import EmbeddingDistanceMetric
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import EmbeddingFilter
from inference_store.models import RegisteredModel
from inference_store.query.embeddings import kept_vector, vector_of

PARAMETERS = ("similar_to", "vector", "metric")
METRICS = {
    EmbeddingDistanceMetric.COSINE.value: "Cosine distance",
    EmbeddingDistanceMetric.L2.value: "Euclidean distance",
    EmbeddingDistanceMetric.NEGATIVE_DOT_PRODUCT.value: "Negative dot product",
}
DEFAULT_METRIC = EmbeddingDistanceMetric.COSINE.value
DIGEST = re.compile(r"[0-9a-f]{32}")
LONGEST_PASTE = 500_000


@dataclass(frozen=True)
class Similarity:
    """What the results are near to, in words, and as the contract's filter.

    `like` is the inference that they are like, None for a pasted vector.
    """

    words: str
    metric: str
    filter: EmbeddingFilter
    like: str | None

    @property
    def metric_words(self) -> str:
        return METRICS[self.metric]


def similarity_of(model: RegisteredModel, data: QueryDict) -> Similarity | None:
    """What the query string asks to be near to; a Refusal names the parameter that is wrong."""
    metric = data.get("metric") or DEFAULT_METRIC
    if metric not in METRICS:
        raise Refusal.invalid("metric", f"choose one of {', '.join(METRICS)}")
    inference_id, digest = data.get("similar_to", ""), data.get("vector", "")
    name = "similar_to" if inference_id else "vector"
    if not inference_id and not digest:
        return None
    if not model.embedding_size:
        raise Refusal.invalid(name, "this model has no embeddings")
    if inference_id and digest:
        raise Refusal.invalid(name, "give either similar_to or vector")
    if inference_id:
        vector = vector_of(model, inference_id) if "\x00" not in inference_id else None
        words, missing = f"like {inference_id}", f"there is no {inference_id[:80]!r} with an embedding"
    else:
        vector = kept_vector(model, digest) if DIGEST.fullmatch(digest) else None
        words, missing = "like a pasted vector", "is not kept any more: paste it again"
    if vector is None:
        raise Refusal.invalid(name, missing)
    wanted = EmbeddingFilter(query_embedding=vector.tolist(), distance_metric=metric)
    return Similarity(words, metric, wanted, inference_id or None)


def pasted_filter(text: str) -> EmbeddingFilter:
    """The numbers that somebody pasted, in brackets or not, between commas or blanks."""
    if len(text) > LONGEST_PASTE:
        raise Refusal.invalid("numbers", f"it is longer than {LONGEST_PASTE:,} characters")
    parts = [part for part in re.split(r"[\s,;]+", text.strip().strip("[]()")) if part]
    try:
        return EmbeddingFilter(query_embedding=[float(part) for part in parts])
    except ValidationError as error:
        problem = error.errors()[0]
        place = f"number {problem['loc'][1] + 1} " if len(problem["loc"]) > 1 else ""  # type: ignore[operator]
        raise Refusal.invalid("numbers", f"{place}{problem['msg'][0].lower()}{problem['msg'][1:]}") from None
    except ValueError:
        raise Refusal.invalid("numbers", "paste numbers, like [0.1, -0.2, 0.3]") from None
