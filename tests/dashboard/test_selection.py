"""What is done with ticked inferences, or with all that match: exported, protected, deleted."""

import re

import pytest

from inference_store.contract.errors import Refusal
from inference_store.contract.filters import BaseInferenceFilter
from inference_store.models import Blob, Export, Inference, Role
from inference_store.services import deletion
from tests.dashboard.conftest import box, make_member, store_seen
from tests.making import make_user

SELECTION = "/models/detector/selection"
ROLES = {"viewer": Role.VIEWER, "editor": Role.EDITOR, "admin": Role.ADMIN}


@pytest.fixture
def six(detector):
    for number in range(6):
        store_seen(detector, f"i-{number}", entries=[box("owl" if number % 2 else "kestrel")])


@pytest.fixture
def as_(client, detector):
    """A client logged in as a member of that role."""

    def logged_in(role):
        client.force_login(make_member(detector, f"a-{role}", ROLES[role]))
        return client

    return logged_in


def left():
    return sorted(Inference.objects.values_list("inference_id", flat=True))


def said(client):
    text = client.get("/models/detector/").content.decode()
    return " ".join(re.findall(r'class="alert[^>]*>([^<]+)<', text))


def fields(response):
    """The hidden inputs of the confirmation."""
    text = response.content.decode()
    form = text[text.index('action="/models/detector/selection/delete"') :]
    found = {}
    for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form):
        found.setdefault(name, []).append(value.replace("&amp;", "&"))
    return found


@pytest.mark.parametrize(
    ("action", "least"), [("export", 0), ("delete", 1), ("protect", 2), ("unprotect", 2)]
)
def test_who_may_do_what(action, least, as_, six, client):
    for rank, role in enumerate(ROLES):
        response = as_(role).post(SELECTION, {"action": action, "id": "i-1"})
        assert (response.status_code == 403) == (rank < least), role
    if action == "delete":
        client.force_login(make_member(Inference.objects.first().registered_model, "other", Role.VIEWER))
        answer = client.post(f"{SELECTION}/delete", {"id": "i-1", "typed": "1"})
        assert answer.status_code == 403
    client.force_login(make_user("mallory"))
    assert client.post(SELECTION, {"action": action, "id": "i-1"}).status_code == 404
    assert client.post(f"{SELECTION}/delete", {"id": "i-1", "typed": "1"}).status_code == 404
    client.logout()
    assert client.post(SELECTION, {"action": action}).status_code == 302
    assert len(left()) == 6


def test_a_page_offers_what_one_may_do(as_, six):
    for role, words in (
        ("viewer", []),
        ("editor", ["delete"]),
        ("admin", ["protect", "unprotect", "delete"]),
    ):
        text = as_(role).get("/models/detector/").content.decode()
        assert re.findall(r'name="action" value="(\w+)"', text) == ["export", *words]


def test_ticked_ones_are_deleted_when_their_number_is_typed(as_, six, django_capture_on_commit_callbacks):
    client = as_("editor")
    asked = client.post(SELECTION, {"action": "delete", "id": ["i-1", "i-4", "i-4"], "query": "label=owl"})
    assert asked.status_code == 200
    assert left() == [f"i-{number}" for number in range(6)]
    form = fields(asked)
    assert form["id"] == ["i-1", "i-4"]
    wrong = client.post(f"{SELECTION}/delete", form | {"typed": "3"})
    assert wrong.status_code == 400
    assert "Type 2 to delete exactly these" in wrong.content.decode()
    assert len(left()) == 6
    with django_capture_on_commit_callbacks(execute=True):
        done = client.post(f"{SELECTION}/delete", form | {"typed": " 2 "})
    assert done["Location"] == "/models/detector/?label=owl"
    assert left() == ["i-0", "i-2", "i-3", "i-5"]
    assert Blob.objects.count() == 4
    assert "Deleted 2 inferences for good." in said(client)


def test_who_is_gone_meanwhile_is_not_named(as_, six):
    browser = as_("admin")
    browser.post(f"{SELECTION}/delete", {"id": ["i-1"], "typed": "1"})
    text = browser.post(SELECTION, {"action": "delete", "id": ["i-1", "i-2"]}).content.decode()
    assert '<span class="mono">i-2</span>. 1 more is gone already.' in text
    assert '<span class="mono">i-1</span>' not in text


def test_all_that_match_are_deleted_and_nothing_that_came_meanwhile(as_, six, detector):
    client = as_("editor")
    form = fields(client.post(SELECTION, {"action": "delete", "scope": "all", "query": "label=owl"}))
    store_seen(detector, "later", entries=[box("owl")])
    client.post(f"{SELECTION}/delete", form | {"typed": "3"})
    assert left() == ["i-0", "i-2", "i-4", "later"]


def test_a_number_that_is_no_longer_right_deletes_nothing(as_, six):
    client = as_("editor")
    form = fields(client.post(SELECTION, {"action": "delete", "scope": "all", "query": "label=owl"}))
    Inference.objects.filter(inference_id="i-1").delete()
    answer = client.post(f"{SELECTION}/delete", form | {"typed": "3"})
    assert answer.status_code == 400
    assert "Type 2 to delete exactly these" in answer.content.decode()
    assert left() == ["i-0", "i-2", "i-3", "i-4", "i-5"]


@pytest.mark.parametrize("query", ["minimum_score=high", "lable=owl", "label=owl&similar_to=i-1"])
@pytest.mark.parametrize("path", ["", "/delete"])
def test_a_wrong_filter_deletes_nothing(path, query, as_, six):
    client = as_("editor")
    sent = {"action": "delete", "scope": "all", "query": query, "typed": "6"}
    assert client.post(SELECTION + path, sent).status_code == 302
    assert len(left()) == 6
    assert said(client)


def test_nothing_selected_does_nothing(as_, six):
    client = as_("admin")
    for action in ("delete", "protect", "export", "dance"):
        assert client.post(SELECTION, {"action": action}).status_code == 302
        assert "Nothing is selected" in said(client)
    assert client.post(SELECTION, {"action": "dance", "id": "i-1"}).status_code == 302
    assert "Choose what to do" in said(client)
    assert client.post(f"{SELECTION}/delete", {"typed": "0"}).status_code == 302
    client.post(SELECTION, {"action": "delete", "id": "gone"})
    assert "None of these is there any more" in said(client)
    assert len(left()) == 6


def test_too_many_are_refused(as_, six, monkeypatch):
    monkeypatch.setattr("dashboard.selection.MOST_AT_ONCE", 5)
    client = as_("editor")
    client.post(SELECTION, {"action": "delete", "scope": "all", "query": ""})
    assert "narrow the filter" in said(client)
    client.post(f"{SELECTION}/delete", {"scope": "all", "query": "", "typed": "6"})
    assert len(left()) == 6


def protected():
    return sorted(Inference.objects.filter(is_protected=True).values_list("inference_id", flat=True))


def test_protection_is_set_and_lifted(as_, six):
    client = as_("admin")
    client.post(SELECTION, {"action": "protect", "id": ["i-1", "i-2"]})
    assert protected() == ["i-1", "i-2"]
    assert "Protected 2 inferences" in said(client)
    client.post(SELECTION, {"action": "protect", "scope": "all", "query": "label=owl&view=table"})
    assert protected() == ["i-1", "i-2", "i-3", "i-5"]
    assert "Protected 2 inferences; 1 inference had it so already" in said(client)
    client.post(SELECTION, {"action": "unprotect", "id": ["i-1", "i-2"]})
    assert protected() == ["i-3", "i-5"]
    assert "Lifted the protection of 2 inferences." in said(client)


def test_the_protection_of_all_is_lifted_when_their_number_is_typed(as_, six, detector):
    client = as_("admin")
    client.post(SELECTION, {"action": "protect", "scope": "all", "query": ""})
    asked = {"action": "unprotect", "scope": "all", "query": "label=owl"}
    response = client.post(SELECTION, asked)
    assert response.status_code == 200
    assert b"Lift the protection of 3 inferences" in response.content
    assert len(protected()) == 6
    until = re.search(rb'name="until" value="([^"]+)"', response.content)[1].decode()
    wrong = client.post(SELECTION, {**asked, "until": until, "typed": "2"})
    assert wrong.status_code == 400
    assert b"Type 3 to unprotect exactly these." in wrong.content
    assert len(protected()) == 6
    store_seen(detector, "later", entries=[box("owl")], protected=True)
    done = client.post(SELECTION, {**asked, "until": until, "typed": "3"})
    assert done["Location"] == "/models/detector/?label=owl"
    assert protected() == ["i-0", "i-2", "i-4", "later"]


def test_ticked_ones_are_exported(as_, six):
    client = as_("viewer")
    asked = client.post(SELECTION, {"action": "export", "id": ["i-1", "i-4"]})
    text = asked.content.decode()
    assert "<strong>2</strong> inferences ticked one by one" in text
    assert re.findall(r'name="id" value="([^"]+)"', text) == ["i-1", "i-4"]
    done = client.post("/models/detector/exports/new", {"format": "jsonl", "id": ["i-1", "i-4"]})
    assert done["Location"] == "/models/detector/exports/"
    request = Export.objects.get().request
    assert request["include_inference_ids"] == ["i-1", "i-4"]
    assert request["filters"]["deconstructed_inference_filter"]["labels"] == []
    assert "ticked one by one" in client.get("/models/detector/exports/").content.decode()
    wrong = client.post("/models/detector/exports/new", {"format": "jsonl", "id": ["a/b"]})
    assert wrong.status_code == 400
    assert Export.objects.count() == 1


def test_all_that_match_are_exported_by_their_filter(as_, six):
    answer = as_("viewer").post(
        SELECTION, {"action": "export", "scope": "all", "query": "label=owl&view=table&sort=score"}
    )
    assert answer["Location"] == "/models/detector/exports/new?label=owl"


def test_a_query_leads_to_no_other_host_and_no_header(as_, six):
    for query in ("//elsewhere.example/", "a=b\r\nSet-Cookie: x=y"):
        answer = as_("viewer" if query[0] == "/" else "editor").post(SELECTION, {"query": query})
        assert answer["Location"].startswith("/models/detector/?")
        assert "\n" not in answer["Location"]


def test_a_deletion_of_another_number_than_expected_is_undone(six, detector):
    """What the page's own count could not see: something comes or goes between its count and the lock."""
    owls = BaseInferenceFilter(deconstructed_inference_filter={"labels": ["owl"]})
    for expected in (2, 4):
        with pytest.raises(Refusal, match="There are 3 now"):
            deletion.delete_matching(model=detector, filters=owls, expected=expected)
        with pytest.raises(Refusal, match="There are 2 now"):
            deletion.delete_named(model=detector, inference_ids=["i-1", "i-2", "x"], expected=expected + 1)
    assert len(left()) == 6
    assert deletion.delete_named(model=detector, inference_ids=["i-1", "i-2", "x"], expected=2) == [
        "i-1",
        "i-2",
    ]
