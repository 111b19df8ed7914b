"""What is suggested as one types, and which keys there are to filter by."""

import re

import pytest
from django.db import connection

from inference_store.query import suggestions
from tests.dashboard.conftest import box, store_seen
from tests.making import make_request, make_user, store

URL = "/models/detector/suggestions"
HTMX = {"HX-Request": "true"}


@pytest.fixture
def stored(detector):
    weather = '{"wind": {"kn": 12.5, "from.to": ["N", "E"]}, "sky": "<i>clear</i>", "wet": true}'
    for number in range(6):
        store_seen(
            detector,
            f"i-{number}",
            entries=[box("owl" if number % 2 else "osprey"), box("%_kestrel")],
            source=f"cam-{number % 3}",
            metadata=[
                ("site", "string", "north" if number < 4 else "no'rth <b>"),
                ("altitude", "float", str(number * 1.5)),
                ("weather", "json", weather),
            ],
        )


def options(response):
    return re.findall(r'<option value="([^"]*)" label="([^"]*)"', response.content.decode())


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("field=label&label=o", [("osprey", "3"), ("owl", "3")]),
        ("field=label&label=%25", [("%_kestrel", "6")]),
        ("field=label&label=_", []),
        ("field=data_source&data_source=cam", [("cam-0", "2"), ("cam-1", "2"), ("cam-2", "2")]),
        ("field=value&metadata_key=site&metadata_value=", [("north", "4"), ("no&#x27;rth &lt;b&gt;", "2")]),
        ("field=value&metadata_key=site&metadata_value=nor", [("north", "4")]),
        ("field=value&metadata_key=weather.sky&metadata_value=%3C", [("&lt;i&gt;clear&lt;/i&gt;", "6")]),
        ("field=value&metadata_key=nothing&metadata_value=x", []),
        ("field=value&metadata_key=a%00b", []),
        ("field=password&password=x", []),
        ("", []),
    ],
)
def test_values_that_begin_so(query, expected, page, stored):
    response = page(f"{URL}?{query}", headers=HTMX)
    assert response.status_code == 200
    assert options(response) == expected


def test_a_number_says_its_range(page, stored):
    text = page(f"{URL}?field=value&metadata_key=altitude", headers=HTMX).content.decode()
    assert "from 0 to 7.5" in text
    deep = page(f"{URL}?field=value&metadata_key=weather.wind.kn&metadata_value=1", headers=HTMX)
    assert "from 12.5 to 12.5" in deep.content.decode()


def test_values_that_take_too_long_are_counted_among_the_newest(page, stored, monkeypatch):
    original = suggestions.values_like

    def slow(*args, newest=False):
        if not newest:
            with connection.cursor() as cursor:
                cursor.execute("select pg_sleep(5)")
        return original(*args, newest=newest)

    monkeypatch.setattr(suggestions, "values_like", slow)
    monkeypatch.setattr("dashboard.suggest.SUGGEST_MS", 200)
    response = page(f"{URL}?field=value&metadata_key=site", headers=HTMX)
    assert options(response)[0] == ("north", "4")
    assert "among the newest 2,000" in response.content.decode()


def test_a_range_that_takes_too_long_is_that_of_the_newest(page, stored, monkeypatch):
    original = suggestions.range_of

    def slow(*args, newest=False):
        if not newest:
            with connection.cursor() as cursor:
                cursor.execute("select pg_sleep(5)")
        return original(*args, newest=newest)

    monkeypatch.setattr(suggestions, "range_of", slow)
    monkeypatch.setattr("dashboard.suggest.SUGGEST_MS", 200)
    text = page(f"{URL}?field=value&metadata_key=altitude", headers=HTMX).content.decode()
    assert "from 0 to 7.5 among the newest 2,000 inferences" in text


def test_suggestions_are_for_members(client, stored):
    assert client.get(f"{URL}?field=label", headers=HTMX)["HX-Refresh"] == "true"
    client.force_login(make_user("mallory"))
    assert client.get(f"{URL}?field=label", headers=HTMX).status_code == 404


def test_paths_into_json_are_keys_with_their_type(page, stored):
    text = page("/models/detector/").content.decode()
    keys = dict(re.findall(r'<option value="([^"]*)" label="[^"]*" data-type="([^"]*)"', text))
    assert keys["weather.wind.kn"] == "json.float"
    assert keys["weather.sky"] == "json.string"
    assert keys["weather.wind.from\\.to.0"] == "json.string"
    assert keys["altitude"] == "float"
    assert "weather.wet" not in keys


def test_paths_are_found_in_bounded_time(detector):
    deep = '{"a":' * 60 + "1" + "}" * 60
    wide = "{" + ",".join(f'"k{number}": {number}' for number in range(5_000)) + "}"
    for number in range(8):
        store(
            detector,
            make_request(detector, f"d-{number}", metadata=[("deep", "json", deep), ("wide", "json", wide)]),
        )
    found = suggestions.json_paths(detector)
    assert len(found) == suggestions.MOST_PATHS
    assert all(each.key.count(".") < suggestions.DEEPEST_PATH for each in found)


def test_a_path_that_is_offered_finds_what_it_was_found_in(page, stored):
    for key, value in (("weather.wind.from\\.to.0", "N"), ("weather.wind.kn", "12.5")):
        address = f"/models/detector/?metadata_key={key}&metadata_value={value}"
        response = page(page(address)["Location"])
        assert response.status_code == 200
        assert "<strong>6</strong> inferences" in response.content.decode()


def test_times_before_the_newest_inference(page, stored):
    text = page("/models/detector/?label=owl").content.decode()
    hour = re.search(r'id="preset-1" href="(\?label=owl&amp;start=[^"]+)"', text)[1].replace("&amp;", "&")
    narrowed = page(f"/models/detector/{hour}")
    assert "<strong>3</strong> inferences" in narrowed.content.decode()
    assert 'aria-current="true">last hour' in narrowed.content.decode()
