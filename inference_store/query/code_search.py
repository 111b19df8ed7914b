"""Which embeddings may be among the nearest, told by the codes that this process keeps of them."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from inference_store import statements
from inference_store.models import VectorCodes, VectorIndex
from inference_store.query.codes import EARLY, WORD, Asked, Codes, code_bytes, distance_at
from inference_store.query.column_cache import have_room_for, kept, kept_or_coming
from inference_store.query.numbers import Array

OF_INDEX = f"""
    from {VectorCodes._meta.db_table} codes
    join {VectorIndex._meta.db_table} held on held.id = codes.vector_index_id
   where held.id = %s and held.claim = %s and held.spreads is not null"""
MOST_SPREAD = 1 / 8
"""Of all signs: if they are farther off than that, they tell too little to be worth it."""
SPARE_OF_SPREAD = 1.5
"""How much more than estimated angles may be off is read, so that what is read is certain."""
TRIED = 256
TRIED_PER_WANTED = 4
"""Of so many that seem nearest by their signs, angles are estimated first: they bound all others."""
SAMPLED = 2**13
"""Of so many is counted how many signs differ, to choose those to try."""
OF_ZERO_VECTORS = math.pi / 2
"""The angle whose distance is that of what has no direction: such embeddings have no code."""
MOST_AWAITED = 50_000
"""Codes that a search waits for where its process has not read them; of a million that takes a second."""
MOST_LEFT = 1 / 8
MOST_ESTIMATED = 20_000
"""If the first signs leave more than that share of all, or all signs so many, codes tell too little of where
the query is."""


@dataclass(frozen=True)
class Candidates:
    """Those that may be near: `keys` with a code and about at which angle these are, but for so much
    (`spread`), and `others`; nothing else is at a smaller angle than `beyond`."""

    keys: Array
    angles: Array
    spread: float
    others: Array
    beyond: float

    def widest(self, count: int) -> float:
        """Up to which angle to look for the nearest so many."""
        if len(self.keys) <= count:
            return math.inf
        return _smallest(self.angles, count) + SPARE_OF_SPREAD * self.spread

    def within(self, widest: float) -> tuple[Array, float]:
        """Ascending keys of those that may be within that angle; and the distance of all others at least."""
        keys = np.sort(np.concatenate([self.keys[self.angles <= widest], self.others]))
        return keys, distance_at(min(self.beyond, widest - self.spread))


def is_telling(spreads: Sequence[float] | None, size: int) -> bool:
    """Whether codes of so many numbers that are off by so much tell which embeddings are near."""
    return spreads is not None and spreads[1] <= size * MOST_SPREAD


def with_codes(chain: Sequence[VectorIndex], size: int) -> list[VectorIndex]:
    """Those of these indexes whose codes tell; none where memory has no room for them."""
    telling = [index for index in chain if is_telling(index.spreads, size)]
    return telling if have_room_for(sum(index.row_count for index in telling) * code_bytes(size)) else []


class Coded:
    """The codes of some indexes, in order of their ids; a place is a number counted through all of them."""

    def __init__(self, indexes: Sequence[VectorIndex], query: Array) -> None:
        self.asked = Asked(query)
        held = [_codes(index, len(query)) for index in indexes]
        self.parts = [codes for codes in held if codes and len(codes.keys)]
        self.is_whole = len(self.parts) == len(indexes)
        """Not where this process has yet to read some, an index has just gone away, or this is a replica that
        has not heard of its codes."""
        self.first = np.cumsum([0, *(len(codes.keys) for codes in self.parts)])
        spreads = zip(*(index.spreads or [] for index in indexes), strict=True)
        self.early, self.signs, self.angle = (float(max(each)) for each in spreads)
        """By how much at most they are off."""

    def nearest(self, count: int) -> Candidates | None:
        """Of all with a code those that may be among the nearest so many; None where codes can't tell."""
        if count >= self.first[-1]:
            return None
        differing = _joined([codes.differing_early(self.asked) for codes in self.parts])
        size = min(self.asked.size, EARLY * WORD)
        widest = self._widest(_seeming_nearest(differing, self._tried(count)), count)
        at = np.flatnonzero(differing <= int(size * widest / math.pi + self.early))
        if len(at) > max(MOST_ESTIMATED, self.first[-1] * MOST_LEFT):
            return None
        near = self._of(at, count, widest)
        return near if near and near.widest(count) < OF_ZERO_VECTORS else None

    def among(self, keys: Array, count: int) -> Candidates | None:
        """Of these ascending keys; those that have no code may be near."""
        if not self.parts:
            return None
        at = np.full(len(keys), -1)
        for first, codes in zip(self.first, self.parts, strict=False):
            known = codes.keys
            begin, end = np.searchsorted(keys, [known[0], known[-1] + 1])
            within = keys[begin:end]
            found = np.searchsorted(known, within)
            at[begin:end] = np.where(known[found] == within, first + found, -1)
        has_one = at >= 0
        near = self._of(at[has_one], count, math.inf)
        return near and replace(near, others=keys[~has_one])

    def _of(self, at: Array, count: int, beyond: float) -> Candidates | None:
        """Of those at these places, where all others are at wider angles than that."""
        tried = self._tried(count)
        if len(at) > tried:
            differing = self._differing(at)
            seeming = at[np.sort(np.argpartition(differing, tried)[:tried])]
            beyond = min(beyond, self._widest(seeming, count))
            at = at[differing <= int(self.asked.size * min(beyond, math.pi) / math.pi + self.signs)]
        if len(at) > max(MOST_ESTIMATED, tried):
            return None
        return Candidates(self._keys(at), self._angles(at), self.angle, at[:0], beyond)

    def _widest(self, at: Array, count: int) -> float:
        """Up to which angle so many are, as far as those at these places tell."""
        return min(math.pi, _smallest(self._angles(at), count) + self.angle) if len(at) >= count else math.pi

    @staticmethod
    def _tried(count: int) -> int:
        return max(TRIED, TRIED_PER_WANTED * count)

    def _each(self, at: Array, of: Callable[[Codes, Array], Array]) -> Array:
        """What codes at these ascending places tell."""
        begin = np.searchsorted(at, self.first)
        return _joined(
            [
                of(codes, at[begin[number] : begin[number + 1]] - self.first[number])
                for number, codes in enumerate(self.parts)
            ]
        )

    def _differing(self, at: Array) -> Array:
        return self._each(at, lambda codes, own: codes.differing(self.asked, own))

    def _angles(self, at: Array) -> Array:
        return self._each(at, lambda codes, own: codes.angles(self.asked, own))

    def _keys(self, at: Array) -> Array:
        return self._each(at, lambda codes, own: codes.keys[own])


def _joined(parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _smallest(numbers: Array, count: int) -> float:
    """The last of so many smallest ones."""
    return float(np.partition(numbers, count - 1)[count - 1])


def _seeming_nearest(differing: Array, count: int) -> Array:
    """Places of about so many that differ in the fewest signs, ascending."""
    sampled = differing[:: max(1, len(differing) // SAMPLED)]
    most = np.searchsorted(np.cumsum(np.bincount(sampled)), count * len(sampled) / len(differing))
    at = np.flatnonzero(differing <= most)
    if len(at) > count:
        at = np.sort(at[np.argpartition(differing[at], count)[:count]])
    return at


# --- As they are stored -------------------------------------------------------------------------------------
def _codes(index: VectorIndex, size: int) -> Codes | None:
    get = kept if index.row_count <= MOST_AWAITED else kept_or_coming
    return get((index.claim, "codes"), partial(_read, index, size))


def _read(index: VectorIndex, size: int) -> Codes:
    """A part at a time, so that nobody holds all of them twice; none where the index has another claim by
    now, or has none yet, as on a replica."""
    values = [index.pk, index.claim]
    known = statements.rows(f"select part, length(keys) / 8 {OF_INDEX} order by part", values)  # nosec B608

    def parts() -> Iterator[tuple[Array, Array]]:
        for part, count in known:
            rows = statements.rows(f"select keys, codes {OF_INDEX} and part = %s", [*values, part])  # nosec B608
            keys = np.frombuffer(rows[0][0] if rows else b"", ">i8")
            if len(keys) != count:
                return
            yield keys, np.frombuffer(rows[0][1], np.uint8).reshape(count, -1)

    total = sum(count for _, count in known)
    codes = Codes.of(size, total, parts())
    return codes if len(codes.keys) == total else Codes.of(size, 0, [])
