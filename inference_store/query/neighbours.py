"""The nearest embeddings, by vector indexes where there are some, with the distances of an exact search.

Each index gives its nearest so many; what lies beyond their farthest, it may have held back. So what is found
counts as far as the nearest of these horizons, whatever a filter leaves of it, and the rest is exact search.
"""

import base64
import binascii
import math
import time
import zlib
from dataclasses import dataclass
from threading import local

import numpy as np
from django.db import connection
from django.db.models import QuerySet

from inference_store.contract.enums import EmbeddingDistanceMetric
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import DEFAULT_LIMIT, EmbeddingFilter, NewGetInferencesRequest
from inference_store.models import Embedding, Inference, RegisteredModel, VectorIndex
from inference_store.models.vector_index import COSINE, indexable
from inference_store.query.embeddings import refuse_unfit, spelled, unit
from inference_store.query.matching import matching
from inference_store.query.order import Order

MOST_NEIGHBOURS = 1_000
"""Up to there, counted from the nearest, pages come from the indexes."""
DEPTHS = (100, 400, 1_600, 6_400)
"""How many neighbours the indexes are asked for, and were measured at; deeper where a filter leaves few."""
MARGIN = 1.25
MARGIN_OF_FILTERS = 4
FEW_PER_ROOT = 16
"""Times the root of all rows: where a filter leaves so few, reading them all is quicker than an index."""
ROUNDING = {COSINE: 1e-4}
"""By how much an index of halves may be wrong about which of two is nearer."""

CHAIN_SECONDS = 5.0
"""Far less than an index outlives its replacement."""

OPERATORS = {
    EmbeddingDistanceMetric.COSINE: "<=>",
    EmbeddingDistanceMetric.L2: "<->",
    EmbeddingDistanceMetric.NEGATIVE_DOT_PRODUCT: "<#>",
}
TABLE = Embedding._meta.db_table

Found = list[tuple[float, int]]
"""(distance, key) each, nearest first."""
_here = local()
"""What this thread's request asked for: written down when it ends."""
_chains: dict[tuple[int, str], tuple[float, list[VectorIndex]]] = {}


@dataclass(frozen=True)
class Neighbours:
    """A page's part of what was found, and the cursor after it where there is more."""

    found: Found
    next_cursor: str | None


# --- Pages --------------------------------------------------------------------------------------------------
def neighbours_page(
    model: RegisteredModel, request: NewGetInferencesRequest, order: Order
) -> Neighbours | None:
    """The page by the indexes; None where it takes an exact search."""
    wanted, pagination = request.embedding_filters, request.pagination
    if wanted is None or order.name != "embedding_distance" or order.descending:
        return None
    refuse_unfit(model, wanted)
    cursor = pagination.cursor if pagination else None
    position, given = split_cursor(cursor)
    if cursor is not None and position != _beginning(order):
        return None
    offset = (pagination and pagination.offset) or 0
    limit = (pagination and pagination.limit) or DEFAULT_LIMIT
    # One row more than asked for tells whether there is a next page.
    end = len(given) + offset + limit
    chain = _chain(model, wanted.metric) if end <= MOST_NEIGHBOURS else []
    found = _Search(model, request, wanted, chain).nearest(end + 1) if chain else None
    if found is None:
        return None
    passed = set(given)
    new = [each for each in found if each[1] not in passed]
    cursor = None
    if len(new) > offset + limit:
        # What this page has missed, the next may find: it begins anew, without what was given.
        cursor = join_cursor(_beginning(order), given + [key for _, key in new[: offset + limit]])
    return Neighbours(new[offset : offset + limit], cursor)


def _beginning(order: Order) -> str:
    return order.cursor(-math.inf, [0])


def join_cursor(position: str, given: list[int]) -> str:
    """A cursor that also names the rows that were given, whatever their place."""
    if not given:
        return position
    steps = np.diff(np.sort(np.asarray(given, np.int64)), prepend=np.int64(0)).astype("<i8").tobytes()
    return f"{position}.{base64.urlsafe_b64encode(zlib.compress(steps)).decode().rstrip('=')}"


def split_cursor(cursor: str | None) -> tuple[str | None, list[int]]:
    """The position, and the rows that were given."""
    if cursor is None or "." not in cursor:
        return cursor, []
    position, _, packed = cursor.partition(".")
    try:
        content = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
        unpacking = zlib.decompressobj()
        steps = np.frombuffer(unpacking.decompress(content, 8 * MOST_NEIGHBOURS), "<i8")
        if not (unpacking.eof and len(steps)):
            raise ValueError
    except (binascii.Error, zlib.error, ValueError):
        raise Refusal.invalid("pagination.cursor", "is not a cursor that this store gave") from None
    return position, np.cumsum(steps).tolist()


# --- Which indexes there are --------------------------------------------------------------------------------
def _chain(model: RegisteredModel, metric: EmbeddingDistanceMetric) -> list[VectorIndex]:
    """The indexes to search; remembered for a moment, as what they leave out is searched exactly anyway."""
    if not indexable(model, metric):
        return []
    key, now = (model.pk, metric.value), time.monotonic()
    if metric is not COSINE:
        _here.wanted = {*getattr(_here, "wanted", ()), key}
    looked_up, chain = _chains.get(key, (-math.inf, []))
    if now - looked_up > CHAIN_SECONDS:
        chain = VectorIndex.objects.chain(model, metric)
        _chains[key] = (now, chain)
    return chain


def look_up_again() -> None:
    """Forget which indexes there are."""
    _chains.clear()


def take_wanted() -> set[tuple[int, str]]:
    """Models and metrics that this thread asked for since the last call."""
    taken: set[tuple[int, str]] = getattr(_here, "wanted", set())
    _here.wanted = set()
    return taken


# --- Search -------------------------------------------------------------------------------------------------
class _Search:
    """One search by the indexes of `chain` and, beyond the last watermark, an exact one."""

    def __init__(
        self,
        model: RegisteredModel,
        request: NewGetInferencesRequest,
        wanted: EmbeddingFilter,
        chain: list[VectorIndex],
    ) -> None:
        self.model, self.filters, self.metric, self.chain = model, request.filters, wanted.metric, chain
        self.vector, self.query = wanted.query_embedding, literal(wanted.query_embedding)
        self.rows = sum(index.row_count for index in chain)

    def nearest(self, count: int) -> Found | None:
        """So many of the matching, fewer only where there are fewer; None where it takes an exact search."""
        queryset = None
        if self.filters and self.filters.model_dump(exclude_none=True):
            queryset = matching(self.model, self.filters)
            found = self._among_few(queryset, int(FEW_PER_ROOT * math.sqrt(self.rows)), count)
            if found is not None:
                return found
        needed = count * MARGIN * (1 if queryset is None else MARGIN_OF_FILTERS)
        while depth := next((each for each in DEPTHS if each >= needed), None):
            found, horizon = self._by_index(depth)
            if queryset is not None:
                near = queryset.filter(pk__in=[key for _, key in found])
                passing = set(near.values_list("pk", flat=True))
                found = [each for each in found if each[1] in passing]
            certain = [each for each in found if each[0] + ROUNDING.get(self.metric, 0) < horizon]
            if len(certain) >= count or horizon == math.inf:
                return certain[:count]
            # Deeper by as much as is missing.
            needed = max(depth + 1, MARGIN * depth * count / max(len(found), 1))
        return None

    def _among_few(self, queryset: QuerySet[Inference], few: int, count: int) -> Found | None:
        """Exactly, if these inferences are so few; None if they are more."""
        keys, parameters = queryset.values_list("pk")[: few + 1].query.sql_with_params()
        # One by one by their keys, whatever the planner thinks of the filter.
        one = f"select inference_id, vector from {TABLE} where inference_id = few.id offset 0"  # noqa: S608
        few_embeddings = f"few cross join lateral ({one}) stored where n <= {few}"
        statement = f"""
            with few(id) as materialized ({keys}), counted as materialized (select count(*) as n from few)
            select n, distance, inference_id from counted left join lateral (
                {self._exact(few_embeddings)} limit {count}
            ) found on true"""  # noqa: S608
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            rows = cursor.fetchall()
        if rows[0][0] > few:
            return None
        return [(distance, key) for _, distance, key in rows if key is not None]

    def _exact(self, source: str) -> str:
        return exact_distances(self.metric, self.vector, source)

    def _by_index(self, depth: int) -> tuple[Found, float]:
        """The nearest of each index and of the rest, and how far nothing that was held back can be."""
        statements = ["set local enable_sort = off"]
        for index in self.chain:
            ordering = index.ordering(self.model.embedding_size, self.query)
            statements.append(f"set local ivfflat.probes = {max(1, index.probes_for(depth))}")
            near = f"{TABLE} where {index.predicate} order by {ordering} limit {depth}"
            statements.append(self._exact(f"(select inference_id, vector from {near}) near"))  # noqa: S608
        statements.append("set local enable_sort to default")
        newer = f"registered_model_id = {self.model.pk} and inference_id > {self.chain[-1].watermark}"
        statements.append(f"{self._exact(f'{TABLE} where {newer}')} limit {depth}")
        answers = _answers(statements)
        horizon, found = math.inf, []
        for number, rows in enumerate(answers):
            if any(math.isnan(distance) for distance, _ in rows):  # infinities of either sign were added
                horizon = -math.inf
            found += rows
            if len(rows) == depth:
                horizon = min(horizon, max(distance for distance, _ in rows))
            elif number < len(self.chain):
                index = self.chain[number]
                if index.probes_for(depth) < index.lists:
                    horizon = -math.inf  # the lists that were read hold less than was asked for
        return sorted(found), horizon


def _answers(statements: list[str]) -> list[Found]:
    """The rows of each query among these. In one go: a transaction of their own, if there is none."""
    answers = []
    with connection.cursor() as cursor:
        cursor.execute("; ".join(statements))
        while True:
            if cursor.description is not None:
                answers.append(cursor.fetchall())
            if not cursor.nextset():
                return answers


def exact_distances(metric: EmbeddingDistanceMetric, query: list[float], source: str) -> str:
    """A query for (distance, key) of a source of embeddings, nearest first; `with_distance` says the same.

    The subquery keeps a distance from being computed wherever it is named.
    """
    distance = "raw"
    if metric is COSINE:
        product = f"l2_normalize(vector) <#> {literal(unit(query))}"
        distance = f"case when raw in ('NaN', 0, 1, 2) then greatest(0, 1 + ({product})) else raw end"
    return (
        f"select {distance} as distance, inference_id from (select inference_id, vector, "  # noqa: S608
        f"vector {OPERATORS[metric]} {literal(query)} as raw from {source} offset 0) held order by 1, 2"
    )


def literal(vector: list[float]) -> str:
    """The vector as SQL."""
    return f"'{spelled(np.asarray(vector, np.float32))}'::vector"
