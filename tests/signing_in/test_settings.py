"""Mistakes in the settings of signing in are told at the start."""

from types import SimpleNamespace

import pytest
from django.core.exceptions import ImproperlyConfigured

from inference_store import checks, openid_checks, role_mapping
from inference_store.models import Role
from inference_store.services import identities

GOOD = {
    "OIDC_ISSUER": "https://id.example.org/realms/team",
    "OIDC_CLIENT_ID": "store",
    "OIDC_CLIENT_SECRET": "hush",
    "OIDC_ROLES": '{"ml-team": "vision:editor"}',
    "OIDC_EMAIL_DOMAINS": ["example.org"],
}
NONE = {"OIDC_ISSUER": "", "OIDC_CLIENT_ID": "", "OIDC_CLIENT_SECRET": ""}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, None),
        (NONE, None),
        ({"OIDC_ISSUER": ""}, "E021"),
        (NONE | {"PASSWORD_LOGIN": False}, "E020"),
        ({"PASSWORD_LOGIN": False}, None),
        ({"OIDC_ISSUER": "http://id.example.org"}, "E023"),
        ({"OIDC_ISSUER": "id.example.org"}, "E023"),
        ({"OIDC_ISSUER": "http://127.0.0.1:9000/o"}, None),
        ({"OIDC_LOGOUT_ENDPOINT": "http://id.example.org/bye"}, "E023"),
        ({"OIDC_CLIENT_ID": ""}, "E024"),
        ({"OIDC_CLIENT_SECRET": ""}, "E024"),
        ({"OIDC_SCOPES": "email"}, "E025"),
        ({"OIDC_TOKEN_ENDPOINT": "https://id.example.org/token"}, "E026"),
        ({"OIDC_ROLES": "ml-team=vision:editor"}, "E027"),
        ({"OIDC_ROLES": '["ml-team"]'}, "E027"),
        ({"OIDC_ROLES": '{"ml-team": "vision"}'}, "E027"),
        ({"OIDC_ROLES": '{"ml-team": "vision:owner"}'}, "E027"),
        ({"OIDC_ROLES": '{"ml-team": 7}'}, "E027"),
        ({"OIDC_EMAIL_DOMAINS": ["*.example.org"]}, "E028"),
        ({"OIDC_SESSION_HOURS": 0}, "E029"),
    ],
)
def test_a_mistake_is_named(settings, changes, code):
    for name, value in (GOOD | changes).items():
        setattr(settings, name, value)
    found = openid_checks.safe_sign_in()
    assert [each.id for each in found] == ([f"inference_store.{code}"] if code else [])
    assert all(each.hint and "hush" not in each.msg for each in found)
    if code:
        with pytest.raises(ImproperlyConfigured, match="OIDC"):
            checks.refuse_unsafe_settings()


def test_the_highest_role_counts():
    mapping = role_mapping.parsed('{"a": ["p:viewer", "with:colon:admin"], "b": "p:editor"}')
    assert role_mapping.roles_of(("b", "a", "c"), mapping) == {"p": Role.EDITOR, "with:colon": Role.ADMIN}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "email", "username"),
    [
        ("ada", "", "ada"),
        ("ada lovelace", "ada@example.org", "ada@example.org"),
        ("<b>", "", "user"),
        ("", "", "user"),
        ("a" * 400, "", "a" * 140),
    ],
)
def test_names_that_can_be_none_are_replaced(name, email, username):
    assert identities.free_name(SimpleNamespace(name=name, email=email)) == username
