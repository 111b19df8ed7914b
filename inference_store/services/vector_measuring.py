"""How many lists of a vector index have to be read, measured after it was built."""

import itertools
import math
import random
from typing import TypeAlias

import numpy as np
from pgvector import Vector

from inference_store import statements
from inference_store.contract.enums import EmbeddingDistanceMetric
from inference_store.models import Embedding, RegisteredModel, VectorIndex
from inference_store.query.distances import asking, exact_distances, near, scale
from inference_store.query.embeddings import vectors
from inference_store.query.neighbours import DEPTHS, MARGIN

SAMPLE_QUERIES = 24
DRAWN = 0.25
SPARE = 1.25
LEAST_LISTS, LEAST_ROWS = 4, 2_000
"""Where the sample needs one or two lists, chance decides whether the next query needs three; and reading the
lists of so many rows costs a fraction of a millisecond, however few the sample needs of a small index."""
WANTED_RECALL, RECALL_OF_EACH = 0.995, 0.95
BEYOND = 2
"""With 1, one or two of a hundred ordinary queries read all lists: 24 say little of the next one's."""
Probes: TypeAlias = tuple[int, int, float | None, float | None]
"""As `VectorIndex.probes` has them."""


def measured(index: VectorIndex, model: RegisteredModel) -> tuple[list[Probes], float]:
    """The least probes that find enough neighbours at each depth, and the recall of the 50 nearest.

    None where that takes more than there is. Beyond the last depth, all lists are read.
    """
    queries = sample(index)
    if not queries:
        return [(DEPTHS[-1], index.lists, None, None)], 1.0
    depths = [depth for depth in DEPTHS if depth <= index.row_count / 4] or [index.row_count]
    exact = [_exact(index, query, max(depths)) for query in queries]
    probes, found, recall = 1, [], 0.0
    for depth in depths:
        while True:
            shares = _recalls(index, model, queries, exact, depth, probes)
            if depth == depths[0]:
                recall = _mean(_recalls(index, model, queries, exact, depth, probes, nearest=50))
            if _mean(shares) >= WANTED_RECALL or probes >= index.lists:
                break
            probes = min(index.lists, math.ceil(probes * 1.4))
        if _mean(shares) < WANTED_RECALL:
            break
        far = _far(index, queries, [distances[: _relied_on(depth)][-1] for distances in exact], shares)
        least = max(LEAST_LISTS, math.ceil(LEAST_ROWS * index.lists / index.row_count))
        enough = max(least, math.ceil(probes * SPARE))
        found.append((depth, min(index.lists, enough), *far))
    return found, recall


def _far(
    index: VectorIndex, queries: list[list[float]], distances: list[float], shares: list[float]
) -> tuple[float | None, float | None]:
    """From how far on these lists tell nothing of neighbours; and up to where they tell enough.

    Enough: as far as the farthest query that found its own, but for one, which may be luck. Nothing: beyond
    that by twice as much as it is from the one in the middle.
    """
    metric = EmbeddingDistanceMetric(index.metric)
    scaled = [distance / scale(metric, query) for query, distance in zip(queries, distances, strict=True)]
    ascending = sorted(zip(scaled, shares, strict=True))
    telling = _found_theirs(_found_theirs(ascending)[:-1]) or ascending[:1]
    farthest, middle = telling[-1][0], float(np.median([far for far, _ in telling]))
    reach = farthest + BEYOND * (farthest - middle)
    return (reach, farthest) if math.isfinite(reach) else (None, None)


def _found_theirs(ascending: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Without those that are farthest and found less than they should."""
    missed = itertools.takewhile(lambda each: each[1] < RECALL_OF_EACH, reversed(ascending))
    return ascending[: len(ascending) - sum(1 for _ in missed)]


def _relied_on(depth: int) -> int:
    """Of so many that an index is asked for, search relies on what lies within the margin."""
    return max(1, int(depth / MARGIN))


def sample(index: VectorIndex) -> list[list[float]]:
    """Some stored vectors; every other one drawn towards another, as a query is seldom one that is stored."""
    rows = Embedding.objects.filter(registered_model=index.registered_model)
    rows = rows.filter(inference_id__gt=index.after, inference_id__lte=index.watermark)
    keys = rows.order_by("inference_id").values_list("inference_id", flat=True)
    first = keys.first()
    if first is None:
        return []
    from_there = [random.randint(first, index.watermark) for _ in range(SAMPLE_QUERIES)]  # noqa: S311 # nosec B311
    picked = {keys.filter(inference_id__gte=each).first() for each in from_there}
    stored = list(vectors([each for each in picked if each is not None]).values())
    drawn = [
        stored[number] * np.float32(1 - DRAWN) + stored[number - 1] * np.float32(DRAWN)
        for number in range(0, len(stored), 2)
    ]
    return [vector.tolist() for vector in stored[1::2] + drawn]


def _exact(index: VectorIndex, query: list[float], depth: int) -> list[float]:
    """How far the nearest so many are, ascending."""
    metric = EmbeddingDistanceMetric(index.metric)
    statement = f"{asking(metric)} {exact_distances(metric, index.predicate)} limit {depth}"
    return [distance for distance, _ in statements.rows(statement, [Vector(query)], anew=True)]


def _found(
    index: VectorIndex, model: RegisteredModel, query: list[float], depth: int, probes: int
) -> list[float]:
    """How far those are that reading so many lists finds."""
    metric = EmbeddingDistanceMetric(index.metric)
    statement = f"{asking(metric)} {exact_distances(metric, near(index, model, depth))}"
    return [distance for distance, _ in statements.rows(statement, [Vector(query), str(probes)])]


def _recalls(
    index: VectorIndex,
    model: RegisteredModel,
    queries: list[list[float]],
    exact: list[list[float]],
    depth: int,
    probes: int,
    nearest: int | None = None,
) -> list[float]:
    """The share of each query's nearest that reading so many lists finds; equally near ones are as good."""
    nearest = nearest or _relied_on(depth)
    shares = []
    for query, distances in zip(queries, exact, strict=True):
        wanted = distances[:nearest]
        found = _found(index, model, query, depth, probes)
        limit = wanted[-1] + 1e-6 * max(1.0, abs(wanted[-1]))
        shares.append(min(1.0, sum(each <= limit for each in found) / len(wanted)))
    return shares


def _mean(shares: list[float]) -> float:
    return sum(shares) / len(shares)
