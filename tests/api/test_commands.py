"""bootstrap and create_token."""

import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from inference_store.models import Membership, Project, Token, User
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


@pytest.mark.parametrize(
    ("arguments", "options"),
    [(("nobody",), {}), (("carol",), {"days": 0}), (("carol",), {"name": "x" * 101})],
)
def test_create_token_refuses(cast: Cast, arguments: Any, options: Any) -> None:
    with pytest.raises(CommandError):
        said("create_token", *arguments, **options)
    assert Token.objects.count() == 4
