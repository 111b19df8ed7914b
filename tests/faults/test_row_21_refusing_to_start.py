"""Unsafe settings: `manage.py check` names what to set, the server does not start (fault 21)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GOOD_KEY = "k3Y-" + "aB9xQ2mZ" * 6
UNSAFE = [
    ({"SECRET_KEY": "django-insecure-0123456789-0123456789-0123456789"}, "SECRET_KEY"),
    ({"SECRET_KEY": "short"}, "SECRET_KEY"),
    ({"SECRET_KEY": "change-me-change-me-change-me-change-me-change-me"}, "SECRET_KEY"),
    ({"ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS"),
    ({"ALLOWED_HOSTS": ".example.org"}, "ALLOWED_HOSTS"),
    ({"DEBUG": "1", "PUBLIC_URL": "https://store.example.org"}, "DEBUG"),
    ({"PUBLIC_URL": "store.example.org"}, "PUBLIC_URL"),
]


def run(home: Path, changes: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    unset = ("SECRET_KEY", "ALLOWED_HOSTS", "DEBUG", "PUBLIC_URL", "DJANGO_ALLOW_ASYNC_UNSAFE")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {"INFERENCE_STORE_HOME": str(home)} | changes
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(("changes", "named"), UNSAFE)
def test_check_refuses(tmp_path: Path, changes: dict[str, str], named: str) -> None:
    done = run(tmp_path, changes, "manage.py", "check")
    assert done.returncode != 0
    assert named in done.stderr
    assert "HINT" in done.stderr


@pytest.mark.parametrize(("changes", "named"), UNSAFE)
def test_the_server_does_not_start(tmp_path: Path, changes: dict[str, str], named: str) -> None:
    done = run(tmp_path, changes, "-c", "import inference_store.wsgi")
    assert done.returncode != 0
    assert "ImproperlyConfigured" in done.stderr
    assert named in done.stderr


def test_nothing_set_is_safe_on_this_machine_only(tmp_path: Path) -> None:
    assert run(tmp_path, {}, "manage.py", "check").returncode == 0
    assert run(tmp_path, {}, "-c", "import inference_store.wsgi").returncode == 0
    deployed = run(tmp_path, {}, "manage.py", "check", "--deploy")
    assert deployed.returncode != 0
    assert "PUBLIC_URL" in deployed.stderr


def test_a_public_address_is_all_it_takes(tmp_path: Path) -> None:
    changes = {"PUBLIC_URL": "https://store.example.org", "SECRET_KEY": GOOD_KEY}
    done = run(tmp_path, changes, "manage.py", "check", "--deploy")
    assert done.returncode == 0, done.stderr
