"""What an inference's page says of its result, its neighbours, and other models on the same input."""

import html
import re
import shlex

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.http import urlencode

from inference_store.contract.enums import TaskType
from tests.dashboard.conftest import box, picture_bytes, store_seen
from tests.making import make_model, make_project, make_request, make_upload, make_user, store

URL = "/models/detector/inferences/one/"


def links(text, kind):
    return [html.unescape(each) for each in re.findall(rf'<a [^>]*href="([^"]*)" rel="{kind}"', text)]


# --- The result ---------------------------------------------------------------------------------------------
def test_previous_and_next_stay_in_the_result(page, detector):
    for number in range(6):
        store_seen(detector, f"i-{number}", entries=[box("owl" if number % 2 else "kestrel", number / 10)])
    query = "label=owl&sort=score&direction=asc"
    listed = page(f"/models/detector/?{query}").content.decode()
    first = html.unescape(re.search(r'href="(/models/detector/inferences/[^"]+)"', listed).group(1))
    assert first == f"/models/detector/inferences/i-1/?{query}"
    seen, address = ["i-1"], first
    while onward := links(page(address).content.decode(), "next"):
        (address,) = onward
        seen.append(address.split("/")[4])
    assert seen == ["i-1", "i-3", "i-5"]
    text = page(address).content.decode()
    assert links(text, "prev") == [f"/models/detector/inferences/i-3/?{query}"]
    assert html.unescape(re.search(r'href="([^"]+)" data-up', text).group(1)) == f"/models/detector/?{query}"


def test_without_a_query_the_newest_come_first(page, detector):
    for name in ("old", "one", "new"):
        store_seen(detector, name)
    text = page(URL).content.decode()
    assert links(text, "prev") == ["/models/detector/inferences/new/"]
    assert links(text, "next") == ["/models/detector/inferences/old/"]


@pytest.mark.parametrize("query", ["minimum_score=high", "nonsense=1", "sort=embedding_distance"])
def test_a_result_that_cant_be_read_leads_nowhere(query, page, detector):
    store_seen(detector, "one")
    store_seen(detector, "two")
    text = page(f"{URL}?{query}").content.decode()
    assert links(text, "next") == links(text, "prev") == []


def test_a_page_of_a_list_does_not_follow(page, detector):
    store_seen(detector, "one")
    assert "cursor=" not in page(f"{URL}?label=kestrel&cursor=xyz").content.decode()


# --- Neighbours ---------------------------------------------------------------------------------------------
@pytest.fixture
def embedder(detector):
    model = make_model("embedder", task=TaskType.IMAGE_EMBEDDING, embedding_size=2, project=detector.project)
    for number in range(20):
        key = make_upload(model, picture_bytes())
        store(model, make_request(model, f"v-{number:02}", embedding=[1.0, number / 10], key=key))
    return model


NEAR = "/models/embedder/inferences/v-00/neighbours"


def test_the_nearest_twelve_without_itself(page, embedder):
    text = page(NEAR, headers={"HX-Request": "true"}).content.decode()
    assert re.findall(r'href="/models/embedder/inferences/(v-\d\d)/"', text) == [
        f"v-{n:02}" for n in range(1, 13)
    ]
    assert "<html" not in text
    assert ">0.0050<" in text
    assert "<html" in page(NEAR).content.decode()


def test_neighbours_cost_the_same_queries_however_many(page, embedder):
    def queries(inference_id):
        with CaptureQueriesContext(connection) as captured:
            assert page(f"/models/{inference_id}/neighbours").status_code == 200
        return len(captured)

    few = make_model("few", task=TaskType.IMAGE_EMBEDDING, embedding_size=2, project=embedder.project)
    for number in range(3):
        store(
            few,
            make_request(few, f"f-{number}", embedding=[1.0, number], key=make_upload(few, picture_bytes())),
        )
    for each in ("few/inferences/f-0", "embedder/inferences/v-00"):
        queries(each)
    assert queries("few/inferences/f-0") == queries("embedder/inferences/v-00")


def test_without_embeddings_there_are_no_neighbours(page, detector, embedder):
    store_seen(detector, "one")
    assert page(f"{URL}neighbours").status_code == 404
    assert "Nearest by embedding" not in page(URL).content.decode()
    bare = make_model("bare", embedding_size=2, project=detector.project)
    store(bare, make_request(bare, "one"))
    assert "came without an embedding" in page("/models/bare/inferences/one/neighbours").content.decode()


def test_neighbours_are_for_members(client, embedder):
    assert client.get(NEAR)["HX-Refresh"] == "true"
    client.force_login(make_user("mallory"))
    assert client.get(NEAR).status_code == 404


# --- The same input -----------------------------------------------------------------------------------------
def test_other_models_on_the_same_input_as_far_as_one_may_see(page, detector, carol):
    store_seen(detector, "one")
    store_seen(detector, "mine-too")
    other = make_model("second-opinion", project=make_project("more-birds", viewer=carol))
    store(other, make_request(other, "seen", entries=[{"label": "falcon", "score": 0.7}]))
    store(other, make_request(other, "elsewhere", data_hash="cd" * 32))
    hidden = make_model("hidden-opinion")
    store(hidden, make_request(hidden, "unseen"))
    text = page(URL).content.decode()
    part = text[text.index("Other models on this input") :].split("</section>")[0]
    assert re.findall(r'href="(/models/[^"]+)"', part) == ["/models/second-opinion/inferences/seen/"]
    assert "falcon" in part
    assert "hidden-opinion" not in text


def test_as_many_models_as_there_are_cost_the_same(page, detector):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            assert page(URL).status_code == 200
        return len(captured)

    def another():
        model = make_model(project=detector.project)
        store(
            model,
            *(make_request(model, f"{n}", entries=[{"label": f"l-{n}", "score": 0.5}]) for n in range(5)),
        )

    store_seen(detector, "one", entries=[box() for _ in range(2)])
    store_seen(detector, "newer")
    another()
    queries()
    two = queries()
    for number in range(4):
        another()
        store_seen(detector, f"newer-{number}")
    assert queries() == two
    assert "The newest only" in page(URL).content.decode()


# --- Code ---------------------------------------------------------------------------------------------------
def test_code_to_fetch_it_quotes_what_it_holds(page, detector):
    name = 'it\'s $(here) [1] "x" & <b>'
    store_seen(detector, name)
    (address,) = re.findall(
        r'href="(/models/detector/inferences/[^"?]+)"', page("/models/detector/").content.decode()
    )
    text = page(html.unescape(address)).content.decode()
    sdk, curl = (
        html.unescape(re.search(rf'id="fetch-{kind}"[^>]*><code>(.*?)</code>', text, re.DOTALL).group(1))
        for kind in ("sdk", "curl")
    )
    calls = []
    scope = {
        "istore": type(
            "Store", (), {"connect": calls.append, "get_inference": lambda *a, **k: calls.append((a, k))}
        )
    }
    exec(sdk.split("\n\n", 1)[1].replace("base_url=", ""), scope)
    assert calls == ["http://testserver", (("detector", name), {"presign": True})]
    words = shlex.split(curl.replace("\\\n", ""))
    assert words[:2] == ["curl", "-H"]
    quoted = urlencode({"": name}).removeprefix("=").replace("+", "%20")
    assert words[3].startswith("http://testserver/api/inference-store/v1/models/detector/inferences/it")
    assert " " not in words[3]
    assert words[3].endswith("?presign=true")
    assert quoted.startswith("it")
