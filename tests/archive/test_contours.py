"""Rings of a mask, against the mask itself."""

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from inference_store.archive.contours import MOST_TRACED_RUNS, contours_of, spans_of
from inference_store.contract.geometry import run_lengths, run_string

sides = st.integers(1, 9)


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    rows, columns = draw(sides), draw(sides)
    bits = draw(st.lists(st.booleans(), min_size=rows * columns, max_size=rows * columns))
    return np.array(bits, dtype=np.uint8).reshape(rows, columns)


def runs_of(mask: np.ndarray) -> list[int]:
    """Counted one by one, down the columns."""
    runs, value = [0], 0
    for bit in mask.T.reshape(-1):
        if bit != value:
            runs.append(0)
            value = bit
        runs[-1] += 1
    return runs


def filled(rings: list[list[dict[str, int]]], rows: int, columns: int) -> np.ndarray:
    """Every pixel asked by itself: how many upright edges lie to its left, at its middle."""
    mask = np.zeros((rows, columns), dtype=np.uint8)
    for ring in rings:
        for a, b in zip(ring, ring[1:] + ring[:1], strict=True):
            for row in range(rows):
                if min(a["y"], b["y"]) < row + 0.5 < max(a["y"], b["y"]):
                    mask[row, a["x"] :] ^= 1
    return mask


def signed_area(ring: list[dict[str, int]]) -> float:
    pairs = zip(ring, ring[1:] + ring[:1], strict=True)
    return sum(a["x"] * b["y"] - b["x"] * a["y"] for a, b in pairs) / 2


@given(masks(), st.booleans())
@example(np.eye(2, dtype=np.uint8), False)
@example(np.eye(2, dtype=np.uint8)[::-1], True)
@example(np.ones((1, 5), dtype=np.uint8), True)
@example(np.ones((5, 1), dtype=np.uint8), True)
def test_the_rings_of_a_mask_are_the_mask(mask: np.ndarray, as_string: bool) -> None:
    rows, columns = mask.shape
    runs = runs_of(mask)
    rings = contours_of({"size": [rows, columns], "counts": run_string(runs) if as_string else runs})
    assert (filled(rings, rows, columns) == mask).all()
    # Holes run the other way round, so that areas add up; and no ring goes on straight at a point.
    assert sum(signed_area(ring) for ring in rings) == mask.sum()
    for ring in rings:
        assert len(ring) >= 4
        turns = list(zip(ring, ring[1:] + ring[:1], strict=True))
        upright = [a["x"] == b["x"] for a, b in turns]
        assert all(one != other for one, other in zip(upright, upright[1:] + upright[:1], strict=True))


def test_pixels_that_touch_by_a_corner_are_rings_of_their_own() -> None:
    checkerboard = np.indices((6, 6)).sum(axis=0) % 2
    rings = contours_of({"size": [6, 6], "counts": runs_of(checkerboard)})
    assert len(rings) == 18
    assert {len(ring) for ring in rings} == {4}


def test_a_hole_is_a_ring() -> None:
    mask = np.ones((5, 5), dtype=np.uint8)
    mask[2, 2] = 0
    outer, hole = contours_of({"size": [5, 5], "counts": runs_of(mask)})
    assert outer == [{"x": 0, "y": 0}, {"x": 5, "y": 0}, {"x": 5, "y": 5}, {"x": 0, "y": 5}]
    assert {(point["x"], point["y"]) for point in hole} == {(2, 2), (3, 2), (3, 3), (2, 3)}


@given(st.lists(st.integers(0, 2**40)))
def test_the_string_is_that_of_coco(runs: list[int]) -> None:
    assert run_lengths(run_string(runs), len(runs) + 1) == runs


@given(masks())
def test_the_string_agrees_with_pycocotools(mask: np.ndarray) -> None:
    told = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    assert run_lengths(told, 1_000) == runs_of(mask)
    assert run_string(runs_of(mask)) == told


@pytest.mark.parametrize("counts", [[2, 3, 4], "234"])
def test_run_lengths_are_read_from_both_forms(counts: Any) -> None:
    assert run_lengths(counts, 10) == [2, 3, 4]
    assert run_lengths(counts, 2) == [2, 3]


@pytest.mark.parametrize("counts", ["0 4", "é", "0\x00", "04P", "o" * 20, "/"])
def test_a_string_that_spells_no_runs_is_refused(counts: str) -> None:
    with pytest.raises(ValueError, match="rle counts"):
        run_lengths(counts, 100)


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120)), sides, sides)
def test_any_string_is_a_mask_or_refused(counts: str, rows: int, columns: int) -> None:
    rle = {"size": [rows, columns], "counts": counts}
    try:
        rings = contours_of(rle)
    except ValueError:
        return
    set_pixels = sum(end - start for start, end in spans_of(rle))
    assert filled(rings, rows, columns).sum() == set_pixels


@pytest.mark.parametrize(
    ("size", "counts", "words"),
    [
        ([2, 2], [0, 5], "beyond its size"),
        ([2, 2], [5], "beyond its size"),
        ([2, 2], [0, 10**300], "beyond its size"),
        ([2, 2], run_string([2, -1]), "negative run"),
        ([1000, 1000], [1] * (MOST_TRACED_RUNS + 1), "more than"),
        ([1000, 1000], "1" * 10**7, "more than"),
    ],
)
def test_runs_that_are_no_mask_are_refused(size: list[int], counts: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        contours_of({"size": size, "counts": counts})


def test_what_follows_the_last_run_is_unset() -> None:
    assert spans_of({"size": [3, 3], "counts": [1, 2, 0, 2]}) == [(1, 5)]
    assert contours_of({"size": [3, 3], "counts": []}) == []


@pytest.mark.parametrize(
    ("size", "counts", "points"),
    [
        ([30_000, 30_000], [0, 900_000_000], 4),
        ([30_000, 30_000], [15_000, 30_000 * 29_999], 8),
        ([1, 10**30], [0, 10**30], 4),
        ([10**30, 1], [1, 10**29], 4),
        # Every other column: as many runs as edges.
        ([30_000, 30_000], [30_000] * 30_000, 60_000),
        # Every other pixel of one row.
        ([1, 100_000], [1] * MOST_TRACED_RUNS, 200_000),
    ],
)
def test_a_large_mask_costs_what_its_runs_cost(size: list[int], counts: list[int], points: int) -> None:
    began = time.process_time()
    rings = contours_of({"size": size, "counts": counts})
    assert time.process_time() - began < 20
    assert sum(len(ring) for ring in rings) == points
