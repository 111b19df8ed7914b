"""Standardized lists: entries in every spelling, and what is wrong with the others."""

import math
from typing import Any

import pytest

from inference_store.contract.base import LONGEST_NAME
from inference_store.contract.entries import Entry, read_entries

BBOX = {"xmin": 1, "ymin": 2.5, "xmax": 3, "ymax": 4}
ORIENTED = {"cx": 0.5, "cy": 0.5, "w": 0.1, "h": 0.2, "r": -1.5}
RING = [{"x": 0, "y": 0}, {"x": 1.5, "y": 0}, {"x": 0, "y": 2}]
RUNS = {"size": [2, 3], "counts": [1, 5]}
RLE = {"size": [2, 3], "counts": "04"}


def one(list_name: str, item: dict[str, Any]) -> Entry:
    (entry,) = read_entries(list_name, [item])
    return entry


@pytest.mark.parametrize("spelling", ["label", "class_label", "class_name"])
def test_a_label_in_every_spelling(spelling: str) -> None:
    assert one("image_classification", {spelling: "cat", "score": 1}) == Entry("cat", 1.0, None)


def test_spellings_that_agree_are_one_label() -> None:
    assert one("image_classification", {"label": "cat", "class_name": "cat"}).label == "cat"


@pytest.mark.parametrize("item", [{"label": "cat"}, {"label": "cat", "score": None}])
def test_a_score_is_optional(item: dict[str, Any]) -> None:
    assert one("image_classification", item).score is None


@pytest.mark.parametrize("label", ["", "é", "🐈" * LONGEST_NAME, "a\nb", "__class__"])
def test_any_text_can_be_a_label(label: str) -> None:
    assert one("image_classification", {"label": label}).label == label


@pytest.mark.parametrize(
    ("list_name", "item", "geometry"),
    [
        ("object_detection", BBOX, {"bbox": BBOX}),
        ("object_detection", {"bbox": BBOX}, {"bbox": BBOX}),
        ("object_detection", {"bbox": BBOX | {"unit": "px"}}, {"bbox": BBOX}),
        ("object_detection", {}, None),
        ("object_detection", {"bbox": None}, None),
        ("oriented_object_detection", ORIENTED, {"oriented_bbox": ORIENTED}),
        ("oriented_object_detection", {"oriented_bbox": ORIENTED}, {"oriented_bbox": ORIENTED}),
        ("image_segmentation", {"contours": [RING, RING]}, {"contours": [RING, RING]}),
        ("image_segmentation", {"contour": [RING]}, {"contours": [RING]}),
        ("image_segmentation", {"contours": []}, {"contours": []}),
        ("image_segmentation", {"rle": RLE}, {"rle": RLE}),
        ("image_segmentation", {"rle": RUNS}, {"rle": RUNS}),
        ("image_segmentation", {}, None),
        ("image_classification", BBOX, None),
    ],
)
def test_a_geometry_in_every_spelling(list_name: str, item: dict[str, Any], geometry: Any) -> None:
    assert one(list_name, {"label": "cat", **item}).geometry == geometry


WRONG = [
    ("image_classification", {}, "lacks a label"),
    ("image_classification", {"label": 7}, "lacks a label"),
    ("image_classification", {"label": "a", "class_label": "b"}, "two different labels"),
    ("image_classification", {"label": "x" * (LONGEST_NAME + 1)}, "more than 512 characters"),
    ("image_classification", {"label": "a", "score": "0.5"}, "score must be a number"),
    ("image_classification", {"label": "a", "score": True}, "score must be a number"),
    ("image_classification", {"label": "a", "score": math.nan}, "score must be finite"),
    ("image_classification", {"label": "a", "score": 10**400}, "score must be finite"),
    ("object_detection", {"label": "a", "xmin": 1}, "lacks ymin, xmax, ymax"),
    ("object_detection", {"label": "a", "bbox": [1, 2, 3, 4]}, "bbox must be an object of xmin"),
    ("object_detection", {"label": "a", "bbox": BBOX | {"xmin": None}}, "xmin must be a number"),
    ("object_detection", {"label": "a", "bbox": BBOX | {"xmax": math.inf}}, "xmax must be finite"),
    ("oriented_object_detection", {"label": "a", "oriented_bbox": BBOX}, "lacks cx, cy, w, h, r"),
    ("image_segmentation", {"label": "a", "contours": {}}, "contours must be a list of rings"),
    ("image_segmentation", {"label": "a", "contours": RING}, "each contour must be a list"),
    ("image_segmentation", {"label": "a", "contour": [[[1, 2]]]}, "each point"),
    ("image_segmentation", {"label": "a", "contour": [[{"x": 1}]]}, "each point"),
    ("image_segmentation", {"label": "a", "contour": [[{"x": 1, "y": "2"}]]}, "y must be a number"),
    ("image_segmentation", {"label": "a", "rle": "04"}, "rle must be"),
    ("image_segmentation", {"label": "a", "rle": {"size": [2]}}, "rle must be"),
    ("image_segmentation", {"label": "a", "rle": {"size": [0, 2], "counts": "04"}}, "rle must be"),
    ("image_segmentation", {"label": "a", "rle": {"size": [True, 2], "counts": "04"}}, "rle must be"),
    ("image_segmentation", {"label": "a", "rle": {"size": [2, 3]}}, "rle counts"),
    ("image_segmentation", {"label": "a", "rle": {"size": [2, 3], "counts": [-1]}}, "rle counts"),
]


@pytest.mark.parametrize(("list_name", "item", "words"), WRONG)
def test_a_wrong_entry_is_named_by_its_position(list_name: str, item: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=rf"entry 1 .*{words}"):
        read_entries(list_name, [{"label": "fine"}, item])


def test_an_empty_list_has_no_entries() -> None:
    assert read_entries("object_detection", []) == []
