"""The reference's archive: masks as contours, and what can't be made contours of."""

import json
from typing import Any

import pytest

from inference_store.archive.contours import MOST_TRACED_RUNS, contours_of
from inference_store.contract.enums import TaskType
from tests.archive.driver import whole, written

RLE = {"size": [3, 3], "counts": [4, 1, 4]}
SQUARE = [{"x": 1, "y": 1}, {"x": 2, "y": 1}, {"x": 2, "y": 2}, {"x": 1, "y": 2}]


def annotations(*entries: Any) -> tuple[list[Any], dict[str, int]]:
    members, counts = written("archive", [whole("one", list(entries), task=TaskType.IMAGE_SEGMENTATION)])
    (line,) = members["annotations.jsonl"].splitlines()
    told = json.loads(line)
    assert list(told) == ["path", "annotations"]
    assert told["path"] == "data/one.png"
    return told["annotations"], counts


def test_a_mask_becomes_contours() -> None:
    told, counts = annotations(
        {"label": "a", "rle": RLE}, {"label": "b", "contours": [SQUARE]}, {"label": "c"}
    )
    assert told == [
        {"class_label": "a", "contour": [SQUARE]},
        {"class_label": "b", "contour": [SQUARE]},
        {"class_label": "c"},
    ]
    assert contours_of(RLE) == [SQUARE]
    assert counts == {}


@pytest.mark.parametrize(
    "rle",
    [
        {"size": [3, 3], "counts": "no mask"},
        {"size": [3, 3], "counts": [0, 10]},
        {"size": [10**30, 1], "counts": [0, 10**31]},
        {"size": [1000, 1000], "counts": [1] * (MOST_TRACED_RUNS + 1)},
    ],
)
def test_a_mask_without_contours_stays_as_it_is(rle: dict[str, Any]) -> None:
    told, counts = annotations({"label": "a", "rle": rle}, {"label": "b", "rle": RLE})
    assert told == [{"class_label": "a", "rle": rle}, {"class_label": "b", "contour": [SQUARE]}]
    assert counts == {"masks_without_contour": 1}
