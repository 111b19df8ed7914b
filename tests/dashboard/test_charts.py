"""Charts beside the results: each bar leads to exactly what it counts."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext

from inference_store.contract.enums import TaskType
from inference_store.filtersets import InferenceFilterSet
from inference_store.query.charts import entries_under
from inference_store.query.pages import count_inferences
from tests.dashboard.conftest import box
from tests.making import LONG_AGO, make_model, make_request, store

URL = "/models/detector/"


def some(model, count, start=0):
    store(
        model,
        *(
            make_request(
                model,
                f"i-{number:02}",
                entries=[box("kestrel" if number % 3 else "owl", number / 40), box('it\'s "x" & <y>', 0.5)],
                metadata=[
                    ("run", "int", str(number)),
                    ("w:x", "string", f"v {number % 4}"),
                    ("depth", "float", str(number / 7)),
                ],
                source=f"cam-{number % 3}",
                created_at=LONG_AGO + timedelta(minutes=17 * number),
            )
            for number in range(start, start + count)
        ),
    )


def chart(page, name, query=""):
    response = page(f"{URL}charts/one", {"chart": name} | dict(QueryDict(query).lists()))
    assert response.status_code == 200
    return response.content.decode()


def bars(html):
    """The (query string, count) of each bar, as its table says them."""
    found = re.findall(
        r'<th scope="row"><a[^>]*href="[^"?]*\?([^"]*)".*?<td class="number">([\d,]+)</td>', html, re.DOTALL
    )
    return [(unescape(query), int(count.replace(",", ""))) for query, count in found]


def counted(model, query, of_entries):
    filterset = InferenceFilterSet(QueryDict(query))
    request = filterset.request_body()
    if of_entries:
        return entries_under(model, request.filters).count()
    return count_inferences(model, request)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "before", ["", "data_source=cam-1", "minimum_score=0.25&label=kestrel", "metadata=run:int:<:30"]
)
@pytest.mark.parametrize("name", ["time", "label", "score", "source", "int:run", "float:depth", "string:w:x"])
def test_each_bar_leads_to_what_it_counts(name, before, page, detector):
    some(detector, 45)
    found = bars(chart(page, name, before))
    of_entries = name in ("label", "score")
    assert found
    for query, count in found:
        assert count > 0
        if "is-chosen" not in chart(page, name, before):
            assert counted(detector, query, of_entries) == count
    if "is-chosen" not in chart(page, name, before):
        total = counted(detector, before, of_entries)
        assert sum(count for _, count in found) == total


@pytest.mark.django_db
def test_a_chosen_bar_leads_back(page, detector):
    some(detector, 9)
    html = chart(page, "label", "label=owl&view=table&cursor=x")
    assert bars(html) == [("view=table", 3)]
    assert 'aria-current="true"' in html


@pytest.mark.django_db
def test_a_range_can_be_taken_back(page, detector):
    some(detector, 9)
    html = chart(
        page, "int:run", "metadata=run:int:>=:3&metadata=run:int:<=:5&metadata=w:int:=:1&data_source=cam-0"
    )
    assert f'href="{URL}?metadata=w%3Aint%3A%3D%3A1&amp;data_source=cam-0">All' in html
    assert ">All<" not in chart(page, "int:run", "metadata=run:string:=:3")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "leads_to"),
    [
        ("chart=int:run&low=3&high=5", "metadata=run%3Aint%3A%3E%3D%3A3&metadata=run%3Aint%3A%3C%3D%3A5"),
        ("chart=int:run&low=&below=5&metadata=run:int:<:9", "metadata=run%3Aint%3A%3C%3A5"),
        ("chart=float:d&low=0.1&high=&view=table&cursor=c", "view=table&metadata=d%3Afloat%3A%3E%3D%3A0.1"),
        ("chart=score&low=0.1&high=0.2&minimum_score=0", "minimum_score=0.1&maximum_score=0.2"),
        ("chart=score&low=&below=0.5", "maximum_score=0.49999999999999994"),
        ("chart=time&low=2026-01-01T10:00&high=", "start=2026-01-01T10%3A00%3A00Z"),
        ("chart=time&low=&below=2026-01-01T10:00:00", "end=2026-01-01T09%3A59%3A59.999999Z"),
        ("chart=time&low=&high=&start=2026-01-01T10:00:00Z", ""),
    ],
)
def test_a_typed_range_narrows(query, leads_to, page, detector):
    response = page(f"{URL}charts/narrow?{query}")
    assert response.status_code == 302
    assert response["Location"] == (f"{URL}?{leads_to}" if leads_to else URL)


@pytest.mark.django_db
def test_a_text_that_no_address_holds_leads_nowhere(page, detector):
    long, short = "w" * 9_000, "w" * 3_000
    store(detector, *(make_request(detector, metadata=[("k", "string", each)]) for each in (long, short)))
    html = chart(page, "string:k")
    assert long in html
    assert [len(each) > 3_000 for each in re.findall(r'<a class="bar-link" href="([^"]*)"', html)] == [True]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("chart=int:run&low=x&high=", 400),
        ("chart=time&low=yesterday&high=", 400),
        ("chart=float:run&low=nan&high=", 400),
        ("chart=label&low=1&high=2", 404),
        ("chart=string:k&low=1&high=2", 404),
        ("low=1&high=2", 404),
    ],
)
def test_what_is_no_range(query, status, page, detector):
    assert page(f"{URL}charts/narrow?{query}").status_code == status


@pytest.mark.django_db
@pytest.mark.parametrize(
    "query", ["chart=none", "chart=json:k", "chart=int:", "", "chart=time&minimum_score=x", "chart=time&y=1"]
)
def test_what_is_no_chart(query, page, detector):
    assert page(f"{URL}charts/one?{query}").status_code == 404


@pytest.mark.django_db
def test_charts_are_of_the_keys_there_are_most_used_first(page, detector):
    some(detector, 3)
    store(detector, make_request(detector, metadata=[("run", "int", "1"), ("rare", "string", "a")]))
    text = page(URL).content.decode()
    names = [unescape(each) for each in re.findall(r"charts/one\?chart=([^&]+)&amp;", text)]
    assert names == ["time", "label", "score", "int%3Arun", "float%3Adepth", "string%3Aw%3Ax"]
    assert 'value="string:rare"' in text
    chosen = page(f"{URL}?charts=string:rare&charts=source&charts=nothing").content.decode()
    assert re.findall(r"charts/one\?chart=([^&]+)&amp;", chosen) == ["string%3Arare", "source"]


@pytest.mark.django_db
def test_a_model_without_entries_has_no_labels(page, detector, client):
    model = make_model("texts", task=TaskType.TEXT_EMBEDDING, embedding_size=2, project=detector.project)
    store(model, make_request(model, embedding=[1, 2]))
    text = page("/models/texts/").content.decode()
    assert re.findall(r"charts/one\?chart=([^&]+)&amp;", text) == ["time", "source"]


@pytest.mark.django_db
def test_the_page_of_all_charts_needs_no_script(page, detector):
    some(detector, 12)
    text = page(f"{URL}charts/?data_source=cam-1&bins=10").content.decode()
    assert text.count("data-chart ") + text.count("data-chart>") >= 6
    assert "hx-get" not in text
    assert f'href="{URL}?data_source=cam-1&amp;bins=10">Back to the results' in text
    wrong = page(f"{URL}charts/?minimum_score=x")
    assert (wrong.status_code, wrong["Location"]) == (302, f"{URL}?minimum_score=x")


@pytest.mark.django_db
def test_a_chart_that_takes_too_long_says_so(page, detector, monkeypatch):
    some(detector, 2)

    def slow(*args):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(5)")

    monkeypatch.setattr("dashboard.charts.charts.volume", slow)
    monkeypatch.setattr("dashboard.bounded.in_time.__defaults__", (50,))
    assert "Not counted within 2 seconds" in chart(page, "time")


@pytest.mark.django_db
def test_nothing_to_count(page, detector):
    some(detector, 2)
    for name in ("time", "label", "score", "source", "int:run", "float:no", "string:no"):
        assert "Nothing here has a value of it" in chart(page, name, "label=none")


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["time", "label", "score", "source", "int:run", "string:w:x"])
def test_twenty_rows_cost_the_queries_of_two(name, page, detector):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            chart(page, name)
        return len(captured)

    some(detector, 2)
    two = queries()
    some(detector, 18, start=2)
    assert queries() == two


@pytest.mark.django_db
def test_whole_numbers_beyond_what_filters_can_name(page, detector):
    store(
        detector,
        *(make_request(detector, metadata=[("k", "int", str(n))]) for n in (-(2**63), 2**63 - 1, 0)),
    )
    for query, count in bars(chart(page, "int:k")):
        assert counted(detector, query, False) == count
