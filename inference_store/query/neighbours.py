"""The nearest embeddings, by vector indexes where there are some, with the distances of an exact search.

Each index gives its nearest so many; what lies beyond their farthest, it may have held back. So what is found
counts as far as the nearest of these horizons, whatever a filter leaves of it, and the rest is exact search.
"""

import base64
import binascii
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import local
from typing import Any

import numpy as np
from pgvector import Vector

from inference_store import statements
from inference_store.contract.enums import EmbeddingDistanceMetric
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import DEFAULT_LIMIT, EmbeddingFilter, NewGetInferencesRequest
from inference_store.models import Leftover, RegisteredModel, VectorIndex
from inference_store.models.vector_index import COSINE, indexable
from inference_store.query.code_search import Coded, with_codes
from inference_store.query.codes import angle_at
from inference_store.query.conditions import TABLE, Condition
from inference_store.query.distances import (
    HALVES_FIRST,
    asking,
    exact_distances,
    found_with_rows,
    near,
    scale,
)
from inference_store.query.embeddings import refuse_unfit
from inference_store.query.known_slots import SPELLED, KnownSlots, by_known_slots
from inference_store.query.matching import conditions_of, stated
from inference_store.query.numbers import Array
from inference_store.query.order import Order
from inference_store.query.recent import Recent
from inference_store.query.rows import Held, Wanted
from inference_store.query.uses import note_filters
from inference_store.statements import Keys

MOST_NEIGHBOURS = 1_000
"""Up to there, counted from the nearest, pages come from the indexes."""
DEPTHS = (64, 160, 400, 1_600, 6_400)
"""How many neighbours the indexes are asked for, and were measured at; deeper where a filter leaves few."""
MARGIN = 1.25
MARGIN_OF_FILTERS = 4
MARGIN_OF_HALVES = 2
"""So many times as many are put in order by halves as are wanted, where few are read one by one."""
FEW_PER_ROOT = {
    COSINE: 64,
    EmbeddingDistanceMetric.L2: 16,
    EmbeddingDistanceMetric.NEGATIVE_DOT_PRODUCT: 16,
}
"""Times the root of all rows: where a filter leaves so few, reading them all is quicker than an index."""
MORE_BY_CODES = 2
"""Times as many are few where codes tell which of them to read."""
CODED_FROM = 256
"""Of so many embeddings codes are compared."""
FEW_IN_LISTS = 8_000
"""So many embeddings are read from lists as quickly as codes of all are compared."""
READ_AT_ONCE = 10
"""Times as many as are wanted are computed exactly; of more, halves tell which."""
ENOUGH_TO_TELL = 32
"""So many that a filter leaves tell whether they lie among the others as if by chance."""
ROUNDING = {COSINE: 1e-4}
"""By how much an index of halves may be wrong about which of two is nearer."""
MOST_ROUNDING = 2**-9
"""By how much it ever is: of either of the two, halves of vectors of length 1 are off by 2**-10 at most."""

LEFTOVERS, INDEXES = Leftover._meta.db_table, VectorIndex._meta.db_table
BY_KEY = "inference_id = any(%s::bigint[])"
HAS_LEFTOVERS, HAS_MOVED = -1, -2
"""In the place of a part's number: what a search has to know besides."""
Found = list[tuple[float, int]]
"""(distance, key) each, nearest first."""
_here = local()
"""What this thread's request asked for: written down when it ends."""
_chains: Recent[tuple[int, str], list[VectorIndex]] = Recent()


@dataclass(frozen=True)
class Neighbours:
    """A page's part of what was found, and the cursor after it where there is more."""

    found: Found
    wanted: Wanted | Held
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
    if not chain:
        return None
    search = _Search(model, request, wanted, chain, limit if end == limit else 0)
    found = search.nearest(end + 1)
    if found is None:
        return None
    passed = set(given)
    new = [each for each in found if each[1] not in passed]
    cursor = None
    if len(new) > offset + limit:
        # What this page has missed, the next may find: it begins anew, without what was given.
        cursor = join_cursor(_beginning(order), given + [key for _, key in new[: offset + limit]])
    page = new[offset : offset + limit]
    return Neighbours(page, search.rows_of(page), cursor)


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
    key = (model.pk, metric.value)
    if metric is not COSINE:
        _here.wanted = {*getattr(_here, "wanted", ()), key}
    return _chains.get(key, lambda: VectorIndex.objects.chain(model, metric))


def look_up_again() -> None:
    """Forget which indexes there are."""
    _chains.forget_all()


def take_wanted() -> set[tuple[int, str]]:
    """Models and metrics that this thread asked for since the last call."""
    taken: set[tuple[int, str]] = getattr(_here, "wanted", set())
    _here.wanted = set()
    return taken


# --- Search -------------------------------------------------------------------------------------------------
class _Search:
    """One search by the indexes of `chain` and, beyond the last watermark, an exact one.

    The rows of the nearest `with_rows` are read with them: to ask again takes as long.
    """

    def __init__(
        self,
        model: RegisteredModel,
        request: NewGetInferencesRequest,
        wanted: EmbeddingFilter,
        chain: list[VectorIndex],
        with_rows: int = 0,
    ) -> None:
        self.model, self.filters, self.metric, self.chain = model, request.filters, wanted.metric, chain
        self.query = Vector(wanted.query_embedding)
        self.scale = scale(wanted.metric, wanted.query_embedding)
        self.rows = sum(index.row_count for index in chain)
        has_direction = self.metric is COSINE and bool(self.query.to_numpy().any())
        self.with_codes = with_codes(chain, model.embedding_size) if has_direction else []
        self.by_codes = len(self.with_codes) == len(chain)
        """Whether all that the indexes are of is searched by codes."""
        self.has_leftovers = False
        self.of_model = f"registered_model_id = {model.pk}"
        self.newer = f"{self.of_model} and inference_id > {chain[-1].watermark}"
        self.with_rows, self.with_vectors = with_rows, request.embeddings != "none"
        self.held: dict[int, tuple[Any, ...]] = {}

    @cached_property
    def coded(self) -> Coded:
        return Coded(self.with_codes, self.query.to_numpy())

    def rows_of(self, page: Found) -> Wanted | Held:
        """The rows of these, as they were read or to be read."""
        rows = [self.held[key] for _, key in page if key in self.held]
        # Without their vector, distances that float32 did not hold could not be computed.
        is_all = self.with_vectors or all(math.isfinite(distance) for distance, _ in page)
        return Held(rows) if len(rows) == len(page) and is_all else Wanted.by_key([key for _, key in page])

    def nearest(self, count: int) -> Found | None:
        """So many of the matching, fewer only where there are fewer; None where it takes an exact search."""
        keys = by_known_slots(self.model, self.filters, self._keys_of_few)
        if keys is not None:
            note_filters(self.model, (self.filters and self.filters.metadata_filter) or [])
            return self._among(keys, count)
        conditions = conditions_of(self.model, self.filters).all
        if conditions:
            self.with_rows = 0  # it is not the nearest that pass
        needed = count * MARGIN * (MARGIN_OF_FILTERS if conditions else 1)
        while depth := _depth_for(needed):
            found, horizon = self._by_codes(depth) or self._by_index(depth)
            spread = True
            # What a large deletion left behind is still in the indexes, and matches nothing.
            if conditions or self.has_leftovers:
                passing = self._passing([key for _, key in found], conditions)
                spread = self.by_codes or _lie_as_if_by_chance(
                    [rank for rank, (_, key) in enumerate(found) if key in passing], count
                )
                found = [each for each in found if each[1] in passing]
            certain = self._certain(found, horizon)
            if horizon == math.inf or (len(certain) >= count and spread):
                return certain[:count]
            # Deeper by as much as is missing.
            needed = max(depth + 1, MARGIN * depth * count / max(len(found), 1))
        return None

    def _certain(self, found: Found, horizon: float) -> Found:
        """What is nearer than anything that was held back."""
        return [each for each in found if each[0] + ROUNDING.get(self.metric, 0) < horizon]

    def _passing(self, keys: list[int], conditions: list[Condition]) -> set[int]:
        condition, values = stated(self.model, [Condition("r.id = any(%s::bigint[])", keys), *conditions])
        statement = f"select r.id from {TABLE} r where {condition}"  # noqa: S608 # nosec B608
        return {key for (key,) in statements.rows(statement, values, anew=True)}

    def _keys_of_few(self, slots: KnownSlots) -> Array | None:
        """Ascending, what the filter leaves, where that is few; None if it is more, or there is no filter."""
        conditions = conditions_of(self.model, self.filters, slots.by_key).all
        if not conditions:
            return None
        few = int(
            FEW_PER_ROOT[self.metric] * math.sqrt(self.rows) * (MORE_BY_CODES if self.with_codes else 1)
        )
        condition, values = stated(self.model, conditions)
        keys = f"select r.id from {TABLE} r where {condition} limit {few + 1}"  # noqa: S608 # nosec B608
        statement = f"select string_agg(int8send(id), ''), {SPELLED} from ({keys}) held"  # noqa: S608 # nosec B608
        sent, told = statements.rows(statement, [self.model.pk, *values], anew=True)[0]
        slots.check(told)
        found = np.sort(np.frombuffer(sent or b"", ">i8").astype(np.int64))
        return found if len(found) <= few else None

    def _among(self, keys: Array, count: int) -> Found:
        """The nearest of these."""
        older, newer = np.split(keys, [np.searchsorted(keys, self.chain[-1].watermark, "right")])
        if self.with_codes and len(older) >= CODED_FROM and (near := self.coded.among(older, count)):
            widest = near.widest(count)
            # A second time, if the last of them is farther away than was said: then others may be nearer.
            for _ in range(2):
                within, horizon = near.within(widest)
                found = self._nearest_of(within, newer, count)
                if horizon == math.inf or len(self._certain(found, horizon)) >= count:
                    return found
                if len(found) < count:
                    break
                widest = float(angle_at(found[-1][0] + 2 * ROUNDING[COSINE])) + near.spread
        return self._nearest_of(older, newer, count)

    def _nearest_of(self, older: Array, newer: Array, count: int) -> Found:
        """Of the embeddings of these keys, some beyond the last watermark.

        Of cosines only so many are computed as must be: those that halves put first, and more where halves
        can't tell.
        """
        if self.metric is COSINE and len(older) > READ_AT_ONCE * count:
            depth = MARGIN_OF_HALVES * count
            found = self._distances(HALVES_FIRST.format(depth=depth), [Keys(older), Keys(newer)])
            units = [distance for distance, key in found if key <= self.chain[-1].watermark]
            if len(units) < depth:
                return found[:count]
            certain = self._certain(found, max(units) - MOST_ROUNDING)
            if len(certain) >= count:
                return certain[:count]
        return self._distances("%s", [Keys(np.concatenate([older, newer]))], f"limit {count}")

    def _distances(self, keys: str, values: list[Keys], limit: str = "") -> Found:
        # As one array: the index then goes from key to key.
        among = exact_distances(self.metric, f"inference_id = any({keys}::bigint[])")
        statement = f"select 0, distance, inference_id from ({among} {limit}) found"  # noqa: S608 # nosec B608
        return [(distance, key) for _, distance, key in self._read(statement, values)]

    def _read(self, found: str, values: Sequence[Any]) -> list[tuple[int, float, int]]:
        """(part, distance, key) of a query for these, nearest first."""
        rest = found_with_rows(found, self.with_rows, with_vectors=self.with_vectors)
        rows = statements.rows(asking(self.metric) + rest, [self.query, *values])
        self.held |= {key: row for _, _, key, *row in rows if row[0] is not None}
        return [(part, distance, key) for part, distance, key, *_ in rows]

    def _by_codes(self, depth: int) -> tuple[Found, float] | None:
        """The nearest by the codes of all indexes, and of the rest; and what nothing else is nearer than."""
        listed = sum(each.row_count * each.probes_for(depth) / max(1, each.lists) for each in self.chain)
        few = listed <= FEW_IN_LISTS
        near = None if few or not (self.by_codes and self.coded.is_whole) else self.coded.nearest(depth)
        if near is None:
            self.by_codes = False
            return None
        keys, horizon = near.within(near.widest(depth))
        [answer, rest] = self._search([BY_KEY, self.newer], [Keys(keys)], depth)
        horizon = min([horizon, *(rows[-1][0] for rows in (answer, rest) if len(rows) == depth)])
        return (sorted(answer + rest), horizon) if self.by_codes else None

    def _by_index(self, depth: int) -> tuple[Found, float]:
        """The nearest of each index and of the rest, and how far nothing that was held back can be."""
        read = [each.probes_for(depth) for each in self.chain]
        *answers, rest = self._by_lists(list(zip(self.chain, read, strict=True)), depth, self.newer)
        more = self._more_lists(answers, rest, depth)
        if more:
            again = self._by_lists([(self.chain[number], lists) for number, lists in more.items()], depth)
            for number, rows in zip(more, again, strict=True):
                answers[number], read[number] = rows, more[number]
        horizon, found = math.inf, []
        for number, rows in enumerate([*answers, rest]):
            if any(math.isnan(distance) for distance, _ in rows):  # infinities of either sign were added
                horizon = -math.inf
            found += rows
            if len(rows) == depth:
                horizon = min(horizon, max(distance for distance, _ in rows))
            elif number < len(self.chain) and read[number] < self.chain[number].lists:
                horizon = -math.inf  # the lists that were read hold less than was asked for
        return sorted(found), horizon

    def _by_lists(self, lists: list[tuple[VectorIndex, int]], depth: int, *others: str) -> list[Found]:
        """The nearest of each index by so many of its lists, and of those for which other conditions hold."""
        probes = [str(max(1, probes)) for _, probes in lists]
        return self._search([*(near(index, self.model, depth) for index, _ in lists), *others], probes, depth)

    def _search(self, among: list[str], values: Sequence[Any], depth: int) -> list[Found]:
        """The nearest of the embeddings for which each of these conditions holds."""
        parts = [
            f"(select {number}, distance, inference_id from "  # noqa: S608
            f"({exact_distances(self.metric, each)} limit {depth}) found)"  # nosec B608
            for number, each in enumerate(among)
        ]
        found: list[Found] = [[] for _ in parts]
        left = f"exists (select from {LEFTOVERS} where {self.of_model})"  # nosec B608
        parts.append(f"select {HAS_LEFTOVERS}, null, null where {left}")
        if self.by_codes:
            # Who stores an old id again, which has no code, gives its index another claim.
            held = f"select count(*) from {INDEXES} where claim = any(%s::uuid[])"  # noqa: S608 # nosec B608
            parts.append(f"select {HAS_MOVED}, null, null where ({held}) < {len(self.chain)}")
            values = [*values, [index.claim for index in self.chain]]
        for number, distance, key in self._read(" union all ".join(parts), values):
            if number == HAS_LEFTOVERS:
                self.has_leftovers = True
            elif number == HAS_MOVED:
                self.by_codes = False
                look_up_again()
            else:
                found[number].append((distance, key))
        return found

    def _more_lists(self, answers: list[Found], rest: Found, depth: int) -> dict[int, int]:
        """The indexes of which more lists have to be read, as this query is unlike those that were measured.

        What is near such a query is scattered over lists that are all far from it. An index whose nearest
        would be among the last of what was found does not matter.
        """
        last = int(depth / MARGIN) - 1
        found = sorted(row for rows in [*answers, rest] for row in rows)
        lists = {
            number: index.lists_for(depth, rows[last][0] / self.scale)
            for number, (index, rows) in enumerate(zip(self.chain, answers, strict=True))
            if len(rows) == depth and rows[0] <= found[last]
        }
        return {number: more for number, more in lists.items() if more > self.chain[number].probes_for(depth)}


def _lie_as_if_by_chance(ranks: list[int], count: int) -> bool:
    """Whether those that a filter leaves lie among the others as if by chance, or nearer.

    Indexes were measured over all that is near. A filter that leaves only what is far away may leave just
    those lists that were not read.
    """
    first = ranks[: max(count, ENOUGH_TO_TELL)]
    return not first or sum(2 * rank < first[-1] for rank in first) >= len(first) // 4


def _depth_for(needed: float) -> int | None:
    return next((depth for depth in DEPTHS if depth >= needed), None)
