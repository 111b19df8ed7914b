"""What a token is good for: its scopes, its project, its time; when it was used; and many wrong ones."""

import io
import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from threading import Thread
from typing import Any

import httpx
import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from inference_store import counters
from inference_store.api import operations
from inference_store.client.calls import refusal
from inference_store.contract.enums import TokenScope
from inference_store.contract.errors import Refusal
from inference_store.models import AuditRecord, Membership, Project, RegisteredModel, Token, User
from inference_store.services import token_throttle, tokens
from tests.cast import BASE, Caller, Cast, request_of

WRONG = "ist_" + "x" * 43


def holding(cast: Cast, name: str = "alice", **given: Any) -> Caller:
    return Caller(Token.objects.issue(cast.users[name], "another", **given)[1])


# --- What it is good for ------------------------------------------------------------------------------------
def test_a_missing_scope_is_named(cast: Cast, detector: RegisteredModel) -> None:
    answer = holding(cast, scopes=["read", "write"]).delete("models/detector/inferences/i-1")
    assert answer.status_code == 403
    assert answer.json()["code"] == "insufficient_scope"
    assert "lacks the scope delete" in answer.json()["error"]
    assert 'error="insufficient_scope", scope="delete"' in answer["WWW-Authenticate"]


def test_the_sdk_carries_the_reason(cast: Cast, detector: RegisteredModel) -> None:
    expired = timezone.now() - timedelta(seconds=1)
    for given, status, code, said in (
        ({"scopes": ["read"]}, 403, "insufficient_scope", "lacks the scope delete"),
        ({"expires_at": expired}, 401, "token_expired", "expired on"),
    ):
        answer = holding(cast, **given).delete("models/detector/inferences/i-1")
        error = refusal(httpx.Response(answer.status_code, content=answer.content))
        assert (error.status, error.code) == (status, code)
        assert said in str(error)


class Slow(io.BytesIO):
    """A body; something happens while it comes."""

    def __init__(self, content: bytes, happens: Callable[[], object]) -> None:
        super().__init__(content)
        self.happens = happens

    def read(self, size: int | None = -1) -> bytes:
        self.happens()
        return super().read(size)


def sent_slowly(token: str, path: str, body: Any, happens: Callable[[], object]) -> Any:
    content = json.dumps(body).encode()
    more: Any = {"wsgi.input": Slow(content, happens), "CONTENT_LENGTH": str(len(content))}
    headers = {"HTTP_AUTHORIZATION": f"Bearer {token}", "CONTENT_TYPE": "application/json"}
    return Client().generic("POST", f"{BASE}/{path}", **headers, **more)


LOSSES: dict[int, Callable[[User], object]] = {
    401: lambda user: user.tokens.all().delete(),
    403: lambda user: user.memberships.update(role="viewer"),
    404: lambda user: user.memberships.all().delete(),
}


@pytest.mark.parametrize("status", LOSSES)
@pytest.mark.parametrize("path", ["inferences", "bulk-create", "bulk-delete"])
def test_rights_that_are_lost_while_a_body_comes(
    cast: Cast, detector: RegisteredModel, monkeypatch: pytest.MonkeyPatch, path: str, status: int
) -> None:
    monkeypatch.setattr(operations, "TRUSTED_SECONDS", -1)
    one, before = request_of("new"), detector.inferences.count()
    body = {"inferences": one, "bulk-create": [one], "bulk-delete": {"filters": {}}}[path]
    loss = partial(LOSSES[status], cast.users["bob"])
    answer = sent_slowly(cast.bob.token or "", f"models/detector/{path}", body, loss)
    assert answer.status_code == status, answer.content
    assert detector.inferences.count() == before


def test_a_token_that_may_only_write_reads_nothing(cast: Cast, detector: RegisteredModel) -> None:
    put = {"is_protected": False}
    answer = holding(cast, scopes=["write"]).put("models/detector/inferences/i-1/protection", put)
    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")


def test_a_scope_is_no_role(cast: Cast, detector: RegisteredModel) -> None:
    answer = holding(cast, "carol").delete("models/detector/inferences/i-1")
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_a_token_of_one_project_sees_no_other(cast: Cast, detector: RegisteredModel) -> None:
    elsewhere = Project.objects.get(pk="elsewhere")
    Membership.objects.create(user=cast.users["alice"], project=elsewhere, role="admin")
    RegisteredModel.objects.create(model_id="other", project=elsewhere, task_type="Text Embedding")
    caller = holding(cast, project=elsewhere)
    assert [each["project_id"] for each in caller.get("projects").json()["projects"]] == ["elsewhere"]
    assert [each["model_id"] for each in caller.get("models").json()["models"]] == ["other"]
    assert caller.get("models/other").status_code == 200
    assert caller.get("models/detector").status_code == 404
    assert caller.get("projects/birds/audit").status_code == 404
    new = {"model_id": "new", "project_id": "birds", "task_type": "Text Embedding"}
    assert caller.post("models", new).status_code == 404
    assert caller.post("models", new | {"project_id": "elsewhere"}).status_code == 201
    elsewhere.models.all().delete()
    elsewhere.delete()
    assert caller.get("models").status_code == 401  # rather than good for all


def test_an_expired_token_says_so(cast: Cast) -> None:
    caller = holding(cast, expires_at=timezone.now() - timedelta(seconds=1))
    answer = caller.get("models")
    assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")
    assert "'another' expired on" in answer.json()["error"]
    assert 'error="invalid_token"' in answer["WWW-Authenticate"]


def test_who_calls_stays_one_statement(cast: Cast, detector: RegisteredModel) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert cast.alice.get("models/detector").status_code == 200
    assert len(queries) == 1


# --- That it was used ---------------------------------------------------------------------------------------
def test_its_use_is_noted_now_and_then(cast: Cast, detector: RegisteredModel) -> None:
    caller = holding(cast)
    token = Token.objects.get(name="another")

    def noted() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert caller.get("models/detector").status_code == 200
        return len(queries) - 1

    assert [noted(), noted(), noted()] == [1, 0, 0]
    token.refresh_from_db()
    first = token.last_used_at
    assert first is not None
    Token.objects.filter(pk=token.pk).update(last_used_at=first - timedelta(minutes=6))
    assert [noted(), noted()] == [1, 0]


@pytest.mark.django_db(transaction=True)
def test_noting_waits_for_nobody(cast: Cast, detector: RegisteredModel) -> None:
    caller, found = holding(cast), []

    def call() -> None:
        found.append(caller.get("models/detector").status_code)
        connection.close()

    with transaction.atomic():
        token = Token.objects.select_for_update().get(name="another")
        thread = Thread(target=call)
        thread.start()
        thread.join(20)
        assert found == [200]
        token.refresh_from_db()
        assert token.last_used_at is None


# --- Wrong ones ---------------------------------------------------------------------------------------------
def sent(caller: Caller, address: str) -> Any:
    return caller.get("models", REMOTE_ADDR=address)


def test_many_wrong_tokens_from_one_address_are_told_to_wait(cast: Cast, settings: Any) -> None:
    settings.TOKEN_FAILURES, settings.TOKEN_THROTTLED_SECONDS = 3, 3_600
    wrong, address = Caller(WRONG), "203.0.113.50"
    assert [sent(wrong, address).status_code for _ in range(4)] == [401, 401, 401, 429]
    answer = sent(wrong, address)
    assert answer.json()["code"] == "too_many_wrong_tokens"
    assert 1 <= int(answer["Retry-After"]) <= 3_600
    # Behind one proxy or one roof, others are not to suffer for it.
    assert sent(cast.alice, address).status_code == 200
    assert sent(wrong, "203.0.113.51").status_code == 401
    # A token that has expired is somebody's: it goes on being told so.
    expired = holding(cast, expires_at=timezone.now() - timedelta(seconds=1))
    assert sent(expired, address).status_code == 401


def test_they_are_counted(cast: Cast) -> None:
    def counted() -> float:
        found = counters.counts().registry().get_sample_value("inference_store_wrong_tokens_total")
        return found or 0.0

    before = counted()
    assert cast.alice.get("models").status_code == 200
    assert counted() == before
    assert Caller(WRONG).get("models").status_code == 401
    assert counted() == before + 1


def test_addresses_of_one_network_are_one(cast: Cast, settings: Any) -> None:
    settings.TOKEN_FAILURES, settings.TOKEN_THROTTLED_SECONDS = 1, 3_600
    wrong = Caller(WRONG)
    assert sent(wrong, "2001:db8:7:7::1").status_code == 401
    assert sent(wrong, "2001:db8:7:7:ffff::2").status_code == 429
    assert sent(wrong, "2001:db8:7:8::1").status_code == 401


def test_it_ends_with_its_time(cast: Cast, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.TOKEN_FAILURES, settings.TOKEN_THROTTLED_SECONDS = 1, 60
    now = 1_000_000_020.0
    monkeypatch.setattr(token_throttle.time, "time", lambda: now)
    assert [token_throttle.seconds_to_wait("203.0.113.60") for _ in range(2)] == [0, 60 - now % 60]
    now += 60
    assert token_throttle.seconds_to_wait("203.0.113.60") == 0


def test_good_tokens_ask_no_redis_and_wrong_ones_do_without(cast: Cast, settings: Any) -> None:
    away = settings.CACHES["default"] | {"LOCATION": "redis://127.0.0.1:1/0"}
    settings.CACHES = {"default": away}
    settings.TOKEN_FAILURES = 1
    assert sent(cast.alice, "203.0.113.70").status_code == 200
    assert [sent(Caller(WRONG), "203.0.113.70").status_code for _ in range(3)] == [401, 401, 401]


def test_what_can_be_no_token_is_not_looked_up(cast: Cast) -> None:
    for secret in ("x", "ist_x", WRONG + "x", WRONG[:-1] + "é", WRONG[4:]):
        with CaptureQueriesContext(connection) as queries:
            assert Caller(secret).get("models").status_code == 401
        assert len(queries) == 0


# --- How one is made ----------------------------------------------------------------------------------------
def make(cast: Cast, **given: Any) -> Token:
    return tokens.create_token(user=cast.users["carol"], **{"name": "ci", "days": 7} | given)[0]


def test_a_token_is_made_and_revoked_with_records(cast: Cast) -> None:
    token, secret = tokens.create_token(
        user=cast.users["carol"], name=" ci ", days=None, scopes=[TokenScope.WRITE, TokenScope.READ]
    )
    assert (token.name, token.scopes, token.expires_at) == ("ci", ["read", "write"], None)
    assert secret not in str(Token.objects.filter(pk=token.pk).values())
    assert Caller(secret).get("models").status_code == 200
    with pytest.raises(Refusal) as refused:
        tokens.revoke_token(user=cast.users["bob"], token_id=token.pk)
    assert refused.value.status == 404
    tokens.revoke_token(user=cast.users["carol"], token_id=token.pk)
    assert Caller(secret).get("models").status_code == 401
    made, revoked = AuditRecord.objects.order_by("id")
    assert (made.action, revoked.action) == ("token.create", "token.delete")
    assert token.hint in made.details
    assert secret not in made.details
    assert token.digest not in made.details


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"name": ""}, 400),
        ({"name": "a\tb"}, 400),
        ({"description": "x" * 501}, 400),
        ({"scopes": []}, 400),
        ({"days": 0}, 400),
        ({"days": 31}, 400),
        ({"days": None}, 400),
        ({"name": "tests"}, 409),
    ],
)
def test_what_is_no_token(cast: Cast, settings: Any, given: dict[str, Any], status: int) -> None:
    settings.TOKEN_MAXIMUM_DAYS = 30
    with pytest.raises(Refusal) as refused:
        make(cast, **given)
    assert refused.value.status == status
    assert Token.objects.count() == 4
    assert not AuditRecord.objects.exists()


@pytest.mark.parametrize(
    ("usual", "most", "days"), [(365, 0, 365), (0, 0, None), (365, 30, 30), (0, 30, 30), (7, 30, 7)]
)
def test_how_long_it_is_good_for(settings: Any, usual: int, most: int, days: int | None) -> None:
    settings.TOKEN_DAYS, settings.TOKEN_MAXIMUM_DAYS = usual, most
    assert tokens.default_days() == days


def test_there_is_an_end_to_them(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MOST_TOKENS", 2)
    make(cast)
    with pytest.raises(Refusal) as refused:
        make(cast, name="another")
    assert refused.value.status == 409
