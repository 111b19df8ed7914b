"""The admin site: what superusers and project admins can do there, and what staff cannot become."""

from typing import Any

import pytest
from django.test import Client

from inference_store.models import Membership, Project, RegisteredModel, Token, User
from tests.cast import Caller, Cast, request_of

NEW_TOKEN = {"expires_at_0": "", "expires_at_1": "", "scopes": ["read"]}
PAGES = ("user", "project", "token", "registeredmodel")


@pytest.fixture
def root(cast: Cast) -> Client:
    """A superuser's browser."""
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def staff(cast: Cast) -> Client:
    """The browser of alice, who is staff and an admin of the project birds."""
    User.objects.filter(username="alice").update(is_staff=True)
    client = Client()
    client.force_login(cast.users["alice"])
    return client


def page(name: str, rest: str = "") -> str:
    return f"/admin/inference_store/{name}/{rest}"


def members_form(
    project: Project, *rows: dict[str, Any], add: dict[str, Any] | None = None
) -> dict[str, Any]:
    form: dict[str, Any] = {"project_id": project.pk, "name": project.name}
    every = [*rows, *([add] if add else [])]
    form |= {"memberships-TOTAL_FORMS": len(every), "memberships-INITIAL_FORMS": len(rows)}
    for number, row in enumerate(every):
        form |= {f"memberships-{number}-{name}": value for name, value in row.items()}
        form[f"memberships-{number}-project"] = project.pk
    return form


@pytest.mark.parametrize("name", PAGES)
def test_pages_open_for_a_superuser(root: Client, detector: RegisteredModel, name: str) -> None:
    assert root.get(page(name)).status_code == 200
    assert root.get(page(name, "add/")).status_code == 200
    assert root.get(page(name), {"q": "a"}).status_code == 200


def test_the_theme(root: Client) -> None:
    html = root.get("/admin/").content.decode()
    assert "admin-theme.css" in html
    assert "Inference Store" in html


def test_closed_to_others(cast: Cast, detector: RegisteredModel) -> None:
    client = Client()
    for user in (None, cast.users["alice"]):
        if user:
            client.force_login(user)
        for name in PAGES:
            assert client.get(page(name)).status_code == 302


def test_staff_see_their_own(staff: Client, cast: Cast, detector: RegisteredModel) -> None:
    Project.objects.create(project_id="secret", name="Hidden project")
    other = RegisteredModel.objects.create(
        model_id="hidden-model", project_id="elsewhere", task_type="Text Embedding"
    )
    assert "Hidden" not in (html := staff.get(page("project")).content.decode())
    assert "birds" in html
    assert "hidden-model" not in (html := staff.get(page("registeredmodel")).content.decode())
    assert "detector" in html
    assert staff.get(page("registeredmodel", f"{other.pk}/change/")).status_code == 302
    assert staff.get(page("project", "elsewhere/change/")).status_code == 302
    tokens = staff.get(page("token")).content.decode()
    assert "mallory" not in tokens
    foreign = Token.objects.get(user=cast.users["mallory"])
    assert staff.get(page("token", f"{foreign.pk}/change/")).status_code == 302
    staff.post(page("token", f"{foreign.pk}/delete/"), {"post": "yes"})
    assert Token.objects.filter(pk=foreign.pk).exists()


def test_staff_can_not_reach_users(staff: Client, cast: Cast) -> None:
    for rest in ("", "add/", f"{cast.users['alice'].pk}/change/", f"{cast.users['alice'].pk}/password/"):
        assert staff.get(page("user", rest)).status_code == 403
    change = page("user", f"{cast.users['alice'].pk}/change/")
    assert staff.post(change, {"username": "alice", "is_superuser": "on"}).status_code == 403
    assert not User.objects.filter(is_superuser=True).exists()


def test_staff_issue_tokens_for_themselves_alone(staff: Client, cast: Cast) -> None:
    form = {
        "name": "mine",
        "user": cast.users["mallory"].pk,
        "expires_at_0": "",
        "expires_at_1": "",
        "scopes": ["read"],
    }
    assert staff.post(page("token", "add/"), form).status_code == 302
    assert Token.objects.get(name="mine").user == cast.users["alice"]


def test_a_token_is_shown_once(root: Client, cast: Cast) -> None:
    form = {
        "name": "fresh",
        "user": cast.users["carol"].pk,
        "expires_at_0": "",
        "expires_at_1": "",
        "scopes": ["read"],
    }
    html = root.post(page("token", "add/"), form, follow=True).content.decode()
    secret = html.partition("shown this once: ")[2].partition("<")[0].strip()
    assert Caller(secret).get("projects").status_code == 200
    token = Token.objects.get(name="fresh")
    assert token.user == cast.users["carol"]
    for address in (page("token"), page("token", f"{token.pk}/change/")):
        again = root.get(address).content.decode()
        assert secret not in again
        assert token.digest not in again
        assert token.hint in again


def test_members_are_named(staff: Client, cast: Cast) -> None:
    project = Project.objects.get(pk="birds")
    rows = [
        {"id": each.pk, "user": each.user.username, "role": each.role}
        for each in project.memberships.select_related("user").order_by("pk")
    ]
    html = staff.get(page("project", "birds/change/")).content.decode()
    assert 'value="carol"' in html
    assert "mallory" not in html
    add = {"id": "", "user": "mallory", "role": "viewer"}
    answer = staff.post(page("project", "birds/change/"), members_form(project, *rows, add=add))
    assert answer.status_code == 302, answer.content
    assert Membership.objects.get(project=project, user=cast.users["mallory"]).role == "viewer"
    wrong = {"id": "", "user": "who", "role": "viewer"}
    rows.append(rows[0] | {"id": Membership.objects.latest("pk").pk, "user": "mallory", "role": "viewer"})
    answer = staff.post(page("project", "birds/change/"), members_form(project, *rows, add=wrong))
    assert b"no active user of that name" in answer.content


def test_the_last_admin_stays(root: Client, staff: Client, cast: Cast) -> None:
    project = Project.objects.get(pk="birds")
    rows = [
        {"id": each.pk, "user": each.user.username, "role": each.role}
        for each in project.memberships.select_related("user").order_by("pk")
    ]
    (own,) = [row for row in rows if row["user"] == "alice"]
    for change in ({"role": "viewer"}, {"DELETE": "on"}):
        changed = [row | change if row is own else row for row in rows]
        for browser in (staff, root):
            answer = browser.post(page("project", "birds/change/"), members_form(project, *changed))
            assert b"keeps one admin at least" in answer.content
    assert Membership.objects.get(project=project, user=cast.users["alice"]).role == "admin"
    # With another one it may be.
    roles = {"alice": "viewer", "bob": "admin"}
    changed = [row | {"role": roles.get(row["user"], row["role"])} for row in rows]
    assert root.post(page("project", "birds/change/"), members_form(project, *changed)).status_code == 302
    assert Membership.objects.get(project=project, user=cast.users["bob"]).role == "admin"


def test_staff_can_not_join_other_projects(staff: Client, cast: Cast) -> None:
    project = Project.objects.get(pk="elsewhere")
    add = {"id": "", "user": "alice", "role": "admin"}
    staff.post(page("project", "elsewhere/change/"), members_form(project, add=add))
    assert not Membership.objects.filter(project=project, user=cast.users["alice"]).exists()


def test_a_project_made_by_staff_is_theirs(staff: Client, cast: Cast) -> None:
    made = Project(project_id="new", name="New")
    for form in (members_form(made), members_form(made, add={"id": "", "user": "alice", "role": "admin"})):
        Project.objects.filter(pk="new").delete()
        assert staff.post(page("project", "add/"), form).status_code == 302
        assert Membership.objects.get(project="new").user == cast.users["alice"]


def test_models_stay_what_they_are(staff: Client, cast: Cast, detector: RegisteredModel) -> None:
    form = {"model_id": "other", "project": "elsewhere", "task_type": "Text Embedding", "embedding_size": 9}
    staff.post(page("registeredmodel", f"{detector.pk}/change/"), form)
    detector.refresh_from_db()
    assert (detector.model_id, detector.project_id, detector.embedding_size) == ("detector", "birds", 3)
    foreign = form | {"model_id": "mine"}
    assert staff.post(page("registeredmodel", "add/"), foreign).status_code == 200
    assert not RegisteredModel.objects.filter(model_id="mine").exists()
    bad = form | {"model_id": "a/b", "project": "birds"}
    assert staff.post(page("registeredmodel", "add/"), bad).status_code == 200
    good = bad | {"model_id": "ok"}
    assert staff.post(page("registeredmodel", "add/"), good).status_code == 302


def test_a_model_with_inferences_is_not_deleted(root: Client, cast: Cast, detector: RegisteredModel) -> None:
    cast.bob.post("models/detector/inferences", request_of())
    delete = page("registeredmodel", f"{detector.pk}/delete/")
    assert root.post(delete, {"post": "yes"}).status_code == 403
    assert RegisteredModel.objects.filter(pk=detector.pk).exists()
    cast.bob.delete("models/detector/inferences/i-1")
    root.post(delete, {"post": "yes"})
    assert not RegisteredModel.objects.filter(pk=detector.pk).exists()


@pytest.mark.parametrize(
    ("name", "asked", "status"),
    [
        ("token", "?created_at__year=99999999999", 400),
        ("project", "?name__contains=%00", 400),
        ("retentiontask", "?state__exact=%00", 400),
        ("token", "?created_at__gte=9999-12-31T23:59:59-23:59", 400),
        ("user", "?q=%00", 200),
        ("project", "%00/change/", 302),
        ("retentionpolicy", "add/?registered_model=abc", 200),
        ("token", "add/?name=%00", 200),
    ],
)
def test_what_nothing_is_called_is_no_servers_error(
    root: Client, detector: RegisteredModel, name: str, asked: str, status: int
) -> None:
    assert root.get(page(name, asked)).status_code == status


def test_an_action_on_what_is_no_key_is_refused(root: Client, detector: RegisteredModel) -> None:
    form = {"action": "delete_selected", "_selected_action": "abc"}
    assert root.post(page("token"), form).status_code == 400


def test_a_deactivated_member_stays_one(staff: Client, cast: Cast) -> None:
    project = Project.objects.get(pk="birds")
    carol, alice = (Membership.objects.get(user=cast.users[name]) for name in ("carol", "alice"))
    User.objects.filter(pk=carol.user_id).update(is_active=False)
    rows = [{"id": each.pk, "user": each.user.username, "role": each.role} for each in (alice, carol)]
    form = members_form(project, *rows) | {"name": "Owls"}
    assert staff.post(page("project", "birds/change/"), form).status_code == 302
    project.refresh_from_db()
    assert project.name == "Owls"
    assert Membership.objects.filter(pk=carol.pk).exists()
    User.objects.filter(username="mallory").update(is_active=False)
    form = members_form(project, *rows, add={"user": "mallory", "role": "viewer"})
    assert b"no active user" in staff.post(page("project", "birds/change/"), form).content


def test_a_project_goes_with_its_members_tokens(staff: Client, cast: Cast) -> None:
    project = Project.objects.create(project_id="bare", name="Bare")
    for name, role in (("alice", "admin"), ("carol", "viewer")):
        Membership.objects.create(user=cast.users[name], project=project, role=role)
    Token.objects.issue(cast.users["carol"], "of one project", project=project)
    assert staff.post(page("project", "bare/delete/"), {"post": "yes"}).status_code == 302
    assert not Project.objects.filter(pk="bare").exists()
    assert not Token.objects.filter(name="of one project").exists()
