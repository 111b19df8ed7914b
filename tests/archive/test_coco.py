"""COCO: what is exported loads in pycocotools, and is perfect against itself."""

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from inference_store.archive.coco import Coco, shape_of
from inference_store.archive.contours import contours_of
from inference_store.contract.enums import TaskType
from inference_store.contract.errors import Refusal
from inference_store.contract.geometry import run_string
from inference_store.models import RegisteredModel
from inference_store.query.whole import WholeInference
from tests.archive.driver import box, whole, written
from tests.archive.test_contours import masks, runs_of

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:pycocotools")

DETECTION, TILTED, MASK = (
    TaskType.OBJECT_DETECTION,
    TaskType.ORIENTED_OBJECT_DETECTION,
    TaskType.IMAGE_SEGMENTATION,
)
HOSTILE_LABELS = ["cat", 'a "dog"', "\u2028\u0085", "😀", "", "null", "a\\b"]


def told(wholes: list[WholeInference], **options: Any) -> tuple[dict[str, Any], dict[str, int]]:
    members, counts = written("coco", wholes, **options)
    return json.loads(members["annotations.json"]), counts


def ellipse(width: int, height: int, number: int) -> np.ndarray:
    """A mask with a hole."""
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(x - width / 2 + number, y - height / 2)
    return ((distance < 18) & (distance > 6)).astype(np.uint8)


def segments(number: int, width: int, height: int) -> list[Any]:
    runs = runs_of(ellipse(width, height, number))
    rle = {"size": [height, width], "counts": runs}
    small = {"size": [height // 2, width // 2], "counts": runs_of(ellipse(width // 2, height // 2, 0))}
    ring = [{"x": 3, "y": 3}, {"x": 40.5, "y": 5}, {"x": 20, "y": 30 + number}]
    return [
        {"label": "cat", "score": 0.9, "rle": rle},
        {"label": "dog", "score": 0.8, "rle": rle | {"counts": run_string(runs)}},
        {"label": "cat", "score": 0.7, "contours": [ring]},
        {"label": "dog", "score": 0.6, "contours": contours_of(rle)},
        {"label": "fox", "rle": small},
    ]


def of_task(task: TaskType, count: int = 7) -> list[WholeInference]:
    """Inferences with several labels, on pictures of several sizes."""
    found = []
    for number in range(count):
        width, height = 100 + number, 80
        entries: list[Any] = [
            box("cat", 10 + number, 5.5, 60, 70.25),
            box("dog", 70, 20, 30, 60),  # its sides the other way round
            box("fox", -5, -5, 20, 90, score=None),  # overhangs
        ]
        if task is TILTED:
            entries = [
                {"label": "cat", "cx": 0.5, "cy": 0.5, "w": 0.4, "h": 0.2, "r": number / 3, "score": 0.9},
                {"label": "dog", "cx": 0.2, "cy": 0.3, "w": 0.1, "h": 0.4, "r": -1, "score": 0.2},
            ]
        if task is MASK:
            entries = segments(number, width, height)
        found.append(whole(f"{task.name}-{number}", entries, task=task, picture=(width, height)))
    return found


@pytest.mark.parametrize("task", [DETECTION, TILTED, MASK])
@pytest.mark.parametrize("resumed", [False, True])
def test_it_loads_in_pycocotools_and_is_perfect_against_itself(
    task: TaskType, resumed: bool, tmp_path: Path
) -> None:
    members, counts = written("coco", of_task(task), resumed=resumed)
    path = tmp_path / "annotations.json"
    path.write_bytes(members["annotations.json"])
    truth = COCO(str(path))
    assert len(truth.imgs) == counts["images"] == 7
    assert len(truth.anns) == counts["annotations"] == 7 * (2 if task is TILTED else 5 if task is MASK else 3)
    assert {f"images/{image['file_name']}" for image in truth.imgs.values()} == {*members} - {path.name}
    results = [each | {"score": each.get("score", 1.0)} for each in truth.anns.values()]
    if task is DETECTION:
        results = [{key: each[key] for key in each if key != "segmentation"} for each in results]
    for kind in ["bbox"] if task is DETECTION else ["bbox", "segm"]:
        evaluation = COCOeval(truth, truth.loadRes([dict(each) for each in results]), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        assert evaluation.stats[0] == pytest.approx(1.0), kind


def test_ids_are_unique_over_batches() -> None:
    for resumed in (False, True):
        content, counts = told(of_task(DETECTION, 10), batch=2, resumed=resumed)
        for name in ("images", "annotations"):
            ids = [each["id"] for each in content[name]]
            assert ids == list(range(1, counts[name] + 1))
        assert {each["image_id"] for each in content["annotations"]} == set(range(1, 11))


def test_what_is_told_of_a_box() -> None:
    content, _ = told([whole("one", [box("cat", 10, 20, 15, 40, score=0.25)])])
    assert content["images"] == [
        {"id": 1, "width": 100, "height": 50, "file_name": "one.png", "inference_id": "one"}
    ]
    assert content["annotations"] == [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "bbox": [10, 20, 5, 20],
            "area": 100,
            "segmentation": [],
            "iscrowd": 0,
            "inference_id": "one",
            "score": 0.25,
        }
    ]
    assert content["info"]["description"] == "Inferences of eye"


def test_categories_are_the_labels_as_they_are() -> None:
    wholes = [whole(entries=[box(label, 1, 1, 5, 5)]) for label in HOSTILE_LABELS]
    content, _ = told(wholes)
    assert [each["name"] for each in content["categories"]] == sorted(HOSTILE_LABELS)
    names = {each["id"]: each["name"] for each in content["categories"]}
    assert [names[each["category_id"]] for each in content["annotations"]] == HOSTILE_LABELS


def test_a_tilted_box_is_a_polygon() -> None:
    entries = [{"label": "a", "cx": 0.5, "cy": 0.5, "w": 0.2, "h": 0.1, "r": math.pi / 2}]
    content, _ = told([whole(entries=entries, task=TILTED, picture=(100, 200))])
    (found,) = content["annotations"]
    # 20 × 20 pixels, turned by a right angle.
    assert found["area"] == pytest.approx(400)
    assert found["bbox"] == pytest.approx([40, 90, 20, 20])
    assert found["segmentation"] == [pytest.approx([60, 90, 60, 110, 40, 110, 40, 90])]


@given(masks(), st.booleans())
def test_a_mask_is_the_same_mask_with_its_box_and_area(mask: np.ndarray, as_string: bool) -> None:
    rows, columns = mask.shape
    runs = runs_of(mask)
    counts = run_string(runs) if as_string else runs
    shape = shape_of({"rle": {"size": [rows, columns], "counts": counts}}, columns, rows)
    if shape is None:
        assert not mask.any()
        return
    assert (coco_mask.decode(shape.segmentation) == mask).all()
    assert shape.area == coco_mask.area(shape.segmentation) == mask.sum()
    assert list(shape.bbox) == list(coco_mask.toBbox(shape.segmentation))


@given(masks())
def test_contours_with_holes_are_the_same_mask(mask: np.ndarray) -> None:
    rows, columns = mask.shape
    rings = contours_of({"size": [rows, columns], "counts": runs_of(mask)})
    shape = shape_of({"contours": rings}, columns, rows)
    if shape is None:
        assert not mask.any()
        return
    found = coco_mask.merge(coco_mask.frPyObjects(shape.segmentation, rows, columns))
    assert (coco_mask.decode(found) == mask).all()
    assert shape.area == mask.sum()
    assert list(shape.bbox) == list(coco_mask.toBbox(found))


@given(masks(), st.integers(1, 4), st.integers(1, 4))
def test_a_mask_of_another_size_is_scaled_to_the_picture(mask: np.ndarray, across: int, down: int) -> None:
    rows, columns = mask.shape
    rle = {"size": [rows, columns], "counts": runs_of(mask)}
    shape = shape_of({"rle": rle}, columns * across, rows * down)
    if shape is None:
        assert not mask.any()
        return
    expected = np.kron(mask, np.ones((down, across), dtype=np.uint8))
    segmentation = shape.segmentation
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, rows * down, columns * across))
    assert (coco_mask.decode(segmentation) == expected).all()
    assert shape.area == pytest.approx(expected.sum())


def test_parts_stay_polygons_of_their_own() -> None:
    """Drawn in different directions: no hole lies in what it is not within."""
    one = [{"x": 0, "y": 0}, {"x": 4, "y": 0}, {"x": 4, "y": 4}, {"x": 0, "y": 4}]
    other = [{"x": 10, "y": 0}, {"x": 10, "y": 4}, {"x": 13, "y": 4}, {"x": 13, "y": 0}]
    shape = shape_of({"contours": [one, other]}, 100, 100)
    assert shape is not None
    assert [len(each) for each in shape.segmentation] == [8, 8]
    assert shape.area == 28
    assert shape.bbox == (0, 0, 13, 4)


def test_what_has_no_shape_is_left_out_and_counted() -> None:
    square = [{"x": 1, "y": 1}, {"x": 5, "y": 1}, {"x": 5, "y": 5}, {"x": 1, "y": 5}]
    entries: list[Any] = [
        {"label": "a"},
        {"label": "a", "contours": []},
        {"label": "a", "contours": [square[:2], []]},
        {"label": "a", "contours": [square[:1] * 4]},
        {"label": "a", "rle": {"size": [50, 100], "counts": [5000]}},
        {"label": "a", "rle": {"size": [50, 100], "counts": [0, 5001]}},
        {"label": "a", "rle": {"size": [50, 100], "counts": "no mask"}},
        {"label": "a", "contours": [square, square[:2]]},
    ]
    content, counts = told([whole(entries=entries, task=MASK)])
    assert counts == {
        "images": 1,
        "annotations": 1,
        "skipped_entries_without_shape": 5,
        "skipped_unreadable_masks": 2,
    }
    assert content["annotations"][0]["segmentation"] == [[1, 1, 5, 1, 5, 5, 1, 5]]
    flat, _ = told([whole(entries=[box("a", 1, 1, 1, 5), box("a", -1e308, 0, 1e308, 1e308)])])
    assert flat["annotations"] == []
    far = [{"x": -1.7e308, "y": 0}, {"x": 1.7e308, "y": 0}, {"x": 1, "y": 1e-300}]
    wide, counts = told([whole(entries=[{"label": "a", "contours": [far]}], task=MASK)])
    assert wide["annotations"] == []
    assert counts["skipped_entries_without_shape"] == 1


def test_inferences_that_teach_nothing_are_left_out_and_counted() -> None:
    wholes = [
        whole("gone", [box("a", 1, 1, 5, 5)], picture=None),
        whole("native"),
        whole("embedded", vector=[1.0]),
        whole("empty", []),
    ]
    members, counts = written("coco", wholes)
    assert counts == {"skipped_without_picture": 1, "skipped_without_list": 2, "images": 1}
    assert list(members) == ["images/empty.png", "annotations.json"]
    assert json.loads(members["annotations.json"])["annotations"] == []


@settings(deadline=None)
@given(st.sampled_from(list(TaskType)))
def test_other_tasks_are_refused(task: TaskType) -> None:
    model = RegisteredModel(task_type=task.value)
    if task in (DETECTION, TILTED, MASK):
        Coco.refuse_unfit(model)
        return
    with pytest.raises(Refusal) as refused:
        Coco.refuse_unfit(model)
    assert refused.value.status == 400
    assert list(refused.value.fields) == ["format"]
    assert task.value in refused.value.message


def test_many_rings_are_quick() -> None:
    squares = [
        [{"x": x + dx, "y": y + dy} for dx, dy in ((0, 0), (0, 1), (1, 1), (1, 0))]
        for x in range(1, 200, 2)
        for y in range(1, 200, 2)
    ]
    frame = [{"x": 0, "y": 0}, {"x": 300, "y": 0}, {"x": 300, "y": 300}, {"x": 0, "y": 300}]
    began = time.process_time()
    shape = shape_of({"contours": [frame, *squares]}, 300, 300)
    assert time.process_time() - began < 10
    assert shape is not None
    assert shape.area == 90_000 - len(squares)
