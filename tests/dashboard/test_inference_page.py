"""An inference's page: what the model saw, over its input, and everything known besides."""

import html
import json
import math
import re

import pytest

from dashboard.overlays import overlay
from inference_store.contract.entries import Entry
from inference_store.contract.enums import TaskType
from tests.dashboard.conftest import box, picture_bytes, store_seen
from tests.making import make_model, make_request, store

URL = "/models/detector/inferences/one/"
SCRIPT = "<script>alert(1)</script>"


def test_shapes_stand_where_the_model_saw_them(page, detector):
    store_seen(detector, "one", entries=[box("kestrel", 0.9)])
    text = page(URL).content.decode()
    assert 'viewBox="0 0 64 48"' in text
    assert 'd="M4 5L20 5L20 30L4 30Z"' in text
    assert ">kestrel 0.90</text>" in text
    assert 'style="' not in text


def test_an_oriented_box_is_turned_in_pixels():
    geometry = {"oriented_bbox": {"cx": 0.5, "cy": 0.5, "w": 0.2, "h": 0.1, "r": math.pi / 2}}
    (shape,) = overlay([Entry("ship", None, geometry)], 100, 50).shapes
    assert shape.path == "M52.5 15L52.5 35L47.5 35L47.5 15Z"


def test_contours_become_rings():
    ring = [{"x": 1, "y": 2}, {"x": 3, "y": 2}, {"x": 3, "y": 9}]
    (shape,) = overlay([Entry("roof", 0.5, {"contours": [ring]})], 10, 10).shapes
    assert shape.path == "M1 2L3 2L3 9Z"


@pytest.mark.parametrize("counts", [[2, 3, 4], "234"])
def test_run_lengths_go_down_the_columns(counts):
    (shape,) = overlay([Entry("roof", 0.5, {"rle": {"size": [3, 3], "counts": counts}})], 6, 6).shapes
    assert shape.path == "M0 4L2 4L2 6L0 6ZM2 0L4 0L4 4L2 4Z"


def test_a_mask_whose_string_is_none_is_not_drawn():
    mask = {"rle": {"size": [3, 3], "counts": "no mask"}}
    assert overlay([Entry("roof", 0.5, mask)], 6, 6) is None


def test_a_mask_that_claims_too_much_is_bounded():
    mask = {"rle": {"size": [10**6, 10**6], "counts": [0, 10**12]}}
    (shape,) = overlay([Entry("all", 0.5, mask)], 100, 100).shapes
    assert shape.path == "M0 0L100 0L100 100L0 100Z"


def test_a_mask_of_many_runs_is_drawn_coarsely():
    """Rings of a thousand points each, as one of as many as can be seen."""
    runs = [
        500 - 400 + column % 7 if part == 0 else 400 - column % 7 for column in range(900) for part in (0, 1)
    ]
    (shape,) = overlay([Entry("roof", 0.5, {"rle": {"size": [500, 900], "counts": runs}})], 900, 500).shapes
    assert 100 < shape.path.count("L") <= 2_000


def test_the_shapes_of_a_page_are_bounded_together():
    ring = [{"x": 1.25 * x, "y": (7.77 * x) % 900} for x in range(3_000)]
    entries = [Entry("coast", 0.5, {"contours": [ring] * 30}) for _ in range(200)]
    found = overlay(entries, 1_000, 1_000)
    assert sum(len(shape.path) for shape in found.shapes) < 150_000
    assert found.hidden == 200 - len(found.shapes)


def test_many_shapes_are_bounded_by_the_best():
    entries = [
        Entry("x", number / 1000, {"bbox": dict.fromkeys(("xmin", "ymin", "xmax", "ymax"), 1)})
        for number in range(50)
    ]
    found = overlay(entries, 10, 10, most_shapes=5)
    assert [shape.position for shape in found.shapes] == [45, 46, 47, 48, 49]
    assert found.hidden == 45


def test_metadata_stands_by_type_with_json_as_a_tree(page, detector):
    metadata = [
        ("site", "string", "harbour"),
        ("run", "int", "7"),
        ("altitude", "float", "12.5"),
        ("weather", "json", '{"temp": 3.5, "wind": {"gusts": [1, 2]}}'),
    ]
    store_seen(detector, "one", metadata=metadata, place=(47.5, 9.5), source="cam", protected=True)
    text = page(URL).content.decode()
    assert [text.index(f'<h3 class="type">{type_}</h3>') for type_ in ("string", "int", "float", "json")]
    assert '<span class="tree-key"><bdi>gusts</bdi></span>' in text
    assert "Protected" in text
    assert "47.50000, 9.50000" in text


def test_deep_and_wide_json_is_bounded(page, detector):
    deep = "[" * 200 + "]" * 200
    wide = json.dumps(list(range(5_000)))
    store_seen(detector, "one", metadata=[("deep", "json", deep), ("wide", "json", wide)])
    text = page(URL).content.decode()
    assert text.count("<details") < 100
    assert re.search(r"3,?5\d\d more", text)


def test_long_metadata_is_bounded(page, detector):
    metadata = [(f"key-{number:03}", "string", "ü" * 9_000) for number in range(240)]
    metadata += [("tree", "json", json.dumps({"text": "x" * 9_000}))]
    store_seen(detector, "one", metadata=metadata)
    content = page(URL).content
    assert len(content) < 200_000
    text = content.decode()
    assert "41 more are not listed" in text
    assert text.count("The beginning only") == 200


@pytest.mark.parametrize("label", ["kestrel", "طائر الباشق الجارح الكبير " * 9, "🦅" * 300])
def test_many_entries_leave_the_page_light(label, page, detector):
    entries = [box(f"{label} {number}", number / 500) for number in range(500)]
    entries += [{"label": "mask", "score": 0.99, "xmin": 1, "ymin": 1, "xmax": 2, "ymax": 2}]
    store_seen(detector, "one", entries=entries, content=picture_bytes(1_200, 900))
    content = page(URL).content
    assert len(content) < 250_000
    assert b"501" in content


@pytest.mark.parametrize("content", [b"plain words", "grüße\n\tيمين".encode(), b"<script>alert(1)</script>"])
def test_text_inputs_are_shown_as_text(content, page, detector):
    store_seen(detector, "one", content=content)
    text = page(URL).content.decode()
    assert '<pre class="text-input"' in text
    assert SCRIPT not in text
    excerpt = page(URL + "excerpt")
    assert excerpt.content == content
    assert excerpt["Content-Type"] == "text/plain; charset=utf-8"
    assert excerpt["X-Content-Type-Options"] == "nosniff"


def test_other_bytes_are_for_download(page, detector):
    store_seen(detector, "one", content=b"\x00\x01\xff\xfe" * 20)
    assert "download it to look at it" in page(URL).content.decode()
    assert page(URL + "excerpt").status_code == 204
    assert page(URL + "input").status_code == 302


def test_a_long_text_is_cut_between_characters(page, detector):
    store_seen(detector, "one", content="ü".encode() * 40_000)
    text = page(URL).content.decode()
    assert "The beginning only; download the whole" in text
    assert "\ufffd" not in text


def test_an_inference_without_input(page, detector):
    store(detector, make_request(detector, "one", entries=[box()]))
    assert "No input is kept" in page(URL).content.decode()
    assert page(URL + "input").status_code == 404
    assert page(URL + "thumbnail").status_code == 200


def test_an_embedding_at_a_glance(page, carol, detector):
    model = make_model("vectors", task=TaskType.IMAGE_EMBEDDING, embedding_size=2, project=detector.project)
    store(model, make_request(model, "one", embedding=[3.0, -4.0]))
    text = page("/models/vectors/inferences/one/").content.decode()
    assert '<dd class="number">5</dd>' in text
    assert "-4 – 3" in text


HOSTILE = '"><img src=x onerror=alert(1)>' + SCRIPT


def test_hostile_words_are_only_words(page, detector):
    store_seen(
        detector,
        "<b>&'\"#?%",
        entries=[box(HOSTILE)],
        metadata=[(HOSTILE, "string", HOSTILE), ("tree", "json", json.dumps({HOSTILE: HOSTILE}))],
        source=HOSTILE,
    )
    store_seen(detector, SCRIPT.replace("/", ""), entries=[box(SCRIPT)])
    for address in ("/models/detector/", "/models/detector/?view=table"):
        text = page(address).content.decode()
        assert "<img src=x" not in text
        assert "<script>" not in text
        (link,) = re.findall(r'href="(/models/detector/inferences/%3Cb[^"]+)"', text)
    response = page(html.unescape(link))
    assert response.status_code == 200
    text = response.content.decode()
    assert "<img src=x" not in text
    assert "<script>" not in text
    assert "<b>" not in text
    assert "&lt;script&gt;" in text
    for name in ("label", "metadata", "circle", "data_source", HOSTILE):
        text = page("/models/detector/", {name: HOSTILE}).content.decode()
        assert "<img src=x" not in text
        assert "<script>alert" not in text
