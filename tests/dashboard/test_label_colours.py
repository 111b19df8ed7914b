"""Labels are told apart by colours, the same on every page of their model."""

import re
from html import unescape

from hypothesis import given
from hypothesis import strategies as st

from dashboard.label_colours import SERIES, LabelColours
from inference_store.contract.enums import TaskType
from tests.dashboard.conftest import box, store_seen
from tests.making import make_model, make_request, store

# By their hash alone, kestrel and plover share a colour, and so do gull and owl.
BIRDS = ["kestrel", "plover", "heron", "owl", "gull", "crane"]
WORDS = st.lists(st.text(max_size=8), min_size=1, max_size=30, unique=True)


@given(WORDS, st.randoms())
def test_the_first_labels_share_no_colour(labels, random):
    colours = LabelColours(labels)
    first = labels[:SERIES]
    assert len({colours[label] for label in first}) == len(first)
    assert {colours[label] for label in [*labels, "another"]} <= set(range(1, SERIES + 1))
    random.shuffle(first)
    assert [LabelColours(first)[label] for label in labels] == [colours[label] for label in labels]


def test_these_would_share_one():
    alone = [LabelColours([label])[label] for label in BIRDS]
    assert len(set(alone)) < len(BIRDS)


def colours_on(html, pattern):
    return {unescape(label): int(series) for series, label in re.findall(pattern, html, re.DOTALL)}


def test_every_page_has_the_same(page, detector):
    store_seen(detector, "one", entries=[box(label, 0.9) for label in BIRDS[:3]])
    store_seen(detector, "two", entries=[box(label, 0.5) for label in BIRDS[3:]])
    cards = page("/models/detector/").content.decode()
    found = colours_on(cards, r'class="label series-(\d)"><span class="label-name" dir="auto">([^<]+)<')
    assert sorted(found) == sorted(BIRDS)
    assert len(set(found.values())) == len(BIRDS)
    drawn = [int(series) for series in re.findall(r'class="shape series-(\d)"', cards)]
    assert sorted(drawn) == sorted(found.values())
    panel = colours_on(
        cards, r'class="dot series-(\d)"></span><span class="choice-words" dir="auto">([^<]+)<'
    )
    rows = page("/models/detector/?view=rows").content.decode()
    entries = colours_on(rows, r'class="dot series-(\d)"></span><span class="label-name" [^>]*>([^<]+)<')
    chart = page("/models/detector/charts/one?chart=label").content.decode()
    bars = {
        unescape(label): int(series)
        for label, series in re.findall(r'dir="auto">([^<]+)</a><svg.*?class="bar series-(\d)"', chart)
    }
    assert panel == entries == bars == found
    shapes = page("/models/detector/inferences/one/").content.decode()
    of_one = {label: found[label] for label in BIRDS[:3]}
    assert sorted(of_one.values()) == sorted(map(int, re.findall(r'class="shape series-(\d)"', shapes)))


def test_what_other_models_said_is_in_this_models_colours(page, detector):
    store_seen(detector, "one", entries=[box(label) for label in BIRDS], data_hash="cd" * 32)
    other = make_model("other", task=TaskType.OBJECT_DETECTION, project=detector.project)
    store(other, make_request(other, "same", entries=[box("plover"), box("owl")], data_hash="cd" * 32))
    html = page("/models/detector/inferences/one/").content.decode()
    beside = html[html.index("Other models on this input") :]
    found = colours_on(beside, r'class="label series-(\d)"><span class="label-name" dir="auto">([^<]+)<')
    assert found == {label: LabelColours(BIRDS)[label] for label in ("plover", "owl")}
