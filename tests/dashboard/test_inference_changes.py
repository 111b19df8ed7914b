"""What editors and admins change on an inference's page."""

import html
import re

import pytest
from django.test import Client

from inference_store.contract.enums import TaskType
from inference_store.models import Blob, Entry, Inference
from inference_store.query.pages import metadata_of
from tests.dashboard.conftest import store_seen
from tests.making import make_model, make_project, make_user

URL = "/models/detector/inferences/one/"
CHANGES = {
    "metadata": ({"key": "run", "type": "int", "value": "7"}, "editor"),
    "metadata/delete": ({"key": "site"}, "editor"),
    "protection": ({"is_protected": "yes"}, "admin"),
    "delete": ({"typed": "one"}, "editor"),
}


@pytest.fixture
def people(db, carol):
    return {
        "viewer": carol,
        "editor": make_user("bob"),
        "admin": make_user("alice"),
        "stranger": make_user("mallory"),
    }


@pytest.fixture
def detector(people):
    members = {role: user for role, user in people.items() if role != "stranger"}
    model = make_model("detector", task=TaskType.OBJECT_DETECTION, project=make_project("birds", **members))
    store_seen(model, "one", metadata=[("site", "string", "harbour")])
    return model


@pytest.fixture
def post(client, people, detector):
    """Post to the inference's page as somebody."""

    def posted(path, data, role="editor", query=""):
        client.force_login(people[role])
        return client.post(f"{URL}{path}{query}", data)

    return posted


def held(model, inference_id="one"):
    return {(item.key, item.type): item.value for item in metadata_of(model, inference_id)}


@pytest.mark.parametrize("path", CHANGES)
def test_who_may_change_what(path, post, client, detector):
    data, least = CHANGES[path]
    assert client.post(URL + path, data)["Location"].startswith("/login/?next=")
    assert post(path, data, "stranger").status_code == 404
    assert post(path, data, "viewer").status_code == 403
    assert post(path, data, "editor").status_code == (302 if least == "editor" else 403)
    assert client.get(URL + path).status_code == 405


@pytest.mark.parametrize("path", CHANGES)
def test_what_is_posted_from_elsewhere_is_refused(path, people, detector):
    client = Client(enforce_csrf_checks=True)
    client.force_login(people["admin"])
    assert client.post(URL + path, CHANGES[path][0]).status_code == 403


@pytest.mark.parametrize("path", CHANGES)
def test_what_is_not_there_cant_be_changed(path, post, detector):
    Inference.objects.all().delete()
    data, _ = CHANGES[path]
    response = post(path, data, "admin")
    assert response.status_code == (302 if path == "metadata/delete" else 404)


def test_pages_offer_what_one_may_do(client, people, detector):
    offers = {"Add or replace": "editor", "Remove": "editor", "Delete it": "editor", ">Protect<": "admin"}
    ranks = ["viewer", "editor", "admin"]
    for role in ranks:
        client.force_login(people[role])
        text = client.get(URL).content.decode()
        for words, least in offers.items():
            assert (words in text) == (ranks.index(role) >= ranks.index(least)), (role, words)


# --- Metadata -----------------------------------------------------------------------------------------------
def test_metadata_is_added_and_replaced(post, detector):
    assert post("metadata", {"key": "run", "type": "int", "value": " 7 "})["Location"] == f"{URL}#metadata"
    assert held(detector) == {("site", "string"): "harbour", ("run", "int"): "7"}
    post("metadata", {"key": "site", "type": "json", "value": '{"name": "quay"}'})
    assert held(detector)["site", "json"] == '{"name":"quay"}'
    assert ("site", "string") not in held(detector)


def test_it_comes_back_to_the_result(post):
    response = post("metadata", {"key": "run", "type": "int", "value": "7"}, query="?label=owl&sort=score")
    assert response["Location"] == f"{URL}?label=owl&sort=score#metadata"


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"key": "run", "type": "int", "value": "seven"}, "value"),
        ({"key": "run", "type": "float", "value": "inf"}, "value"),
        ({"key": "run", "type": "json", "value": "{"}, "value"),
        ({"key": "", "type": "int", "value": "7"}, "key"),
        ({"key": "x" * 10_001, "type": "string", "value": ""}, "key"),
        ({"key": "run", "type": "date", "value": "7"}, "type"),
        ({"key": "a\x00b", "type": "string", "value": "7"}, "key"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(data, field, post, detector):
    response = post("metadata", data)
    assert response.status_code == 400
    text = response.content.decode()
    assert f'id="metadata-{field}-error"' in text
    assert f'aria-describedby="metadata-{field}-error"' in text
    if data["key"] == "run":
        assert html.escape(data["value"]) in text
    assert held(detector) == {("site", "string"): "harbour"}


def test_metadata_is_removed(post, detector):
    assert post("metadata/delete", {"key": "site"})["Location"] == f"{URL}#metadata"
    assert held(detector) == {}
    again = post("metadata/delete", {"key": "site"})
    assert again.status_code == 302
    assert "not there any more" in post("metadata", {"key": "", "type": "int"}).content.decode()


def test_keys_are_what_they_are(post, client, detector):
    key = "a\"b' <i>&amp; __in .%s"
    post("metadata", {"key": key, "type": "string", "value": " kept "})
    assert held(detector)[key, "string"] == " kept "
    text = client.get(URL).content.decode()
    assert "<i>" not in text
    (value,) = [html.unescape(each) for each in re.findall(r'name="key" value="(a[^"]*)"', text)]
    post("metadata/delete", {"key": value})
    assert held(detector) == {("site", "string"): "harbour"}


# --- Protection and deletion --------------------------------------------------------------------------------
def test_protection_is_set_and_lifted(post, client, detector):
    assert post("protection", {"is_protected": "yes"}, "admin")["Location"] == f"{URL}#keeping"
    assert Inference.objects.get().is_protected
    assert "Lift the protection" in client.get(URL).content.decode()
    post("protection", {"is_protected": "no"}, "admin")
    assert not Inference.objects.get().is_protected
    assert post("protection", {"is_protected": "maybe"}, "admin").status_code == 404


def test_deleting_takes_the_id_typed(post, detector):
    response = post("delete", {"typed": "two"})
    assert response.status_code == 400
    assert 'id="delete-typed-error"' in response.content.decode()
    assert Inference.objects.count() == 1
    assert post("delete", {"typed": " one "})["Location"] == "/models/detector/"
    assert Inference.objects.count() == Entry.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_its_input_goes_with_it(post, detector):
    post("delete", {"typed": "one"})
    assert not Blob.objects.exists()


def test_after_a_deletion_the_result_goes_on(post, client, detector):
    for name in ("old", "new"):
        store_seen(detector, name)
    response = post("delete", {"typed": "old"}, query="")
    assert response.status_code == 400
    response = client.post("/models/detector/inferences/old/delete?sort=created_at", {"typed": "old"})
    assert response["Location"] == "/models/detector/inferences/one/?sort=created_at"
    assert "old is deleted." in client.get(response["Location"]).content.decode()
