"""The pages of projects: those one is in, a new one, a project's name and members."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inference_store.models import AuditRecord, Membership, Project, Role
from tests.dashboard.conftest import make_member
from tests.making import make_model, make_project, make_user

pytestmark = pytest.mark.django_db
BIRDS = "/projects/birds/"


@pytest.fixture
def admin(client, detector, carol):
    """The browser of carol, who administers birds; dave edits there."""
    Membership.objects.filter(user=carol).update(role=Role.ADMIN)
    make_member(detector, "dave", Role.EDITOR)
    client.force_login(carol)
    return client


def roles(project="birds"):
    return dict(Membership.objects.filter(project=project).values_list("user__username", "role"))


def recorded():
    records = AuditRecord.objects.exclude(action="login").order_by("id")
    return [(each.action, each.project_id) for each in records]


def of(name):
    return Membership.objects.get(user__username=name, project="birds").user_id


def test_members_come_change_and_go(admin):
    mallory = make_user("mallory", email="Mallory@example.org")
    assert (
        admin.post(f"{BIRDS}members", {"who": "mallory@EXAMPLE.org", "role": "viewer"})["Location"] == BIRDS
    )
    assert roles() == {"carol": "admin", "dave": "editor", "mallory": "viewer"}
    assert admin.post(f"{BIRDS}members/{mallory.pk}", {"role": "admin"})["Location"] == BIRDS
    text = admin.get(BIRDS).content.decode()
    assert "mallory is admin now" in text
    assert "Mallory@example.org" in text
    admin.post(f"{BIRDS}members/{of('dave')}/remove")
    assert roles() == {"carol": "admin", "mallory": "admin"}
    assert recorded() == [("member.set", "birds"), ("member.set", "birds"), ("member.remove", "birds")]
    assert "&quot;before&quot;" not in text
    details = AuditRecord.objects.filter(action="member.set").latest("id").details
    assert details == '{"before":"viewer","role":"admin","user":"mallory"}'


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"who": "", "role": "viewer"}, "Say whom to add"),
        ({"who": "nobody-of-that-name", "role": "viewer"}, "nobody who can log in here"),
        ({"who": "x\x00", "role": "viewer"}, "Null characters are not allowed"),
        ({"who": "left", "role": "viewer"}, "nobody who can log in here"),
        ({"who": "twins@example.org", "role": "viewer"}, "address of more than one"),
        ({"who": "dave", "role": "admin"}, "is a member already"),
        ({"who": "mallory", "role": "owner"}, "owner"),
    ],
)
def test_who_can_not_be_added(admin, form, told):
    make_user("mallory")
    make_user("left", is_active=False)
    make_user("one", email="twins@example.org")
    make_user("two", email="twins@example.org")
    answer = admin.post(f"{BIRDS}members", form)
    assert answer.status_code == 400
    assert told.lower() in answer.content.decode().lower()
    assert roles() == {"carol": "admin", "dave": "editor"}
    assert recorded() == []


def test_the_last_admin_stays_one(admin, detector):
    gone = make_member(detector, "gone", Role.ADMIN)  # who can't log in is no help
    gone.is_active = False
    gone.save()
    page = admin.get(BIRDS).content.decode()
    assert "the last one" in page
    assert f"members/{of('carol')}" not in page
    for path, form in ((f"members/{of('carol')}", {"role": "viewer"}), (f"members/{of('carol')}/remove", {})):
        answer = admin.post(f"{BIRDS}{path}", form, follow=True)
        assert "is the last admin of the project" in answer.content.decode()
    assert roles()["carol"] == "admin"
    assert recorded() == []
    admin.post(f"{BIRDS}members/{of('dave')}", {"role": "admin"})
    assert admin.post(f"{BIRDS}members/{of('carol')}/remove")["Location"] == "/projects/"
    assert roles() == {"dave": "admin", "gone": "admin"}
    assert admin.get(BIRDS).status_code == 404


def test_what_is_no_change_is_no_record(admin):
    assert admin.post(f"{BIRDS}members/{of('dave')}", {"role": "editor"}).status_code == 302
    assert admin.post(f"{BIRDS}members/{of('dave')}", {"role": "owner"}).status_code == 302
    assert admin.post(f"{BIRDS}members/0/remove", follow=True).status_code == 200
    assert admin.post(f"{BIRDS}name", {"name": "birds"}).status_code == 302
    assert roles() == {"carol": "admin", "dave": "editor"}
    assert recorded() == []


def test_a_project_is_renamed(admin):
    assert admin.post(f"{BIRDS}name", {"name": "  Birds of the quay "})["Location"] == BIRDS
    assert Project.objects.get(pk="birds").name == "Birds of the quay"
    assert recorded() == [("project.change", "birds")]
    for name in ("", "x" * 256):
        answer = admin.post(f"{BIRDS}name", {"name": name})
        assert answer.status_code == 400
        assert 'id="rename-name-error"' in answer.content.decode()
    assert Project.objects.get(pk="birds").name == "Birds of the quay"


def test_others_may_not(client, detector, carol):
    client.force_login(make_member(detector, "dave", Role.EDITOR))
    assert client.get(BIRDS).status_code == 403
    assert client.post(f"{BIRDS}members/{of('dave')}", {"role": "admin"}).status_code == 403
    assert client.post(f"{BIRDS}members/{of('carol')}/remove").status_code == 403
    client.force_login(make_user("mallory"))
    assert client.get(BIRDS).status_code == 404
    assert roles() == {"carol": "viewer", "dave": "editor"}


# --- All of them, and a new one -----------------------------------------------------------------------------
def test_projects_show_ones_role_and_whom_to_ask(page, detector):
    make_member(detector, "alice", Role.ADMIN)
    make_project("secret")
    text = page("/projects/").content.decode()
    assert ">viewer<" in text
    assert "1 model · 2 members" in text
    assert "Admin: <bdi>alice</bdi>" in text
    assert "secret" not in text
    assert f'href="{BIRDS}"' not in text
    assert "/projects/new" not in text


@pytest.mark.parametrize("who", ["staff", "everybody"])
def test_a_new_project_is_its_makers(client, settings, who):
    settings.EVERYBODY_CREATES_PROJECTS = who == "everybody"
    client.force_login(make_user("erin", is_staff=who == "staff"))
    for form, told in (
        ({"project_id": "a/b"}, "project-id-error"),
        ({"project_id": ""}, "Give it an id"),
    ):
        answer = client.post("/projects/new", form)
        assert answer.status_code == 400
        assert told in answer.content.decode()
    assert (
        client.post("/projects/new", {"project_id": "quay", "name": "The quay"})["Location"]
        == "/projects/quay/"
    )
    assert roles("quay") == {"erin": "admin"}
    assert client.get("/projects/quay/").status_code == 200
    assert "is taken" in client.post("/projects/new", {"project_id": "quay"}).content.decode().lower()
    assert recorded() == [("project.create", "quay")]


def test_it_is_not_for_others(client):
    client.force_login(make_user("erin"))
    assert client.get("/projects/new").status_code == 403
    assert client.post("/projects/new", {"project_id": "quay"}).status_code == 403
    assert not Project.objects.exists()


def test_twenty_cost_the_queries_of_two(admin, carol, detector):
    costs = []
    for count in (2, 18):
        for number in range(count):
            make_model(project=make_project(admin=carol))
            make_member(detector, f"m-{count}-{number}", Role.EDITOR)
        for address in ("/projects/", BIRDS):
            with CaptureQueriesContext(connection) as queries:
                assert admin.get(address).status_code == 200
            costs.append(len(queries))
    assert costs[:2] == costs[2:]
