"""Faults below the API, told in its one shape."""

from typing import Any

import psycopg
import pytest
from django.db import OperationalError

from inference_store.models import RegisteredModel
from tests.cast import Cast

SHAPE = {"error", "code", "fields"}


def failing(error: Exception) -> Any:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error

    return fail


def database_error(cause: psycopg.Error) -> OperationalError:
    error = OperationalError(str(cause))
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (database_error(psycopg.OperationalError("gone: host=10.0.0.7")), 503, "database_unavailable"),
        (database_error(psycopg.errors.QueryCanceled("timeout")), 503, "query_timeout"),
        (database_error(psycopg.errors.DeadlockDetected("deadlock")), 503, "busy"),
        (database_error(psycopg.errors.DiskFull("full")), 507, "storage_full"),
        (OSError(28, "No space left on device"), 507, "storage_full"),
    ],
)
def test_faults_below(
    cast: Cast,
    detector: RegisteredModel,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: int,
    code: str,
) -> None:
    monkeypatch.setattr("inference_store.query.pages.plain_page", failing(error))
    answer = cast.carol.post("models/detector/search", {})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert set(answer.json()) == SHAPE
    assert "10.0.0.7" not in answer.content.decode()
    assert ("Retry-After" in answer) == (status == 503)


def test_a_database_that_is_away_while_the_token_is_read(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    error = database_error(psycopg.OperationalError("couldn't get a connection after 10.00 sec"))
    monkeypatch.setattr("inference_store.services.access.caller", failing(error))
    answer = cast.carol.get("models")
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")


@pytest.mark.parametrize("debug", [False, True])
def test_our_own_fault_is_logged_and_not_told(
    cast: Cast,
    detector: RegisteredModel,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    settings: Any,
    debug: bool,
) -> None:
    settings.DEBUG = debug
    monkeypatch.setattr("inference_store.query.pages.plain_page", failing(KeyError("secret detail")))
    cast.carol.raises = False
    answer = cast.carol.post("models/detector/search", {})
    assert answer.status_code == 500
    assert set(answer.json()) == SHAPE
    assert "secret" not in answer.content.decode()
    assert "secret detail" in caplog.text


def test_a_statement_timeout_for_real(cast: Cast, detector: RegisteredModel, monkeypatch: Any) -> None:
    from django.db import connection, transaction

    def slow(*args: Any) -> Any:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("set local statement_timeout = 20")
            cursor.execute("select pg_sleep(5)")

    monkeypatch.setattr("inference_store.query.pages.count_inferences", slow)
    answer = cast.carol.post("models/detector/count", {})
    assert (answer.status_code, answer.json()["code"]) == (503, "query_timeout")
    assert "narrow" in answer.json()["error"]


@pytest.mark.parametrize("path", ["", "nothing", "models/", "models/detector/nothing", "blobs/", "x" * 5_000])
def test_unknown_addresses(cast: Cast, detector: RegisteredModel, path: str) -> None:
    for method in ("GET", "POST", "DELETE", "PATCH", "OPTIONS"):
        answer = cast.alice(method, path)
        assert answer.status_code == 404, (method, path)
        assert set(answer.json()) == SHAPE


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "TRACE", "FOO"])
def test_other_methods(cast: Cast, detector: RegisteredModel, method: str) -> None:
    answer = cast.alice(method, "models/detector/search")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert "POST" in answer["Allow"]


def test_a_host_that_is_not_ours(cast: Cast, settings: Any) -> None:
    answer = cast.carol.get("models", HTTP_HOST="evil.example")
    assert answer.status_code == 400 or answer.json()["models"] == []


def test_health_asks_no_database(client: Any) -> None:
    answer = client.get("/healthz")
    assert answer.json() == {"status": "ok"}


def test_head(cast: Cast, detector: RegisteredModel) -> None:
    answer = cast.carol("HEAD", "models/detector")
    assert (answer.status_code, answer.content) == (200, b"")
