"""Codes of embeddings: few bits a number, by which it is told which of many may be near a query.

An embedding is turned, so that its numbers are as if drawn at random whatever matters in it, and each is
rounded to one of eight steps. The first bits of all numbers, their signs, say on which side of as many planes
it lies: of two vectors at an angle, as large a share of these differs as the angle is of 180 degrees, more or
less. All bits estimate the angle itself. How far off either is, was measured of each index.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Self

import numpy as np

from inference_store.query.numbers import Array

PLANES = 3
"""Bits a number; each plane is one bit of all numbers."""
STEP, LOST = 0.586, 0.0374
"""How far steps are apart, in deviations of normally distributed numbers, and which share of these numbers'
squares rounding to the nearest of eight loses: the least there is (Max, Quantizing for minimum distortion,
1960)."""
WORD = 64
"""Bits that are compared at once."""
EARLY = 2
"""Words of signs that are compared first."""
ASKED_PLANES = 5
"""Bits a number of a query."""
BITS = np.arange(ASKED_PLANES, dtype=np.uint8)
STEPS_OF_PLANE = 2.0 ** np.arange(PLANES)[::-1]
MIDDLE = (2**PLANES - 1) / 2
ROWS_AT_ONCE = 128
"""So many embeddings' bits, beside each bit of the query, stay in the processor's cache."""
WORDS_AT_ONCE = 32_768
SIGNS = b"inference-store codes"


def turned(vectors: Array) -> Array:
    """Each row with its length and the angles between rows as they are.

    Signs are flipped as if by chance, and waves taken of them: so each number depends on all, however few of
    a vector matter. Any other way gives other codes: who changes this makes all of them anew.
    """
    size = vectors.shape[1]
    waves = np.fft.rfft(vectors * _flips(size), axis=1, norm="ortho")
    waves[:, 1 : (size + 1) // 2] *= math.sqrt(2)
    numbers: Array = np.concatenate([waves.real, waves.imag[:, 1 : (size + 1) // 2]], axis=1)
    return numbers.astype(np.float32, copy=False)


@cache
def _flips(size: int) -> Array:
    bits = np.unpackbits(np.frombuffer(hashlib.shake_256(SIGNS).digest(-(-size // 8)), np.uint8))[:size]
    return np.where(bits, np.float32(1), np.float32(-1))


def codes_of(units: Array) -> Array:
    """The code of each row, which has length 1: plane by plane, the signs first, each in whole bytes."""
    numbers = turned(units)
    steps = np.floor(numbers * np.float32(math.sqrt(units.shape[1]) / STEP)) + 2 ** (PLANES - 1)
    numbered = np.clip(steps, 0, 2**PLANES - 1).astype(np.uint8)
    return np.concatenate(
        [np.packbits(numbered >> bit & 1, axis=1) for bit in reversed(range(PLANES))], axis=1
    )


def code_bytes(size: int) -> int:
    """What a process keeps of an embedding: its key, its code and the length of that, and the first signs
    again."""
    words = _words_of(size)
    return 8 * (1 + PLANES * words + min(EARLY, words)) + 4


def angle_at(cosine_distance: Array | float) -> Array:
    """Between vectors at that distance, in radians."""
    angles: Array = np.arccos(np.clip(1 - np.asarray(cosine_distance), -1, 1))
    return angles


def distance_at(angle: float) -> float:
    """In cosines, of vectors at that angle; -inf and inf beyond what there is."""
    return 1 - math.cos(angle) if 0 <= angle <= math.pi else math.copysign(math.inf, angle)


class Asked:
    """What codes are compared with: a query embedding, which has a direction."""

    def __init__(self, query: Array) -> None:
        self.size = len(query)
        unit = query.astype(np.float64) / np.linalg.norm(query.astype(np.float64))
        numbers = turned(unit[None])[0]
        words = _words_of(self.size)
        signs = np.zeros(8 * words, np.uint8)
        signs[: -(-self.size // 8)] = np.packbits(numbers > 0)
        self.signs = signs.view(np.uint64)
        # Rounded to signed integers, whose planes are counted against those of codes.
        largest = 2 ** (ASKED_PLANES - 1) - 1
        step = float(np.abs(numbers).max()) / largest
        rounded = np.rint(numbers / step).astype(np.int8)
        planes = np.zeros((ASKED_PLANES, 8 * words), np.uint8)
        planes[:, : -(-self.size // 8)] = np.packbits(rounded.view(np.uint8) >> BITS[:, None] & 1, axis=1)
        self.planes = planes.view(np.uint64)
        # Scaled so that what is most like the query is not off by what rounding has made of its length.
        of_asked = 2.0**BITS / float(rounded @ numbers)
        of_asked[-1] *= -1
        weights = np.multiply.outer(STEPS_OF_PLANE, of_asked).reshape(-1)
        self.weights = np.repeat(weights, words).astype(np.float32)
        self.middle = float(rounded.sum() / (rounded @ numbers)) * MIDDLE


@dataclass(frozen=True)
class Codes:
    """Of n embeddings: ascending `keys`; `signs`, (n, words); the `other` planes, (n, planes - 1, words);
    `lengths` of codes, in steps; `early`, the first words of their signs, word by word, (words, n)."""

    keys: Array
    signs: Array
    other: Array
    lengths: Array
    early: Array

    @classmethod
    def of(cls, size: int, count: int, parts: Iterable[tuple[Array, Array]]) -> Self:
        """Of so many keys and codes, as `codes_of` gives them, a part at a time."""
        keys, signs, other = np.zeros(0, np.int64), np.zeros((0, 0)), np.zeros((0, 0))
        lengths = np.empty(count, np.float32)
        first = 0
        for some, codes in parts:
            words = _in_words(codes)
            if not first:
                keys, signs = np.empty(count, np.int64), np.empty((count, words.shape[2]), np.uint64)
                other = np.empty((count, PLANES - 1, words.shape[2]), np.uint64)
            after = first + len(some)
            keys[first:after], signs[first:after], other[first:after] = some, words[:, 0], words[:, 1:]
            lengths[first:after] = _lengths(words, size)
            first = after
        early = np.ascontiguousarray(signs[:first, :EARLY].T)
        return cls(keys[:first], signs[:first], other[:first], lengths[:first], early)

    @property
    def nbytes(self) -> int:
        return sum(each.nbytes for each in (self.keys, self.signs, self.other, self.lengths, self.early))

    def differing_early(self, asked: Asked) -> Array:
        """In how many of the first signs each differs."""
        words, count = self.early.shape
        differing = np.empty(count, np.uint8)
        held, bits = np.empty(WORDS_AT_ONCE, np.uint64), np.empty(WORDS_AT_ONCE, np.uint8)
        for first in range(0, count, WORDS_AT_ONCE):
            part = differing[first : first + WORDS_AT_ONCE]
            size = len(part)
            for number in range(words):
                some = self.early[number, first : first + size]
                np.bitwise_xor(some, asked.signs[number], out=held[:size])
                if number:
                    part += np.bitwise_count(held[:size], out=bits[:size])
                else:
                    np.bitwise_count(held[:size], out=part)
        return differing

    def differing(self, asked: Asked, at: Array) -> Array:
        """In how many signs those at these places differ."""
        differing = self.signs.take(at, axis=0)
        differing ^= asked.signs
        counted: Array = np.bitwise_count(differing).sum(axis=1, dtype=np.int16)
        return counted

    def angles(self, asked: Asked, at: Array) -> Array:
        """About at which angle to the query those at these places are, in radians."""
        near = np.empty(len(at), np.float32)
        for first in range(0, len(at), ROWS_AT_ONCE):
            some = at[first : first + ROWS_AT_ONCE]
            each = np.empty((len(some), PLANES, *asked.planes.shape), np.uint64)
            each[:, 0] = self.signs.take(some, axis=0)[:, None]
            each[:, 1:] = self.other.take(some, axis=0)[:, :, None]
            both = each.reshape(len(some), PLANES, -1)
            both &= asked.planes.reshape(-1)
            counted = np.bitwise_count(each).reshape(len(some), -1).astype(np.float32)
            np.matmul(counted, asked.weights, out=near[first : first + ROWS_AT_ONCE])
        near -= np.float32(asked.middle)
        near /= self.lengths.take(at) * np.float32(math.sqrt(1 - LOST))
        angles: Array = np.arccos(np.clip(near, -1, 1, out=near))
        return angles


def _in_words(codes: Array) -> Array:
    """(n, planes, words): each plane is filled up to whole words."""
    bytes_of_plane = codes.shape[1] // PLANES
    words = np.zeros((len(codes), PLANES, 8 * _words_of(8 * bytes_of_plane)), np.uint8)
    words[:, :, :bytes_of_plane] = codes.reshape(len(codes), PLANES, bytes_of_plane)
    return words.view(np.uint64)


def _lengths(words: Array, size: int) -> Array:
    """Of the steps from the middle that codes are, by counting the bits that two planes share."""
    squares = np.full(len(words), size * MIDDLE**2)
    for plane, of_plane in enumerate(STEPS_OF_PLANE):
        for other, of_other in enumerate(STEPS_OF_PLANE):
            shared = np.bitwise_count(words[:, plane] & words[:, other]).sum(axis=1, dtype=np.int32)
            squares += of_plane * of_other * shared
            if plane == other:
                squares -= 2 * MIDDLE * of_plane * shared
    lengths: Array = np.sqrt(squares)
    return lengths


def _words_of(size: int) -> int:
    return -(-size // WORD)
