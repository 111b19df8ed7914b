"""bootstrap and create_token."""

import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from inference_store.contract.enums import TokenScope
from inference_store.models import AuditRecord, Membership, Project, Token, User
from inference_store.models.access import token_digest
from tests.cast import Caller, Cast


def said(*arguments: Any, **options: Any) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, **options)
    return out.getvalue()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INFERENCE_STORE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.usefixtures("db")
def test_bootstrap_once(home: Path, client: Any) -> None:
    told = said("bootstrap")
    password = re.search(r"password\s+(\S+)", told)
    token = re.search(r"(ist_\S+)", told)
    assert password
    assert token
    assert client.post("/login/", {"username": "admin", "password": password[1]}).status_code == 302
    assert Caller(token[1]).get("projects").json()["projects"][0]["project_id"] == "demo"
    kept = home / "first_token"
    assert kept.read_text().strip() == token[1]
    assert kept.stat().st_mode & 0o777 == 0o600
    assert said("bootstrap") == ""
    assert (User.objects.count(), Project.objects.count(), Token.objects.count()) == (1, 1, 1)


def test_bootstrap_leaves_a_store_with_users_alone(cast: Cast, home: Path) -> None:
    assert said("bootstrap") == ""
    assert not (home / "first_token").exists()
    assert not User.objects.filter(is_superuser=True).exists()
    assert Membership.objects.count() == 4


def test_create_token(cast: Cast) -> None:
    secret = said("create_token", "carol", name="notebook", days=2).strip()
    assert Caller(secret).get("projects").status_code == 200
    token = Token.objects.get(name="notebook")
    assert token.expires_at is not None
    assert (token.expires_at - token.created_at).days in (1, 2)
    assert token.scopes == [scope.value for scope in TokenScope]
    record = AuditRecord.objects.get()
    assert record.action == "token.create"
    assert secret not in record.details


def test_create_token_of_less(cast: Cast) -> None:
    given = ("create_token", "alice", "--scope", "read", "--scope", "export")
    for _ in range(2):  # nobody need think of a name
        secret = said(*given, "--project", "birds").strip()
    token = Token.objects.get(digest=token_digest(secret))
    assert (token.scopes, token.project_id) == (["read", "export"], "birds")
    assert token.expires_at is not None  # as TOKEN_DAYS says
    said("create_token", "alice", "--never-expires", "--name", "for ever")
    assert Token.objects.get(name="for ever").expires_at is None


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("nobody",), {}),
        (("carol",), {"days": 0}),
        (("carol",), {"name": "x" * 101}),
        (("carol",), {"name": "tests"}),
        (("carol",), {"project": "elsewhere"}),
        (("carol", "--scope", "admin"), {}),
    ],
)
def test_create_token_refuses(cast: Cast, arguments: Any, options: Any) -> None:
    with pytest.raises(CommandError):
        said("create_token", *arguments, **options)
    assert Token.objects.count() == 4
