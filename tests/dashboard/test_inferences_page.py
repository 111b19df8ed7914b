"""A model's inferences under a filter whose whole state is the URL."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.dashboard.conftest import box, store_seen
from tests.making import LONG_AGO, make_request, store

URL = "/models/detector/"


def ids(response):
    """The inferences of the page, in its order."""
    return re.findall(r'/inferences/([^/"]+)/(?:\?[^"]*)?">', response.content.decode())


def some(model, count, start=0):
    for number in range(start, start + count):
        store_seen(
            model,
            f"i-{number:02}",
            entries=[box("kestrel" if number % 2 else "owl", number / 100)],
            metadata=[("run", "int", str(number)), ("w:x", "string", "y")],
            source=f"cam-{number % 3}",
            created_at=LONG_AGO + timedelta(hours=number),
        )


END = "2026-01-01T12:00:00.999999Z"


def test_the_form_keeps_the_fraction_that_it_does_not_show(page, detector):
    store_seen(detector, "i", created_at=LONG_AGO + timedelta(seconds=0.5))
    assert ids(page(URL, {"end": END})) == ["i"]
    form = page(URL, {"end": END}).content.decode().partition('id="filter"')[2].partition("</form>")[0]
    shown = re.findall(r'name="((?:end|start)\w*)" value="([^"]*)"', form)
    assert dict(shown) == {"start": "", "end_given": END, "end": "2026-01-01T12:00:00"}
    sent = page(URL, {**dict(shown), "direction": "asc"})
    assert sent.status_code == 302
    assert ids(page(sent["Location"])) == ["i"]
    assert "given" not in sent["Location"]


@pytest.mark.parametrize("end", ["2026-01-01T12:00:01", "2026-01-01T11:59", "", "soon"])
def test_a_time_that_was_changed_is_the_new_one(end, page, detector):
    sent = page(URL, {"end": end, "end_given": END})
    assert sent["Location"] == URL + (f"?end={end.replace(':', '%3A')}" if end else "")


def test_a_card_shows_the_score_that_was_asked_for(page, detector):
    entries = [box("owl", 0.9), box("owl", 0.4), box("kestrel", 0.35), box("heron", 0.95), box("crane", None)]
    store_seen(detector, "one", entries=entries)

    def scores(query=""):
        html = page(f"{URL}?{query}").content.decode()
        found = re.findall(
            r'class="label-name" [^>]*>([^<]+)<.*?(?:class="label-score"([^>]*)>([^<]*)<|</li>)', html
        )
        return [(label, score, re.sub(r"[^\d.]", "", title)) for label, title, score in found]

    assert scores() == [("heron", "0.95", ""), ("owl", "0.90", ""), ("kestrel", "0.35", "")]
    asked = [("owl", "0.40", "0.90"), ("kestrel", "0.35", ""), ("heron", "0.95", "")]
    assert scores("maximum_score=0.5") == asked
    assert scores("maximum_score=0.5&view=table") == asked
    assert scores("label=kestrel")[0] == ("kestrel", "0.35", "")
    assert scores("label=crane")[0] == ("crane", "", "")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("minimum_score=0.8&maximum_score=0.25", "The lowest score, 0.8, is above the highest, 0.25."),
        ("start=2026-02-01T00:00&end=2026-01-01T00:00", "The time ends before it begins."),
        ("minimum_score=0.8&maximum_score=0.8&start=2026-02-01T00:00&end=2026-02-01T00:00", None),
    ],
)
def test_bounds_that_exclude_each_other_are_told(query, said, page, detector):
    some(detector, 2)
    html = page(f"{URL}?{query}").content.decode()
    assert "The filter excludes all 2 inferences" in html
    told = re.findall(r"<p>(The [^<]*)</p>", html)
    assert told == ([said] if said else [])


def test_newest_first_with_their_count(page, detector):
    some(detector, 3)
    response = page(URL)
    assert ids(response) == ["i-02", "i-01", "i-00"]
    assert b"<strong>3</strong> inferences" in response.content


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("label=owl", ["i-04", "i-02", "i-00"]),
        ("label=owl&minimum_score=0.02", ["i-04", "i-02"]),
        ("metadata=run:int:>=:3", ["i-04", "i-03"]),
        ("data_source=cam-1&direction=asc", ["i-01", "i-04"]),
        ("start=2026-01-01T14:00&end=2026-01-01T15:00", ["i-03", "i-02"]),
        ("sort=score", ["i-04", "i-03", "i-02", "i-01", "i-00"]),
        ("sort=label&direction=asc", ["i-01", "i-03", "i-00", "i-02", "i-04"]),
    ],
)
@pytest.mark.parametrize("view", ["", "&view=table"])
def test_it_filters_and_sorts(query, expected, view, page, detector):
    some(detector, 5)
    assert ids(page(f"{URL}?{query}{view}")) == expected


def test_pages_follow_each_other(page, detector):
    some(detector, 7)
    seen, address = [], f"{URL}?limit=3"
    while address:
        response = page(address)
        seen += ids(response)
        onward = re.search(r'href="(\?[^"]+)" rel="next"', response.content.decode())
        address = onward and URL + onward[1].replace("&amp;", "&")
    assert seen == [f"i-{number:02}" for number in range(6, -1, -1)]


def test_chips_lead_out_one_by_one(page, detector):
    some(detector, 2)
    text = page(f"{URL}?label=owl&minimum_score=0").content.decode()
    assert 'href="?minimum_score=0"' in text
    assert 'href="?label=owl"' in text


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("minimum_score=high&label=owl", 'id="minimum_score-error"'),
        ("metadata=run", 'id="metadata-error"'),
        ("circle=1,2", 'id="circle-error"'),
        ("lable=owl", "there is no such parameter"),
        ("sort=embedding_distance", "needs embedding_filters"),
        ("cursor=made-up", "is not a cursor"),
        ("limit=0", "at least 1"),
    ],
)
def test_a_wrong_filter_is_400_beside_its_field_and_lists_nothing(query, message, page, detector):
    some(detector, 2)
    response = page(f"{URL}?{query}")
    assert response.status_code == 400
    assert message in response.content.decode()
    assert ids(response) == []


@pytest.mark.parametrize(
    ("query", "canonical"),
    [
        ("label=&start=&minimum_score=0.5", "minimum_score=0.5"),
        ("label=&metadata_key=&metadata_operator=%3E", ""),
        (
            "metadata=a%3Aint%3A%3D%3A1&metadata_key=b&metadata_type=float&metadata_operator=%3E&metadata_value=2",
            "metadata=a%3Aint%3A%3D%3A1&metadata=b%3Afloat%3A%3E%3A2",
        ),
        # The type that the model's own values have; a key with ':' in quotes; a path goes by its value.
        ("metadata_key=run&metadata_value=7", "metadata=run%3Aint%3A%3D%3A7"),
        ("metadata_key=w%3Ax&metadata_value=y", "metadata=%22w%3Ax%22%3Astring%3A%3D%3Ay"),
        ("metadata_key=weather.temp&metadata_value=7", "metadata=weather.temp%3Ajson.float%3A%3D%3A7"),
    ],
)
def test_the_form_leads_to_the_canonical_url(query, canonical, page, detector):
    store(
        detector,
        make_request(
            detector,
            "typed",
            metadata=[("run", "int", "7"), ("w:x", "string", "y"), ("weather", "json", '{"temp": 7}')],
        ),
    )
    response = page(f"{URL}?{query}")
    assert response.status_code == 302
    assert response["Location"] == (f"{URL}?{canonical}" if canonical else URL)
    assert page(response["Location"]).status_code == 200


def test_an_empty_model_shows_how_to_send(page, detector):
    text = page(URL).content.decode()
    assert "Nothing is stored yet" in text
    assert "istore.create_inference_storage_request(" in text
    assert "&#x27;detector&#x27;" in text


def test_a_filter_that_excludes_all_says_how_many(page, detector):
    some(detector, 3)
    text = page(f"{URL}?label=eagle").content.decode()
    assert "The filter excludes all 3 inferences" in text


@pytest.mark.parametrize("view", ["thumbnails", "table", "rows"])
def test_twenty_rows_cost_the_queries_of_two(view, page, detector):
    address = f"{URL}?view={view}"

    def queries():
        page(address)
        with CaptureQueriesContext(connection) as captured:
            assert page(address).status_code == 200
        return len(captured)

    some(detector, 2)
    two = queries()
    some(detector, 18, start=2)
    assert queries() == two


def test_a_slow_count_leaves_the_results(page, detector, monkeypatch):
    some(detector, 2)

    def slow(*args, **more):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(5)")

    monkeypatch.setattr("dashboard.counting.count_inferences", slow)
    response = page(f"{URL}?limit=1")
    assert ids(response) == ["i-01"]
    assert "at least 1 inference" in response.content.decode()
    asked = re.search(r'hx-get="([^"]+/count[^"]*)"', response.content.decode())[1].replace("&amp;", "&")
    monkeypatch.setattr("dashboard.counting.PATIENCE_MS", 50)
    counted = page(asked, headers={"HX-Request": "true"}).content.decode()
    assert "<strong>2</strong> inferences" in counted
    monkeypatch.setattr("dashboard.counting.MOST_COUNTED", 1)
    assert "more than <strong>1</strong>" in page(asked, headers={"HX-Request": "true"}).content.decode()
    monkeypatch.setattr("dashboard.counting.count_up_to", slow)
    monkeypatch.setattr("dashboard.counting.BOUND_MS", 50)
    assert "counting took too long" in page(asked, headers={"HX-Request": "true"}).content.decode()


def test_a_count_is_a_page_where_no_script_asks_for_it(page, detector, client):
    some(detector, 2)
    text = page(f"{URL}count?label=owl").content.decode()
    assert "<strong>1</strong> inference matches" in text
    assert f'href="{URL}?label=owl"' in text
    client.logout()
    assert page(f"{URL}count").status_code == 302
    assert page(f"{URL}count", headers={"HX-Request": "true"})["HX-Refresh"] == "true"


def test_columns_are_the_readers_choice(page, detector):
    some(detector, 1)
    text = page(f"{URL}?view=table&columns=w%3Ax").content.decode()
    assert headings(text)[-1] == "w:x"
    assert "run" not in headings(text)


def headings(text):
    return re.findall(r'<th scope="col"[^>]*>([^<]+)</th>', text)


def test_facts_are_columns_too_and_can_all_be_taken_away(page, detector):
    some(detector, 1)
    assert headings(page(f"{URL}?view=table").content.decode()) == [
        "Inference", "Created (UTC)", "Labels", "Entries", "Source", "Place", "run", "w:x",
    ]  # fmt: skip
    text = page(f"{URL}?view=table&fields=inference_id&fields=data_hash").content.decode()
    assert headings(text) == ["Inference", "Data hash"]
    assert headings(page(f"{URL}?view=table&fields=inference_id").content.decode()) == ["Inference"]


def test_a_path_into_json_is_a_column(page, detector):
    weather = '{"wind": {"kn": [3, 12.5]}, "sky": "<b>clear"}'
    store(detector, make_request(detector, "one", metadata=[("weather", "json", weather)]))
    text = page(f"{URL}?view=table&columns=weather.wind.kn.1&columns=weather.sky&columns=weather.no").content
    assert headings(text.decode())[-3:] == ["weather.wind.kn.1", "weather.sky", "weather.no"]
    cells = re.findall(r'<td class="cell" dir="auto">([^<]*)</td>', text.decode())
    assert cells[-3:] == ["12.5", "&lt;b&gt;clear", ""]


def test_pages_can_be_turned_back(page, detector):
    some(detector, 8)

    def turn(response, way):
        found = re.search(rf'href="(\?[^"]+)" rel="{way}"', response.content.decode())
        return found and page(URL + found[1].replace("&amp;", "&"))

    for query in ("limit=3", "limit=3&view=table&sort=score", "limit=3&sort=label&direction=asc"):
        pages = [page(f"{URL}?{query}")]
        while (following := turn(pages[-1], "next")) is not None:
            pages.append(following)
        assert [len(ids(each)) for each in pages] == [3, 3, 2]
        back = pages[-1]
        for earlier in reversed(pages[:-1]):
            back = turn(back, "prev")
            assert ids(back) == ids(earlier)
        assert turn(back, "prev") is None


def test_a_swap_answers_with_the_results_alone(page, detector):
    some(detector, 2)
    whole, part = page(URL), page(URL, headers={"HX-Request": "true"})
    assert part.content.decode().lstrip().startswith('<div class="explore" id="explore"')
    assert ids(part) == ids(whole) == ["i-01", "i-00"]
    assert "HX-Request" in whole["Vary"]
    gone_back = {"HX-Request": "true", "HX-History-Restore-Request": "true"}
    assert b"<!doctype html>" in page(URL, headers=gone_back).content


def test_a_page_is_light_whatever_it_shows(page, detector):
    """48 pictures with 500 boxes, labels and keys of 512 characters each, four bytes a character."""
    for number in range(48):
        entries = [box(chr(0x1F600 + number) * 509 + f"{each % 3:03}", each / 500) for each in range(500)]
        store_seen(
            detector,
            f"{number:02}" + "i" * 200,
            entries=entries,
            source="\u202e" + "س" * 500,
            metadata=[(f"{number:03}" + "k" * 500, "string", "v" * 5_000)],
        )
    for view in ("thumbnails", "table", "rows", "map"):
        response = page(f"{URL}?view={view}")
        assert response.status_code == 200
        assert len(response.content) < 300_000, view


@pytest.mark.parametrize("query", ["view=globe", "similar_to=i-00", "metric=manhattan"])
def test_what_a_page_reads_itself_is_checked_too(query, page, detector):
    some(detector, 1)
    response = page(f"{URL}?{query}")
    assert response.status_code == 400
    assert ids(response) == []
    assert query.split("=")[0] in response.content.decode()


def test_results_that_take_too_long_say_so(page, detector, monkeypatch):
    some(detector, 2)

    def slow(*args):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(5)")

    monkeypatch.setattr("dashboard.results.inference_page", slow)
    monkeypatch.setattr("dashboard.results.PAGE_MS", 50)
    response = page(URL)
    assert response.status_code == 200
    assert "This took too long" in response.content.decode()
    assert ids(response) == []
    assert 'aria-label="Filter"' in response.content.decode()


def test_a_key_is_told_as_it_was_given(page, detector):
    text = page(URL, {"metadata": "faces:int:=:abc"}).content.decode()
    error = re.search(r'id="metadata-error">([^<]+)<', text)[1]
    assert error.startswith("faces:int:=:abc")
