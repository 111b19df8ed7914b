"""Granular rows: an entry each, with its part of the picture."""

import io
import re
import time

import pytest
from PIL import Image

from dashboard.overlays import bounds
from dashboard.pictures import CROP_SIZE, crop_picture, placeholder
from inference_store.contract.enums import TaskType
from tests.dashboard.conftest import box, store_seen
from tests.faults.test_row_12_pictures_that_explode import HOSTILE
from tests.making import LONG_AGO, make_model, make_request, make_upload, make_user, store

URL = "/models/detector/?view=rows"
CROP = "/models/detector/inferences/one/entries/0/crop"


def quarters(width=200, height=100, kind="PNG"):
    """A red, a green, a blue and a white quarter."""
    image = Image.new("RGB", (width, height), "white")
    for place, colour in (((0, 0), "red"), ((1, 0), "lime"), ((0, 1), "blue")):
        image.paste(
            colour,
            tuple(p * s // 2 for p, s in zip(place * 2, (width, height) * 2, strict=True))[:2]
            + tuple((p + 1) * s // 2 for p, s in zip(place, (width, height), strict=True)),
        )
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def entry(left, top, right, bottom, label="kestrel", score=0.9):
    return {"label": label, "score": score, "xmin": left, "ymin": top, "xmax": right, "ymax": bottom}


def opened(content):
    image = Image.open(io.BytesIO(content)).convert("RGB")
    image.load()
    return image


def labels(response):
    return re.findall(r'class="label-name" dir="auto" title="([^"]*)"', response.content.decode())


def test_they_are_counted_beside_their_inferences(page, detector):
    def counted(query):
        html = page(f"{URL}{query}").content.decode()
        return re.sub(r"<[^>]+>", "", re.search(r'<p class="count" id="count".*?</p>', html)[0])

    store_seen(detector, "one", entries=[box("owl", 0.2), box("kestrel", 0.9)], source="quay")
    store_seen(detector, "two", entries=[box("heron", 0.5)])
    store(detector, make_request(detector, "none", entries=[]))
    assert counted("") == "3 inferences, 3 entries"
    assert counted("&minimum_score=0.5") == "2 inferences match, 2 entries"
    assert counted("&data_source=quay") == "1 inference matches, 2 entries"
    assert counted("&label=owl") == "1 inference matches, 1 entry"
    task, project = TaskType.OBJECT_DETECTION, detector.project
    searcher = make_model("searcher", task=task, embedding_size=2, project=project)
    store(searcher, make_request(searcher, "one", entries=[box("owl"), box("heron")], embedding=[1, 0]))
    found = page("/models/searcher/?view=rows&similar_to=one").content.decode()
    assert re.search(r'<p class="count" id="count" data-counted><strong>1</strong> inference match', found)
    apart = page("/models/detector/count?view=rows&minimum_score=0.5").content.decode()
    assert "<strong>2</strong> inferences match, <strong>2</strong> entries" in apart
    assert (
        "entr" not in page("/models/detector/count?minimum_score=0.5").content.decode().split("</strong>")[-1]
    )


def test_one_row_for_each_entry(page, detector):
    store_seen(detector, "one", entries=[box("owl", 0.2), box("kestrel", 0.9)], created_at=LONG_AGO)
    store_seen(detector, "two", entries=[box("heron", 0.5)])
    store(detector, make_request(detector, "none", entries=[]))
    assert labels(page(URL)) == ["heron", "kestrel", "owl"]
    assert labels(page(f"{URL}&sort=score")) == ["kestrel", "heron", "owl"]
    assert labels(page(f"{URL}&sort=label&direction=asc")) == ["heron", "kestrel", "owl"]
    assert labels(page(f"{URL}&minimum_score=0.5")) == ["heron", "kestrel"]
    first, second = page(f"{URL}&limit=2&sort=score"), None
    onward = re.search(r'href="(\?[^"]+)" rel="next"', first.content.decode())[1].replace("&amp;", "&")
    second = page("/models/detector/" + onward)
    assert labels(first) + labels(second) == ["kestrel", "heron", "owl"]


def test_a_crop_shows_the_entrys_part(page, detector):
    store_seen(detector, "one", content=quarters(), entries=[entry(110, 10, 190, 40)])
    address = re.search(r'src="([^"]+/crop\?v=[^"]+)"', page(URL).content.decode())[1]
    response = page(address)
    assert "immutable" in response["Cache-Control"]
    assert "sandbox" in response["Content-Security-Policy"]
    shown = opened(response.content)
    assert max(shown.size) <= CROP_SIZE
    red, green, blue = shown.getpixel((shown.width // 2, shown.height // 2))
    assert (red < 60, green > 180, blue < 60) == (True, True, True)
    assert page(CROP, headers={"If-None-Match": response["ETag"]}).status_code == 304
    assert page(CROP)["Cache-Control"] == "private, no-cache"


def test_a_crop_of_a_jpeg_is_the_same_part_at_any_scale():
    content = quarters(4_000, 2_000, "JPEG")
    shown = opened(crop_picture(io.BytesIO(content), (2_100, 100, 3_900, 900)).content)
    red, green, blue = shown.getpixel((shown.width // 2, shown.height // 2))
    assert (red < 60, green > 180, blue < 60) == (True, True, True)


@pytest.mark.parametrize(
    "corners",
    [(-50, -50, -10, -10), (500, 500, 600, 600), (1e300, 0, -1e300, 5), (7, 7, 7, 7), (30, 40, 10, 20)],
)
def test_boxes_beyond_the_picture_are_no_error(corners):
    picture = crop_picture(io.BytesIO(quarters()), corners)
    assert not picture.is_placeholder
    assert opened(picture.content).size >= (1, 1)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_become_a_placeholder_within_a_second(name, page, detector):
    store_seen(detector, "one", content=HOSTILE[name])
    start = time.process_time()
    response = page(CROP)
    assert time.process_time() - start < 1
    assert response.status_code == 200
    assert response.content == placeholder().content
    assert response["X-Content-Type-Options"] == "nosniff"


def test_a_picture_too_wide_to_be_decoded_for_a_crop_is_a_placeholder():
    assert crop_picture(io.BytesIO(quarters(12_000, 1_200)), (0, 0, 100, 100)).is_placeholder


def test_only_entries_have_crops(page, client, detector):
    store_seen(detector, "one")
    assert page(CROP).status_code == 200
    assert page(CROP.replace("/0/", "/1/")).status_code == 404
    assert page(CROP.replace("/0/", f"/{10**30}/")).status_code == 404
    client.force_login(make_user("mallory"))
    assert client.get(CROP).status_code == 404


def test_where_geometries_are():
    assert bounds({"bbox": {"xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4}}, 100, 50) == (1, 2, 3, 4)
    ring = [{"x": 5, "y": 6}, {"x": 9, "y": 2}]
    assert bounds({"contours": [ring, [{"x": 1, "y": 20}]]}, 100, 50) == (1, 2, 9, 20)
    upright = {"cx": 0.5, "cy": 0.5, "w": 0.2, "h": 0.4, "r": 0.0}
    assert bounds({"oriented_bbox": upright}, 100, 50) == pytest.approx((40, 15, 60, 35))
    # Columns of four rows: three covered from the second column's second row on.
    assert bounds({"rle": {"size": [4, 10], "counts": [5, 3, 32]}}, 100, 40) == (10, 10, 20, 40)
    assert bounds({"rle": {"size": [4, 10], "counts": "!"}}, 100, 40) is None
    assert bounds({}, 100, 50) is None


def test_a_class_of_a_whole_picture_shows_it_whole(page, carol, detector):
    classifier = make_model("classifier", task=TaskType.IMAGE_CLASSIFICATION, project=detector.project)
    key = make_upload(classifier, quarters())
    store(classifier, make_request(classifier, "one", key=key, entries=[{"label": "owl", "score": 0.5}]))
    text = page("/models/classifier/?view=rows").content.decode()
    assert "/inferences/one/thumbnail?size=320" in text
