"""Keys and labels that look like lookups, SQL, paths or markup: taken as they are, to the archive."""

import json
import zipfile
from urllib.parse import quote, urlencode

import pytest
from django.db import connection
from django.test import Client

from inference_store import blobs
from inference_store.models import Export, Inference
from inference_store.services import exporting
from tests.archive.test_tables import rows_of
from tests.cast import request_of

ONE = "models/detector/inferences"
NAMES = [
    *("'", '"', "''", "`", "\\", "\\'", "%", "%s", "%(key)s", "%%", "a%20b", "_", "__"),
    *("a__gt", "registered_model__project__name", "user__password", "pk__in", "inference_id", "id", "data"),
    *("a.b", "a\\.b", ".", "..", "$.a", "$", "a->b", "a->>'b'", "a ? b", "a @> b", "{a}", "[0]", "a::int"),
    *("'; drop table inference_store_inference; --", "1 or 1=1", "/*", "--", ");", "\\x00", "\\u0041"),
    *(
        "{{ 7 * 7 }}",
        "{% now %}",
        "${7*7}",
        "<b>",
        "</script>",
        "a&b",
        "a=b",
        "a:b",
        '"a":b',
        "a,b",
        "#",
        "?",
    ),
    *(
        "😀",
        "é",
        "e\u0301",
        "\u202e",
        "\u200b",
        "İ",
        "ﬀ",
        " ",
        " a ",
        "\t",
        "\n",
        "a\r\nb",
        "null",
        "true",
        "x" * 512,
    ),
]
INT, TEXT = "int", "string"


def id_of(number):
    return f"i-{number:03}"


@pytest.fixture
def named(cast, detector):
    """An inference for each name: a label, a key of a number, and a key of a text, which is the name too."""
    sent = [
        request_of(
            id_of(number),
            data={"object_detection": [{"label": name, "score": 0.5}]},
            standard={"data_source": name},
            extended=[
                {"key": name, "type": INT, "value": str(number)},
                {"key": f"{name}!"[-512:], "type": TEXT, "value": name},
            ],
        )
        for number, name in enumerate(NAMES)
    ]
    answer = cast.bob.post("models/detector/bulk-create", sent)
    assert answer.status_code in (200, 201), answer.content
    return cast


def found(cast, filters):
    answer = cast.carol.post("models/detector/search", {"filters": filters, "pagination": {"limit": 1000}})
    assert answer.status_code == 200, (filters, answer.content)
    return [each["inference_id"] for each in answer.json()["inferences"]]


def metadata(key, type_, operator, value):
    return {"metadata_filter": [{"key": key, "type": type_, "operator": operator, "value": value}]}


def test_no_two_names_are_one():
    assert len(set(NAMES)) == len(NAMES)


def test_filters_take_them_literally(named):
    for number, name in enumerate(NAMES):
        only = [id_of(number)]
        assert found(named, metadata(name, INT, ">=", "0")) == only, name
        assert found(named, metadata(name, INT, "in", f"[{number}]")) == only, name
        text_key = f"{name}!"[-512:]
        assert found(named, metadata(text_key, TEXT, "=", name)) == only, name
        listed = f"[{json.dumps(name)}, other]"
        assert found(named, metadata(text_key, TEXT, "in", listed)) == only, name
        assert found(named, {"deconstructed_inference_filter": {"labels": [name]}}) == only, name
        assert found(named, {"data_source_filter": name}) == only, name
    assert Inference.objects.count() == len(NAMES)


def test_statistics_and_keys_take_them_literally(named):
    counts = named.carol.get("models/detector/metadata-keys").json()["counts"]
    for number, name in enumerate(NAMES):
        assert counts[name].get(INT) == 1, name
        asked = {"key": name, "type": INT, "distribution_bin_count": 1}
        told = named.carol.post("models/detector/metadata-statistics", asked).json()
        assert (told["count"], told["min"], told["max"]) == (1, number, number), name
        asked = {"key": f"{name}!"[-512:], "type": TEXT}
        told = named.carol.post("models/detector/metadata-statistics", asked).json()
        assert told["distribution"] == {name: 1}, name


def test_addresses_take_them_literally(named):
    """Those of lists, and of one key that is removed."""
    for number, name in list(enumerate(NAMES))[::2]:
        for query in ({"label": name}, {"data_source": name}):
            told = named.carol.get(f"{ONE}?{urlencode(query)}").json()["inferences"]
            assert [each["inference_id"] for each in told] == [id_of(number)], query
        spelt = json.dumps(name) if ":" in name or name.startswith('"') else name
        told = named.carol.get(f"{ONE}?{urlencode({'metadata': f'{spelt}:int:=:{number}'})}")
        assert [each["inference_id"] for each in told.json()["inferences"]] == [id_of(number)], name
        gone = named.bob.delete(f"{ONE}/{id_of(number)}/metadata?key={quote(name, safe='')}")
        assert gone.status_code == 200, name
    left = set(named.carol.get("models/detector/metadata-keys").json()["counts"])
    assert left.isdisjoint(set(NAMES[::2]) - {f"{name}!" for name in NAMES})
    assert left >= set(NAMES[1::2])


def test_pages_take_them_literally(named):
    browser = Client()
    browser.force_login(named.users["alice"])
    for number, name in list(enumerate(NAMES))[::2]:
        page = browser.get("/models/detector/", {"label": name, "view": "table"})
        assert page.status_code == 200, name
        assert f"/inferences/{id_of(number)}/" in page.content.decode(), name
        assert "/inferences/i-" in page.content.decode()
        assert page.content.decode().count(f"/inferences/{id_of((number + 1) % len(NAMES))}/") == 0, name
    for name in NAMES[1::8]:
        for path in ("charts/", "count", "code", "suggestions?field=label&label="):
            joint = "" if "?" in path else "?"
            query = quote(name) if "?" in path else urlencode({"label": name, "key": name})
            answer = browser.get(f"/models/detector/{path}{joint}{query}", follow=True)
            assert answer.status_code in (200, 400), (path, name)
        # There are charts of those keys alone that are offered.
        chart = browser.get("/models/detector/charts/one", {"chart": "metadata", "key": name, "type": INT})
        assert chart.status_code in (200, 400, 404), name
    for number in range(0, len(NAMES), 8):
        assert browser.get(f"/models/detector/inferences/{id_of(number)}/").status_code == 200
    form = {"key": "user__password", "type": TEXT, "value": "%(a)s"}
    assert browser.post(f"/models/detector/inferences/{id_of(0)}/metadata", form).status_code == 302
    assert found(named, metadata("user__password", TEXT, "=", "%(a)s")) == [id_of(0)]


@pytest.mark.django_db(transaction=True)
def test_exports_take_them_literally(named):
    for format_ in ("csv", "jsonl", "coco"):
        check_export(named, format_)


def check_export(named, format_):
    asked = {"format": format_, "filters": {"deconstructed_inference_filter": {"labels": NAMES}}}
    made = named.carol.post("models/detector/export-tasks", asked).json()
    exporting.run(made["id"])
    export = Export.objects.get(pk=made["id"])
    assert export.state == "complete", export.error
    with blobs.open_blob(export.archive_key) as file:
        members = {each.filename: zipfile.ZipFile(file).read(each) for each in zipfile.ZipFile(file).filelist}
    if format_ == "csv":
        rows = rows_of(next(content for name, content in members.items() if name.endswith(".csv")))
        assert [row["inference_id"] for row in rows] == [id_of(number) for number in range(len(NAMES))]
        assert [json.loads(row["entries"])[0]["label"] for row in rows] == NAMES
    elif format_ == "jsonl":
        lines = next(content for name, content in members.items() if name.endswith(".jsonl")).splitlines()
        told = [json.loads(line) for line in lines]
        assert [each["entries"][0]["label"] for each in told] == NAMES
        keys = [{item["key"] for item in each["metadata"]} for each in told]
        assert all(name in held for name, held in zip(NAMES, keys, strict=True))
    else:
        told = json.loads(next(content for name, content in members.items() if name.endswith(".json")))
        assert {each["name"] for each in told["categories"]} == set(NAMES)


@pytest.mark.parametrize("length", [513, 10_000])
def test_names_that_are_too_long_are_refused(cast, detector, length):
    long = "x" * length
    places = {
        "data.object_detection.0.label": request_of(data={"object_detection": [{"label": long, "score": 1}]}),
        "data.metadata.extended_metadata.0.key": request_of(
            extended=[{"key": long, "type": TEXT, "value": "v"}]
        ),
        "data.metadata.standard_metadata.data_source": request_of(standard={"data_source": long}),
    }
    for name, body in places.items():
        answer = cast.bob.post(ONE, body)
        assert answer.status_code == 400
        assert name.startswith(next(iter(answer.json()["fields"])))
    asked = {"filters": metadata(long, TEXT, "=", "v")}
    assert cast.carol.post("models/detector/search", asked).status_code == 400
    assert not Inference.objects.exists()


def test_the_tables_are_there(db):
    """After all of it, in particular after `drop table`."""
    assert Inference._meta.db_table in connection.introspection.table_names()
