"""YOLO: labels read back as the boxes they were, and data.yaml as the labels."""

import math
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from inference_store.archive.yolo import Yolo
from inference_store.contract.enums import TaskType
from inference_store.contract.errors import Refusal
from inference_store.contract.geometry import oriented_corners
from inference_store.models import RegisteredModel
from inference_store.query.whole import WholeInference
from tests.archive.driver import box, plan, whole, written

TILTED = TaskType.ORIENTED_OBJECT_DETECTION
sides = st.integers(1, 40_000)


def labels_of(each: WholeInference) -> tuple[list[list[float]], dict[str, int]]:
    """The numbers of an inference's label file, read as trainers do."""
    members, counts = written("yolo", [each])
    text = members[f"labels/{each.inference.inference_id}.txt"].decode()
    rows = [[float(number) for number in line.split()] for line in text.splitlines()]
    for row in rows:
        # What trainers refuse, and with it the whole picture.
        assert all(0 <= number <= 1 for number in row[1:])
        assert row[0] == int(row[0]) >= 0
    return rows, counts


@st.composite
def boxes(draw: st.DrawFn, overhang: float = 0) -> Any:
    """A picture's size and a box of at least a hundredth of a pixel, in it or about it."""
    width, height = draw(sides), draw(sides)
    found = []
    for length in (width, height):
        low, high = -overhang * length, (1 + overhang) * length
        pair = sorted(draw(st.tuples(*[st.floats(low, high, allow_nan=False)] * 2)))
        found.append((pair[0], max(pair[1], min(pair[0] + 0.01, high))))
    (left, right), (top, bottom) = found
    return width, height, left, top, right, bottom


@given(boxes())
def test_labels_read_back_as_the_boxes(drawn: Any) -> None:
    width, height, left, top, right, bottom = drawn
    rows, counts = labels_of(whole("one", [box("a", left, top, right, bottom)], picture=(width, height)))
    if not rows:
        assert right - left < 1e-8 * width or bottom - top < 1e-8 * height
        return
    ((_, x, y, w, h),) = rows
    found = [(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height]
    assert found == pytest.approx([left, top, right, bottom], abs=0.5)
    assert "clipped_boxes" not in counts


@given(boxes(overhang=2))
def test_what_overhangs_is_cut_off(drawn: Any) -> None:
    width, height, left, top, right, bottom = drawn
    seen = [max(left, 0), max(top, 0), min(right, width), min(bottom, height)]
    rows, counts = labels_of(whole("one", [box("a", left, top, right, bottom)], picture=(width, height)))
    if seen[2] - seen[0] < 1e-8 * width or seen[3] - seen[1] < 1e-8 * height:
        return
    ((_, x, y, w, h),) = rows
    found = [(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height]
    assert found == pytest.approx(seen, abs=0.5)
    assert counts.get("clipped_boxes", 0) == (seen != [left, top, right, bottom])


@given(
    sides,
    sides,
    st.floats(0.3, 0.7),
    st.floats(0.3, 0.7),
    st.floats(0.001, 0.2),
    st.floats(0.001, 0.2),
    st.floats(-10, 10),
)
@example(40_000, 100, 0.5, 0.5, 0.1, 0.1, math.pi / 2)  # reaches far beyond the picture, and is cut
def test_tilted_labels_read_back_as_the_boxes(
    width: int, height: int, cx: float, cy: float, w: float, h: float, r: float
) -> None:
    told = {"label": "a", "cx": cx, "cy": cy, "w": w, "h": h, "r": r}
    rows, counts = labels_of(whole("one", [told], task=TILTED, picture=(width, height)))
    ((_, *numbers),) = rows
    corners = np.array(numbers).reshape(4, 2) * [width, height]
    stored = np.array(oriented_corners(told, width, height))
    inside = (stored >= 0).all() and (stored <= [width, height]).all()
    assert np.abs(corners - stored.clip(0, [width, height])).max() <= 0.5
    assert counts.get("clipped_boxes", 0) == (not inside)
    if inside:
        # The box from its corners: centre, sides and angle.
        across, down = stored[1] - stored[0], stored[3] - stored[0]
        assert corners.mean(axis=0) == pytest.approx([cx * width, cy * height], abs=0.5)
        assert math.hypot(*across) == pytest.approx(w * width, abs=0.5)
        assert math.hypot(*down) == pytest.approx(h * height, abs=0.5)
        assert across @ [math.cos(r), math.sin(r)] == pytest.approx(w * width, abs=0.5)


def test_what_is_nowhere_in_the_picture_is_left_out_and_counted() -> None:
    entries: list[Any] = [
        box("b", 110, 10, 120, 20),
        box("b", -20, 10, 0, 20),
        box("b", 10, 10, 10, 20),
        box("b", -1e308, 10, 1e308, 20),  # finite, and all across
        {"label": "b"},
        box("a", 30, 20, 10, 10),  # its sides the other way round
    ]
    rows, counts = labels_of(whole("one", entries))
    assert rows == [[1, 0.5, 0.3, 1, 0.2], [0, 0.2, 0.3, 0.2, 0.2]]
    assert counts == {"images": 1, "boxes": 2, "clipped_boxes": 1, "skipped_entries_without_shape": 4}
    beyond = {"label": "a", "cx": 5.0, "cy": 5.0, "w": 0.1, "h": 0.1, "r": 0.3}
    flat = {"label": "a", "cx": 0.5, "cy": 0.5, "w": 0.0, "h": 0.0, "r": 0.3}
    endless = {"label": "a", "cx": 0.5, "cy": 0.5, "w": 1e308, "h": 1e308, "r": 0.3}
    rows, counts = labels_of(whole("one", [beyond, flat, endless], task=TILTED))
    assert (rows, counts["skipped_entries_without_shape"]) == ([], 3)
    # What eight digits make a line or a point of.
    thin = {"label": "a", "cx": 0.5, "cy": 0.5, "w": 1e-12, "h": 1e-12, "r": 0.0}
    rows, counts = labels_of(whole("one", [thin], task=TILTED))
    assert (rows, counts["skipped_entries_without_shape"]) == ([], 1)
    rows, counts = labels_of(whole("one", [box("a", 1, 1, 1 + 1e-9, 9), box("a", 1, 0, 9, 1e-300)]))
    assert (rows, counts["skipped_entries_without_shape"]) == ([], 2)


def test_a_picture_without_boxes_has_an_empty_file() -> None:
    members, _ = written("yolo", [whole("one", [])])
    assert members["labels/one.txt"] == b""
    assert list(members) == ["images/one.png", "labels/one.txt", "data.yaml"]


def test_inferences_that_teach_nothing_are_left_out_and_counted() -> None:
    wholes = [whole("gone", [box("a", 1, 1, 5, 5)], picture=None), whole("native")]
    members, counts = written("yolo", wholes)
    assert counts == {"skipped_without_picture": 1, "skipped_without_list": 1}
    assert list(members) == ["data.yaml"]


def test_labels_lie_where_trainers_look_for_them() -> None:
    """Theirs: /images/ becomes /labels/, and what follows the last dot becomes txt."""
    ids = ["a", "A", "a.png", "v1.2", "é", "x" * 255]
    members, _ = written("yolo", [whole(each, [box("a", 1, 1, 5, 5)]) for each in ids])
    pictures = [name for name in members if name.startswith("images/")]
    assert len(pictures) == len(ids)
    for name in pictures:
        assert name.replace("images/", "labels/").rpartition(".")[0] + ".txt" in members


HOSTILE_LABELS = [
    *("", "yes", "null", "1", "- a", "a: b", "#", "'", '"', "\\", "\n\t", "~", "{}", "&x", "!!python/none"),
    *("\u0085", "\u2028", "\ufeff", "\x7f", "\x1b", "😀", "\uffff", "\ue000", " padded ", "x" * 512, "é"),
]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), unique=True))
@example(HOSTILE_LABELS)
@example([])
def test_the_yaml_parses_to_the_very_labels(labels: list[str]) -> None:
    members, _ = written("yolo", [], planned=plan(labels=labels))
    content = yaml.safe_load(members["data.yaml"])
    assert content["names"] == dict(enumerate(labels))
    assert (content["train"], content["val"]) == ("images", "images")
    # A relative path would be looked for in the directory that a trainer was started in.
    assert "path" not in content


@pytest.mark.parametrize("task", TaskType)
def test_other_tasks_are_refused(task: TaskType) -> None:
    model = RegisteredModel(task_type=task.value)
    if task in (TaskType.OBJECT_DETECTION, TILTED):
        Yolo.refuse_unfit(model)
        return
    with pytest.raises(Refusal, match=r"format: YOLO can hold .*" + task.value):
        Yolo.refuse_unfit(model)
