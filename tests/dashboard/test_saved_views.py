"""Saved views: private until shared, changed by their owner alone, reached by a link that stays."""

import re
from uuid import uuid4

import pytest

from inference_store.models import Membership, Role, SavedView
from inference_store.services import saved_views
from tests.dashboard.conftest import make_member, store_seen
from tests.making import make_user

VIEWS = "/models/detector/views/"
CHANGES = ["rename", "share", "unshare", "delete"]


@pytest.fixture
def bob(detector):
    return make_member(detector, "bob", Role.ADMIN)


def save(client, name="night", query="label=owl&view=table", **more):
    return client.post(VIEWS, {"name": name, "query": query} | more)


def messages_of(client):
    return re.findall(r'class="alert[^>]*>([^<]+)<', client.get("/models/detector/").content.decode())


def test_a_page_is_saved_and_opened_again(page, client, carol, detector):
    response = save(client, query="label=owl&view=table&cursor=abc&trail=0&minimum_score=")
    assert response["Location"] == "/models/detector/?label=owl&view=table"
    view = SavedView.objects.get()
    assert (view.owner, view.name, view.is_shared) == (carol, "night", False)
    assert client.get(f"/views/{view.pk}/")["Location"] == "/models/detector/?label=owl&view=table"
    text = page("/models/detector/").content.decode()
    assert 'href="/models/detector/?label=owl&amp;view=table"' in text
    assert "Saved as “night”." in text


def test_a_view_says_what_it_shows(page, client, detector):
    save(client, "plain", "")
    save(client, "night", "label=owl&minimum_score=0.25&metadata=run:int:%3E:5&view=table")
    save(client, "much", "&".join(f"label=bird-{number}" for number in range(9)))
    html = client.get(VIEWS).content.decode()
    shown = {
        re.search(r'dir="auto">([^<]+)</a></h2>', each)[1]: re.sub(r"<[^>]+>", "|", each)
        for each in re.findall(r"<li class=\"job.*?</li>", html, re.DOTALL)
    }
    assert "All inferences" in shown["plain"]
    assert "as thumbnails" in shown["plain"]
    for words in ("label owl", "score ≥ 0.25", "run &gt; 5", "as table"):
        assert words in shown["night"]
    assert "label bird-5" in shown["much"]
    assert "label bird-6" not in shown["much"]
    assert "and 3 more conditions" in shown["much"]


def test_views_are_private_until_they_are_shared(page, client, carol, bob, detector):
    save(client)
    view = SavedView.objects.get()
    assert messages_of(client)
    client.force_login(bob)
    assert client.get(f"/views/{view.pk}/").status_code == 404
    assert b"night" not in client.get(VIEWS).content + client.get("/models/detector/").content
    client.force_login(carol)
    assert client.post(f"/views/{view.pk}/share").status_code == 302
    client.force_login(bob)
    assert client.get(f"/views/{view.pk}/").status_code == 302
    assert b"night" in client.get(VIEWS).content
    client.force_login(carol)
    client.post(f"/views/{view.pk}/unshare")
    client.force_login(bob)
    assert client.get(f"/views/{view.pk}/").status_code == 404


def test_nobody_changes_anothers_view(page, client, bob, detector):
    save(client, is_shared="yes")
    view = SavedView.objects.get()
    dave, mallory = make_member(detector, "dave", Role.EDITOR), make_user()
    for user, changes, status in [(bob, CHANGES[:-1], 403), (dave, CHANGES, 403), (mallory, CHANGES, 404)]:
        client.force_login(user)
        for change in changes:
            assert client.post(f"/views/{view.pk}/{change}", {"name": "mine"}).status_code == status
    SavedView.objects.get(pk=view.pk, name="night", is_shared=True)


def test_an_admin_deletes_what_is_shared(page, client, carol, bob, detector):
    """Whose owner may have left."""
    save(client, is_shared="yes")
    save(client, "mine")
    shared, private = SavedView.objects.get(name="night"), SavedView.objects.get(name="mine")
    Membership.objects.filter(user=carol).delete()
    client.force_login(bob)
    html = client.get(VIEWS).content.decode()
    assert f"/views/{shared.pk}/delete" in html
    assert f"/views/{shared.pk}/rename" not in html
    assert client.post(f"/views/{private.pk}/delete").status_code == 404
    assert client.post(f"/views/{shared.pk}/delete").status_code == 302
    assert [*SavedView.objects.all()] == [private]


def test_who_left_the_project_sees_none_of_its_views(page, client, carol, detector):
    save(client, is_shared="yes")
    view = SavedView.objects.get()
    Membership.objects.filter(user=carol).delete()
    assert client.get(f"/views/{view.pk}/").status_code == 404
    assert client.post(f"/views/{view.pk}/delete").status_code == 404


def test_one_renames_and_deletes_ones_own(page, client, detector):
    save(client)
    view = SavedView.objects.get()
    client.post(f"/views/{view.pk}/rename", {"name": "  dusk "})
    assert SavedView.objects.get().name == "dusk"
    save(client, "night")
    assert client.post(f"/views/{view.pk}/rename", {"name": "night"}).status_code == 302
    assert "choose another name" in client.get(VIEWS).content.decode()
    assert SavedView.objects.get(pk=view.pk).name == "dusk"
    client.post(f"/views/{view.pk}/delete")
    assert [each.name for each in SavedView.objects.all()] == ["night"]


@pytest.mark.parametrize(
    ("name", "query", "said"),
    [
        ("", "label=owl", "must be 1 to 100 printable characters"),
        ("n" * 101, "label=owl", "must be 1 to 100 printable characters"),
        ("a\u0000b", "label=owl", "must be 1 to 100 printable characters"),
        ("night", "minimum_score=high", "whose filter is wrong"),
        ("night", "view=globe", "whose filter is wrong"),
        ("night", "label=" + "x" * 8_001, "longer than 8,000"),
    ],
)
def test_what_cannot_be_saved_says_why(name, query, said, page, client, detector):
    assert save(client, name, query).status_code == 302
    assert not SavedView.objects.exists()
    assert said in " ".join(messages_of(client))


def test_a_name_can_be_given_once(page, client, detector):
    save(client)
    save(client, query="label=kestrel")
    assert "choose another name" in " ".join(messages_of(client))
    assert SavedView.objects.get().query == "label=owl&view=table"


def test_there_is_a_bound(page, client, detector, monkeypatch):
    monkeypatch.setattr(saved_views, "MOST_VIEWS", 2)
    for number in range(3):
        save(client, f"view {number}")
    assert SavedView.objects.count() == 2


def test_pages_of_views_are_for_members(client, carol, detector):
    store_seen(detector, "one")
    unknown = f"/views/{uuid4()}/"
    for address in (VIEWS, unknown):
        assert client.get(address)["Location"].startswith("/login/?next=")
    client.force_login(make_user("mallory"))
    assert client.get(VIEWS).status_code == 404
    assert client.post(VIEWS, {"name": "x"}).status_code == 404
    client.force_login(carol)
    assert client.get(VIEWS).status_code == 200
    assert client.get(unknown).status_code == 404
    assert client.get(f"{unknown}delete").status_code == 405


def test_posts_need_a_token_against_forgery(detector, carol):
    from django.test import Client

    client = Client(enforce_csrf_checks=True)
    client.force_login(carol)
    assert save(client).status_code == 403
    assert client.post("/models/detector/selection", {"action": "export"}).status_code == 403
    assert client.post("/models/detector/selection/delete").status_code == 403
    assert client.post("/models/detector/vector").status_code == 403
