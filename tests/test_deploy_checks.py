"""`manage.py check --deploy`: nothing to say of a whole production environment, and each gap by name."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from inference_store import checks

ROOT = Path(__file__).parent.parent
KEY = "k3Y-" + "aB9xQ2mZ" * 6
PRODUCTION = {
    "PUBLIC_URL": "https://store.example.org",
    "SECRET_KEY": KEY,
    "AUDIT_KEY": KEY[::-1],
    "DATABASE_URL": "postgres://store:secret@db.example.org:5432/store",
    "REDIS_URL": "redis://redis.example.org:6379/0",
    "BLOB_STORE": "s3://inferences/store",
    "S3_ENDPOINT_URL": "https://s3.example.org",
    "METRICS_TOKEN": KEY,
    "LOG_FORMAT": "json",
    "OIDC_ISSUER": "https://id.example.org/realms/team",
    "OIDC_CLIENT_ID": "inference-store",
    "OIDC_CLIENT_SECRET": KEY,
    "OIDC_ROLES": '{"ml-team": "vision:editor"}',
    "SENTRY_DSN": "https://public@sentry.example.org/1",
}


def check(home: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment |= PRODUCTION | {"INFERENCE_STORE_HOME": str(home)}
    environment["PYTHONWARNINGS"] = "ignore"  # of what only the tests have installed
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_production_has_no_issue(tmp_path: Path) -> None:
    done = check(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "System check identified no issues (0 silenced).\n"
    assert done.stderr == ""


@pytest.fixture
def production(settings: Any) -> Any:
    for name in ("PUBLIC_URL", "SECRET_KEY", "AUDIT_KEY", "DATABASE_URL", "BLOB_STORE", "METRICS_TOKEN"):
        setattr(settings, name, PRODUCTION[name])
    settings.IS_SECRET_KEY_GIVEN = True
    return settings


@pytest.mark.parametrize(
    ("setting", "value", "code"),
    [
        ("PUBLIC_URL", "http://store.example.org", "E005"),
        ("IS_SECRET_KEY_GIVEN", False, "W001"),
        ("AUDIT_KEY", "", "W002"),
        ("AUDIT_KEY", "short", "E010"),
        ("BLOB_STORE", "inferences/store", "E011"),
        ("METRICS_TOKEN", "prom", "W003"),
    ],
)
def test_what_lacks_is_named(production: Any, setting: str, value: Any, code: str) -> None:
    def found() -> list[str]:
        return [each.id for each in (*checks.safe_settings(), *checks.safe_deployment())]

    assert found() == []
    setattr(production, setting, value)
    assert found() == [f"inference_store.{code}"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SOFT_DELETED_KEPT_DAYS", "-1", "SOFT_DELETED_KEPT_DAYS is '-1': set a whole number, 0 or more"),
        ("LOGIN_FAILURES", "0", "LOGIN_FAILURES is '0': set a whole number, 1 or more"),
        ("STATEMENT_TIMEOUT_MS", "soon", "STATEMENT_TIMEOUT_MS is 'soon': set a whole number"),
        ("STATEMENT_TIMEOUT_MS", "-1", "STATEMENT_TIMEOUT_MS is '-1': set a whole number, 0 or more"),
        ("DATABASE_POOL_SIZE", "2.5", "DATABASE_POOL_SIZE is '2.5': set a whole number, 1 or more"),
        ("JOB_LEASE_SECONDS", "nan", "JOB_LEASE_SECONDS is 'nan': set a number, 0.1 or more"),
        ("PASSWORD_LOGIN", "tru", "PASSWORD_LOGIN is 'tru': set true or false, or leave it unset."),
        ("S3_ADDRESSING", "paths", "S3_ADDRESSING is 'paths': set auto or path or virtual, or leave"),
        ("LOG_FORMAT", "xml", "LOG_FORMAT is 'xml': set line or json"),
        ("LOG_LEVEL", "debug", "LOG_LEVEL is 'debug': set INFO or DEBUG or WARNING or ERROR or CRITICAL"),
        ("MAP_TILES_URL", "tiles.example/{z}/{x}", "HINT: Write it with {z}, {x} and {y}"),
    ],
)
def test_a_variable_that_makes_no_sense_starts_nothing(
    tmp_path: Path, name: str, value: str, said: str
) -> None:
    environment = os.environ | {"INFERENCE_STORE_HOME": str(tmp_path), name: value}
    done = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert said in "".join(done.stderr.splitlines()[-3:])


@pytest.mark.parametrize("name", ["missing/head", "", "head"])
def test_the_audit_logs_head_can_be_written(settings: Any, tmp_path: Path, name: str) -> None:
    settings.AUDIT_HEAD_FILE = str(tmp_path / name)
    found = [each.id for each in checks.writable_audit_head()]
    assert found == ([] if name == "head" else ["inference_store.E023"])


SHOW = """
from django.conf import settings
for name in ("SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "SECURE_HSTS_SECONDS", "SECURE_SSL_REDIRECT"):
    print(getattr(settings, name))
"""


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://store.example.org", ["__Host-sessionid", "__Host-csrftoken", "31536000", "True"]),
        ("", ["sessionid", "csrftoken", "0", "False"]),
    ],
)
def test_cookies_are_this_hosts_alone_where_there_is_https(
    tmp_path: Path, url: str, shown: list[str]
) -> None:
    environment = os.environ | {"INFERENCE_STORE_HOME": str(tmp_path), "PUBLIC_URL": url}
    done = subprocess.run(
        [sys.executable, "-c", SHOW], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == shown


@pytest.mark.parametrize(
    "address",
    ["bucket", "s3:/bucket", "s3://", "s3:///prefix", "http://bucket", "s3://b u", "s3://bucket?x=1"],
)
def test_a_malformed_bucket_is_refused(address: str) -> None:
    assert not checks.is_bucket(address)


@pytest.mark.parametrize("address", ["s3://bucket", "s3://my.bucket-1/some/prefix/"])
def test_a_bucket_is_taken(address: str) -> None:
    assert checks.is_bucket(address)
