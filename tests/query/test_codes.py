"""A code has a few bits of each number of an embedding, and tells about how far that is."""

from hashlib import shake_256

import numpy as np
import pytest

from inference_store.query import codes


def sides_of(vectors):
    """On which side of each plane they lie: by products with what is at right angles to it, in no haste."""
    size = vectors.shape[1]
    flips = np.where(
        np.unpackbits(np.frombuffer(shake_256(codes.SIGNS).digest(-(-size // 8)), np.uint8)), 1, -1
    )
    along = 2 * np.pi * np.outer(np.arange(size // 2 + 1), np.arange(size)) / size
    planes = np.concatenate([np.cos(along), -np.sin(along)[1 : (size + 1) // 2]])
    return (vectors * flips[:size]).astype(np.float64) @ planes.T > 0


def units(count, size, seed=1):
    vectors = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("size", [1, 2, 5, 64, 129])
def test_turning_changes_no_length_and_no_angle(size):
    vectors = units(20, size)
    found = codes.turned(vectors)
    assert found.shape == (20, size)
    assert np.abs(found @ found.T - vectors @ vectors.T).max() < 1e-5


@pytest.mark.parametrize("size", [1, 2, 5, 64, 129])
def test_a_code_has_bits_of_each_number(size):
    vectors = units(20, size)
    found = np.unpackbits(codes.codes_of(vectors).reshape(20, codes.PLANES, -1), axis=2)
    assert found.shape == (20, codes.PLANES, -(-size // 8) * 8)
    assert not found[:, :, size:].any()
    assert np.array_equal(found[:, 0, :size], sides_of(vectors))
    steps = found[:, :, :size].transpose(0, 2, 1) @ [4, 2, 1]
    rounded = (steps - 3.5) * codes.STEP / size**0.5
    numbers = codes.turned(vectors)
    inner = (steps > 0) & (steps < 7)
    assert np.abs(numbers - rounded)[inner].max() <= codes.STEP / size**0.5 / 2 + 1e-6
    assert (numbers[steps == 0] <= -3 * codes.STEP / size**0.5 + 1e-6).all()
    assert (numbers[steps == 7] >= 3 * codes.STEP / size**0.5 - 1e-6).all()


@pytest.mark.parametrize("size", [70, 130, 200, 512])
def test_what_codes_tell(size):
    count = 3 * codes.ROWS_AT_ONCE + 5
    vectors, query = units(count, size), units(1, size, 2)[0]
    vectors[:50] += query
    vectors[:50] /= np.linalg.norm(vectors[:50], axis=1, keepdims=True)
    of_all = codes.codes_of(vectors)
    split = count // 3
    parts = [(np.arange(split), of_all[:split]), (np.arange(split, count), of_all[split:])]
    held, asked = codes.Codes.of(size, count, parts), codes.Asked(query * 5)
    assert held.keys.tolist() == list(range(count))
    differ = sides_of(vectors) != sides_of(query[None])
    some = np.arange(0, count, 2)
    assert held.differing(asked, some).tolist() == differ[some].sum(axis=1).tolist()
    early = codes.EARLY * codes.WORD
    assert held.differing_early(asked).tolist() == differ[:, :early].sum(axis=1).tolist()
    found, expected = held.angles(asked, some), codes.angle_at(1 - vectors[some] @ query)
    # Rounding to eight steps loses so much of the numbers' squares.
    deviation = (codes.LOST / size) ** 0.5
    assert np.abs(found - expected).max() < 6 * deviation
    assert np.std(found - expected) < 1.2 * deviation
    assert np.std((found - expected)[:25]) < 1.5 * deviation
    assert abs(np.mean((found - expected)[:25])) < deviation / 2
    spelt = np.unpackbits(of_all.reshape(count, codes.PLANES, -1), axis=2)[:, :, :size]
    steps = spelt.transpose(0, 2, 1) @ [4, 2, 1] - 3.5
    assert np.allclose(held.lengths, np.linalg.norm(steps, axis=1))
    assert held.nbytes == count * codes.code_bytes(size)


def test_differing_is_compared_in_parts(monkeypatch):
    vectors, asked = units(1_000, 150), codes.Asked(units(1, 150, 2)[0])
    held = codes.Codes.of(150, 1_000, [(np.arange(1_000), codes.codes_of(vectors))])
    at_once = held.differing_early(asked)
    monkeypatch.setattr(codes, "WORDS_AT_ONCE", 300)
    assert np.array_equal(held.differing_early(asked), at_once)


@pytest.mark.parametrize("angle", [0, 0.5, np.pi / 2, 3, np.pi])
def test_angles_and_distances(angle):
    assert codes.angle_at(codes.distance_at(angle)) == pytest.approx(angle, abs=1e-7)
    assert codes.distance_at(np.pi + 0.1) == np.inf
    assert codes.distance_at(-0.1) == -np.inf
