"""Which of many embeddings may be near a query, told from as many bits as they have numbers.

An embedding's code is on which side of as many planes it lies. Of two vectors at an angle, as large a share
of their codes differs as the angle is of 180 degrees, more or less: by how much more, was measured of each
index.
"""

import hashlib
import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from inference_store import statements
from inference_store.models import VectorCodes, VectorIndex
from inference_store.query.column_cache import have_room_for, kept
from inference_store.query.numbers import Array

READ = f"select {{what}} from {VectorCodes._meta.db_table} where vector_index_id = %s order by part"  # noqa: S608 # nosec B608
WORD = 8
"""Bytes that are compared at once."""
MOST_SPREAD = 1 / 8
"""Of all bits: if codes are farther off than that, they tell too little to be worth it."""
SIGNS = b"inference-store codes"


def codes_of(vectors: Array) -> Array:
    """The code of each row, filled up to whole bytes.

    Signs are flipped as if by chance, and waves taken of them: so each bit depends on all numbers, however
    few of a vector matter. Any other way gives other codes: who changes this makes all of them anew.
    """
    size = vectors.shape[1]
    bits = np.unpackbits(np.frombuffer(hashlib.shake_256(SIGNS).digest(-(-size // 8)), np.uint8))[:size]
    waves = np.fft.rfft(vectors * np.where(bits, np.float32(1), np.float32(-1)), axis=1)
    of_all = np.concatenate([waves.real, waves.imag[:, 1 : (size + 1) // 2]], axis=1)
    return np.packbits(of_all > 0, axis=1)


def is_telling(spread: float | None, size: int) -> bool:
    """Whether codes of so many bits that are off by so many tell which embeddings are near."""
    return spread is not None and spread <= size * MOST_SPREAD


def with_codes(chain: Sequence[VectorIndex], size: int) -> list[VectorIndex]:
    """Those of these indexes whose codes tell; none where memory has no room for them."""
    telling = [index for index in chain if is_telling(index.spread, size)]
    held = sum(index.row_count for index in telling) * (8 + _width(size))
    return telling if have_room_for(held) else []


def differences(indexes: Sequence[VectorIndex], keys: Array, query: Array) -> Array:
    """In how many bits the codes of these ascending keys differ from the query's; -1 of those without one."""
    found = np.full(len(keys), -1, np.int16)
    asked = _words([codes_of(query[None])])[0]
    for index in indexes:
        first, end = np.searchsorted(keys, [index.after, index.watermark], "right")
        within = keys[first:end]
        if not len(within):
            continue
        known = kept((index.claim, "keys"), partial(_keys, index))
        codes = kept((index.claim, "codes"), partial(_codes, index, len(query)))
        if not len(known) or len(known) != len(codes):
            continue  # its index has just gone away, or this is a replica that has not heard of it
        at = np.minimum(np.searchsorted(known, within), len(known) - 1)
        differing = np.bitwise_count(codes.take(at, axis=0) ^ asked).sum(axis=1, dtype=np.int16)
        found[first:end] = np.where(known[at] == within, differing, -1)
    return found


def expected(size: int, cosine_distance: Array | float) -> Array:
    """In how many of so many bits a vector differs at that distance."""
    angles: Array = np.arccos(np.clip(1 - np.asarray(cosine_distance), -1, 1))
    return size * angles / math.pi


def _keys(index: VectorIndex) -> Array:
    parts = statements.rows(READ.format(what="keys"), [index.pk])
    return np.frombuffer(b"".join(part for (part,) in parts), ">i8").astype(np.int64)


def _codes(index: VectorIndex, size: int) -> Array:
    parts = statements.rows(READ.format(what="codes"), [index.pk])
    width = -(-size // 8)
    return _words([np.frombuffer(part, np.uint8).reshape(-1, width) for (part,) in parts])


def _words(parts: Sequence[Array]) -> Array:
    """One code a row, as words."""
    width = parts[0].shape[1] if parts else WORD
    words = np.zeros((sum(map(len, parts)), _width(8 * width)), np.uint8)
    first = 0
    for part in parts:
        words[first : first + len(part), :width] = part
        first += len(part)
    return words.view(np.uint64)


def _width(size: int) -> int:
    """Bytes of a code of so many bits, in whole words."""
    return -(-size // (8 * WORD)) * WORD
