"""Signing in with a real OpenID provider, over HTTP: who comes in, as whom, and what they may do."""

from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command

from inference_store.models import AuditRecord, Identity, Membership, Project, Role, User
from inference_store.services import sessions
from tests.making import LONG_AGO, make_project, make_user

pytestmark = pytest.mark.django_db(transaction=True)


def test_somebody_new_signs_in_and_out(provider, person):
    ada = person("ada")
    shown = ada.get("/login/", params={"next": "/help/"}).text
    assert "Sign in with Example ID" in shown
    assert "/login/oidc/?next=%2Fhelp%2F" in shown
    answer = ada.signs_in("/help/?q=1")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/help/?q=1")
    assert ada.is_in
    user = User.objects.get()
    assert (user.username, user.email) == ("ada", "ada@example.org")
    assert (user.is_staff, user.is_superuser, user.has_usable_password()) == (False, False, False)
    identity = Identity.objects.get()
    assert (identity.issuer, identity.subject) == (provider.issuer, provider.subjects["ada"])

    token = ada.browser.cookies["csrftoken"]
    answer = ada.browser.post(f"{ada.store}/logout/", data={"csrfmiddlewaretoken": token})
    assert answer.headers["Location"] == "/login/"
    assert not ada.is_in
    assert ada.signs_in().status_code == 302
    assert User.objects.count() == 1
    actions = list(AuditRecord.objects.order_by("id").values_list("action", "actor"))
    expected = ["user.create", "login", "logout", "login"]
    assert actions == [(action, "ada") for action in expected]
    assert provider.issuer in AuditRecord.objects.filter(action="login").first().details


def test_the_request_holds_state_nonce_and_challenge(provider, person):
    ada = person("ada")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(ada.begin()).query).items()}
    assert asked["response_type"] == "code"
    assert asked["code_challenge_method"] == "S256"
    assert asked["scope"] == "openid email profile"
    assert len(asked["state"]) >= 32 <= len(asked["nonce"])
    assert asked["redirect_uri"] == f"{ada.store}/login/oidc/callback"
    assert "secret" not in str(asked)


def test_sessions_that_are_over_are_removed(provider, person):
    ada, nobody = person("ada"), person("eve")
    nobody.begin()
    ada.signs_in()
    Session.objects.filter(pk=nobody.browser.cookies["sessionid"]).update(expire_date=LONG_AGO)
    assert sessions.remove_expired() == 1
    assert sessions.remove_expired() == 0
    assert ada.is_in


def test_a_session_ends_with_its_hours(provider, person, settings):
    settings.OIDC_SESSION_HOURS = 2
    answer = person("ada").signs_in()
    assert "Max-Age=7200" in answer.headers["Set-Cookie"]


def test_who_is_known_by_password_is_not_taken_over(provider, person):
    make_user("ada", email="ada@example.org")
    ada = person("ada")
    assert ada.signs_in().status_code == 302
    assert Identity.objects.get().user.username == "ada-2"


@pytest.mark.parametrize(
    ("who", "rights", "username"),
    [
        ("ada", {}, "ada"),  # linked: an ordinary user of that verified address
        ("eve", {}, "eve"),  # the same address, not verified
        ("ada", {"is_superuser": True}, "ada-2"),
        ("ada", {"is_staff": True}, "ada-2"),
        ("ada", {"is_active": False}, "ada-2"),
    ],
)
def test_an_email_links_only_where_that_is_safe(provider, person, settings, who, rights, username):
    settings.OIDC_LINK_EMAILS = True
    make_user("ada", email="Ada@example.org", **rights)
    somebody = person(who)
    assert somebody.signs_in().status_code == 302
    user = Identity.objects.get().user
    assert user.username == username
    assert (user.is_superuser, user.is_staff) == (False, False)


def test_two_users_of_one_address_are_not_guessed_between(provider, person, settings):
    settings.OIDC_LINK_EMAILS = True
    make_user("one", email="ada@example.org")
    make_user("two", email="ada@example.org")
    person("ada").signs_in()
    assert Identity.objects.get().user.username == "ada"


def test_without_creating_only_the_known_come_in(provider, person, settings):
    settings.OIDC_CREATE_USERS = False
    ada = person("ada")
    answer = ada.signs_in()
    assert answer.status_code == 403
    assert "ask an administrator" in answer.text
    assert User.objects.count() == 0
    root = User.objects.create_superuser("root")
    call_command("link_identity", "root", provider.subjects["ada"], verbosity=0)
    assert ada.signs_in().status_code == 302
    assert "root" in ada.get("/").text
    with pytest.raises(CommandError, match="somebody's already"):
        call_command("link_identity", "root", provider.subjects["ada"])
    call_command("link_identity", "root", remove=True)
    assert person("ada").signs_in().status_code == 403
    root.refresh_from_db()
    assert root.is_superuser


def test_who_is_disabled_stays_out(provider, person):
    ada = person("ada")
    ada.signs_in()
    User.objects.update(is_active=False)
    assert not ada.is_in
    answer = person("ada").signs_in()
    assert answer.status_code == 403
    assert "disabled" in answer.text


@pytest.mark.parametrize(
    ("who", "domains", "status"),
    [("ada", ["example.org"], 302), ("ada", ["ple.org", "other.org"], 403), ("eve", ["example.org"], 403)],
)
def test_only_verified_addresses_of_the_domains(provider, person, settings, who, domains, status):
    settings.OIDC_EMAIL_DOMAINS = domains
    assert person(who).signs_in().status_code == status
    assert User.objects.count() == (status == 302)


def roles(user):
    return dict(Membership.objects.filter(user=user).values_list("project_id", "role"))


def test_groups_are_roles(provider, person, settings):
    settings.OIDC_ROLES = """{"ml-team": ["vision:viewer", "birds:editor", "gone:admin"],
        "leads": "vision:admin", "birders": "birds:viewer"}"""
    for name in ("vision", "birds", "other"):
        make_project(name)
    person("ada").signs_in()
    user = User.objects.get()
    Membership.objects.create(user=user, project=Project.objects.get(pk="other"), role=Role.ADMIN)
    assert roles(user) == {"vision": "viewer", "birds": "editor", "other": "admin"}

    more = {"email": "ada@example.org", "email_verified": True, "groups": ["ml-team", "leads", "birders"]}
    provider.control(people={"ada": more})
    person("ada").signs_in()
    assert roles(user) == {"vision": "admin", "birds": "editor", "other": "admin"}

    provider.control(people={"ada": {}})  # without the claim: no group
    person("ada").signs_in()
    assert roles(user) == {"other": "admin"}
    told = AuditRecord.objects.filter(action__startswith="member.").order_by("id")
    assert list(told.values_list("action", "project_id")) == [
        *(("member.set", "birds"), ("member.set", "vision"), ("member.set", "vision")),
        *(("member.remove", "birds"), ("member.remove", "vision")),
    ]


def test_groups_may_lie_deeper(provider, person, settings):
    settings.OIDC_ROLES, settings.OIDC_GROUPS_CLAIM = '{"ml": "vision:editor"}', "realm_access.roles"
    make_project("vision")
    provider.control(people={"ada": {"realm_access": {"roles": ["ml", 7]}}})
    person("ada").signs_in()
    assert roles(User.objects.get()) == {"vision": "editor"}


def test_what_the_token_lacks_userinfo_tells(provider, person):
    provider.tampers("bare")
    person("ada").signs_in()
    assert User.objects.get().email == "ada@example.org"


def test_without_passwords_none_is_good(provider, person, settings, client):
    make_user("bob")
    settings.PASSWORD_LOGIN = False
    settings.AUTHENTICATION_BACKENDS = [
        each for each in settings.AUTHENTICATION_BACKENDS if "ModelBackend" not in each
    ]
    for page in ("/login/", "/admin/login/"):
        shown = client.get(page).content.decode()
        assert "Sign in with Example ID" in shown
        assert 'type="password"' not in shown
        client.post(page, {"username": "bob", "password": "a secret"})
        assert client.get("/").status_code == 302
    assert person("ada").signs_in().status_code == 302


def test_spelt_out_endpoints_need_no_document(provider, person, settings):
    settings.OIDC_AUTHORIZATION_ENDPOINT = f"{provider.issuer}/authorize/"
    settings.OIDC_TOKEN_ENDPOINT = f"{provider.issuer}/token/"
    settings.OIDC_JWKS_ENDPOINT = f"{provider.issuer}/.well-known/jwks.json"
    assert person("ada").signs_in().status_code == 302


def test_signing_out_at_the_provider_too(provider, person, settings):
    settings.OIDC_LOGOUT = True
    ada = person("ada")
    ada.signs_in()
    ada.get("/")
    token = ada.browser.cookies["csrftoken"]
    answer = ada.browser.post(f"{ada.store}/logout/", data={"csrfmiddlewaretoken": token})
    assert answer.status_code == 200
    assert f'content="0; url={provider.issuer}/logout/?id_token_hint=' in answer.text
    assert "form-action 'self';" in answer.headers["Content-Security-Policy"]
    assert not ada.is_in


# --- The provider is away -----------------------------------------------------------------------------------
def test_a_provider_that_is_away_is_said_so(provider, person, settings):
    ada = person("ada")
    back = ada.at_provider(ada.begin())
    provider.control(state={"away": True})
    answer = ada.get(back)
    assert answer.status_code == 503
    assert "secret words" not in answer.text
    provider.control(state={"away": False})
    assert ada.signs_in().status_code == 302
    assert ada.is_in
    settings.OIDC_ISSUER = "http://127.0.0.1:9/o"
    answer = person("ada").get("/login/oidc/")
    assert answer.status_code == 503
    assert "does not answer" in answer.text
    assert ada.is_in  # pages ask nothing of it


def test_a_document_of_another_issuer_is_not_believed(provider, person, settings):
    settings.OIDC_ISSUER = provider.issuer.replace("127.0.0.1", "localhost") + "/"
    assert person("ada").get("/login/oidc/").status_code == 503


def test_without_the_setting_there_is_nothing(client, db):
    assert client.get("/login/oidc/").status_code == 404
    assert client.get("/login/oidc/callback?code=a&state=b").status_code == 404
    assert "Sign in with" not in client.get("/login/").content.decode()


def test_signing_in_by_password_goes_on(provider, client, live_server):
    make_user("bob")
    assert client.post("/login/", {"username": "bob", "password": "a secret"}).status_code == 302
    assert client.get("/").status_code == 200
    assert (
        httpx.get(f"{live_server.url}/admin/login/?next=/admin/").text.count("Sign in with Example ID") == 1
    )
