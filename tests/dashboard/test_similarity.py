"""Search by similarity from the page, and a page as code."""

import html
import math
import os
import re
import shlex
import subprocess

import httpx
import pytest

import inference_store.client as istore
from inference_store.contract.enums import TaskType
from inference_store.models import QueryVector, Token
from inference_store.services import query_vectors
from tests.dashboard.conftest import box
from tests.making import LONG_AGO, make_model, make_request, make_user, store

URL = "/models/embedder/"


@pytest.fixture
def embedder(detector):
    """Ten vectors around a circle, 18 degrees apart, and one inference without."""
    model = make_model("embedder", task=TaskType.OBJECT_DETECTION, embedding_size=2, project=detector.project)
    for number in range(10):
        angle = math.radians(18 * number)
        store(
            model,
            make_request(
                model,
                f"v-{number}",
                embedding=[(number + 1) * math.cos(angle), (number + 1) * math.sin(angle)],
                entries=[box("owl" if number % 2 else 'it\'s "éé" \\ $x', number / 10)],
                metadata=[("note", "string", "a'b\"c"), ("n", "int", str(number))],
                created_at=LONG_AGO,
                place=(10.0, number),
            ),
        )
    store(model, make_request(model, "none", entries=[], created_at=LONG_AGO))
    return model


def ids(response):
    return re.findall(r'/inferences/([^/"]+)/(?:\?[^"]*)?">', response.content.decode())


def test_more_like_this_nearest_first(page, embedder):
    text = page(URL).content.decode()
    assert 'href="?similar_to=v-3"' in text
    response = page(f"{URL}?similar_to=v-3")
    assert ids(response)[0] == "v-3"
    assert set(ids(response)[1:3]) == {"v-2", "v-4"}
    assert len(ids(response)) == 10
    assert "like v-3" in response.content.decode()
    assert re.findall(r'badge on-tile distance"[^>]*>([^<]+)<', response.content.decode())[0] == "0.0000"
    assert ids(page(f"{URL}?similar_to=v-3&direction=desc"))[0] == "v-9"
    assert set(ids(page(f"{URL}?similar_to=v-3&label=owl"))[1:3]) == {"v-1", "v-5"}


def test_the_metric_can_be_chosen(page, embedder):
    assert ids(page(f"{URL}?similar_to=v-0&metric=l2"))[0] == "v-0"
    # The largest product with (1, 0), not the nearest direction.
    assert ids(page(f"{URL}?similar_to=v-0&metric=negative_dot_product"))[0] == "v-2"
    rows = page(f"{URL}?view=rows&similar_to=v-0").content.decode()
    assert "Distance" in rows


def test_pages_of_neighbours_follow_each_other(page, embedder):
    seen, address = [], f"{URL}?similar_to=v-0&limit=4"
    while address:
        response = page(address)
        seen += ids(response)
        onward = re.search(r'href="(\?[^"]+)" rel="next"', response.content.decode())
        address = onward and URL + onward[1].replace("&amp;", "&")
    assert seen == [f"v-{number}" for number in range(10)]


def test_a_pasted_vector_has_a_short_address(page, client, carol, embedder):
    for text in ("[1, 0]", "1 0", "1.0,\n0.0"):
        answer = client.post(f"{URL}vector", {"numbers": text, "query": "label=owl&sort=score&cursor=x"})
        assert answer.status_code == 302
        assert re.fullmatch(rf"{URL}\?label=owl&vector=[0-9a-f]{{32}}", answer["Location"])
    assert QueryVector.objects.count() == 1
    assert ids(page(answer["Location"]))[0] == "v-1"
    assert "like a pasted vector" in page(answer["Location"]).content.decode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "list should have at least 1 item"),
        ("1, two", "paste numbers"),
        ("1, nan", "number 2 "),
        ("1, 2, 3", "has 3 numbers"),
        ("1, 1e39", "number 2 "),
        ("9" * 500_001, "longer than 500,000"),
    ],
)
def test_what_is_no_vector_says_why(text, said, page, client, embedder):
    assert (
        client.post(f"{URL}vector", {"numbers": text, "query": "label=owl"})["Location"] == f"{URL}?label=owl"
    )
    assert said in page(URL).content.decode()
    assert not QueryVector.objects.exists()


def test_vectors_are_bounded_and_of_their_model(page, client, detector, embedder, monkeypatch):
    monkeypatch.setattr(query_vectors, "MOST_KEPT", 2)
    addresses = [client.post(f"{URL}vector", {"numbers": f"1 {number}"})["Location"] for number in range(3)]
    assert page(addresses[0]).status_code == 400
    assert "paste it again" in page(addresses[0]).content.decode()
    assert page(addresses[2]).status_code == 200
    assert page(addresses[2].replace("embedder", "detector")).status_code == 400
    client.force_login(make_user("mallory"))
    assert client.post(f"{URL}vector", {"numbers": "1 0"}).status_code == 404


@pytest.mark.parametrize(
    "query",
    ["similar_to=none", "similar_to=v-77", "similar_to=a%00b", "vector=abc", "similar_to=v-1&metric=taxi"],
)
def test_what_is_not_there_is_400_beside_its_field(query, page, embedder):
    response = page(f"{URL}?{query}")
    assert response.status_code == 400
    assert ids(response) == []
    assert 'class="field-error"' in response.content.decode()


# --- As code ------------------------------------------------------------------------------------------------
PAGES = [
    "",
    "label=owl&sort=score&limit=3",
    "label=it%27s+%22%C3%A9%C3%A9%22+%5C+%24x&minimum_score=0.1&direction=asc",
    "metadata=note:string:=:a%27b%22c&metadata=n:int:%3E:3&circle=10,4,300000",
    "start=2026-01-01T00:00&end=2026-02-01T00:00:00Z&rectangle=9,1,11,4",
    "similar_to=v-3&label=owl&limit=2",
    "view=rows&sort=label&direction=asc",
    "view=rows&minimum_score=0.5&sort=score",
    "vector={digest}&metric=l2&limit=5",
]


def codes(response):
    found = re.findall(r'<code id="(\w+)-code">(.*?)</code>', response.content.decode(), re.DOTALL)
    return {name: html.unescape(code) for name, code in found}


@pytest.mark.django_db(transaction=True)
def test_code_fetches_what_the_page_shows(client, carol, embedder, live_server, monkeypatch, capsys):
    """The Python and the curl that the page offers, run against the running server."""
    client.force_login(carol)
    monkeypatch.setenv("INFERENCE_STORE_TOKEN", Token.objects.issue(carol, "tests")[1])
    digest = client.post(f"{URL}vector", {"numbers": "3 1"})["Location"].rpartition("=")[2]
    host = live_server.url.removeprefix("http://")
    client.defaults["HTTP_HOST"] = host
    try:
        for query in PAGES:
            query = query.format(digest=digest)
            shown = ids(client.get(f"{URL}?{query}")) or entries(client.get(f"{URL}?{query}"))
            assert shown, query
            written = codes(client.get(f"{URL}code?{query}"))
            capsys.readouterr()
            exec(written["sdk"], {})
            printed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
            assert printed == shown, (query, written["sdk"])
            assert curled(written["curl"]) == shown, (query, written["curl"])
    finally:
        istore.disconnect()


def entries(response):
    return re.findall(r'<a class="mono break" href="[^"]+/inferences/([^/"]+)/"', response.content.decode())


def curled(command):
    """What the command would fetch, sent as a shell would send it."""
    split = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True, env=os.environ
    ).stdout.decode()
    assert shlex.split(command)[0] == "curl"
    words = split.split("\0")[:-1]
    address, body = words[2], words[words.index("-d") + 1]
    headers = dict(words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H")
    answer = httpx.post(address, content=body.encode(), headers=headers)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    rows = found.get("inferences") or [row["inference"] for row in found["granular_inferences"]]
    return [row["inference_id"] for row in rows]


def test_a_wrong_filter_has_no_code(page, client, embedder):
    response = page(f"{URL}code?minimum_score=high")
    assert response.status_code == 400
    assert not codes(response)
    client.force_login(make_user("mallory"))
    assert client.get(f"{URL}code").status_code == 404
