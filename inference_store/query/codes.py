"""Which of many embeddings may be near a query, told from one bit of each of their numbers.

Of two vectors at an angle, as large a share of their signs differs as the angle is of 180 degrees, more or
less: by how much more, was measured of the embeddings of each index.
"""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from inference_store import statements
from inference_store.models import VectorCodes, VectorIndex
from inference_store.query.column_cache import Array, have_room_for, kept

READ = f"select {{what}} from {VectorCodes._meta.db_table} where vector_index_id = %s order by part"  # noqa: S608 # nosec B608
WORD = 8
"""Bytes that are compared at once."""
MOST_SPREAD = 1 / 8
"""Of all bits: if codes are farther off than that, they tell too little to be worth it."""


def is_telling(spread: float | None, size: int) -> bool:
    """Whether codes of so many bits that are off by so many tell which embeddings are near."""
    return spread is not None and spread <= size * MOST_SPREAD


def have_codes(chain: Sequence[VectorIndex], size: int) -> bool:
    """Whether there are codes of all embeddings that these indexes are of, and room for them in memory."""
    held = sum(index.row_count for index in chain) * (8 + _width(size))
    return all(is_telling(index.spread, size) for index in chain) and have_room_for(held)


def differences(chain: Sequence[VectorIndex], keys: Array, query: Array) -> Array:
    """In how many signs each of these ascending keys up to the last watermark differs from the query.

    -1 where that isn't known.
    """
    found = np.full(len(keys), -1, np.int16)
    asked = _padded(np.packbits(query > 0)[None])[0]
    for index in chain:
        first, end = np.searchsorted(keys, [index.after, index.watermark], "right")
        known = kept((index.claim, "keys"), partial(_keys, index))
        if first == end or not len(known):
            continue
        codes = kept((index.claim, "codes"), partial(_codes, index, len(known)))
        within = keys[first:end]
        at = np.minimum(np.searchsorted(known, within), len(known) - 1)
        differing = np.bitwise_count(codes.take(at, axis=0) ^ asked).sum(axis=1, dtype=np.int16)
        found[first:end] = np.where(known[at] == within, differing, -1)
    return found


def expected(size: int, cosine_distance: float) -> float:
    """In how many of so many signs a vector differs at that distance."""
    return size * math.acos(max(-1.0, min(1.0, 1 - cosine_distance))) / math.pi


def _keys(index: VectorIndex) -> Array:
    parts = statements.rows(READ.format(what="keys"), [index.pk])
    return np.frombuffer(b"".join(part for (part,) in parts), ">i8").astype(np.int64)


def _codes(index: VectorIndex, count: int) -> Array:
    parts = statements.rows(READ.format(what="codes"), [index.pk])
    return _padded(np.frombuffer(b"".join(part for (part,) in parts), np.uint8).reshape(count, -1))


def _padded(codes: Array) -> Array:
    """One code a row, as words."""
    width = _width(8 * codes.shape[1])
    padded = np.zeros((len(codes), width), np.uint8)
    padded[:, : codes.shape[1]] = codes
    return padded.view(np.uint64)


def _width(size: int) -> int:
    """Bytes of a code of so many bits, in whole words."""
    return -(-size // (8 * WORD)) * WORD
