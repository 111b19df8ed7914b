"""The connection: where it goes, when it asks again, and what it says when it fails."""

import multiprocessing
import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from inference_store import client as istore
from inference_store.client import connection
from tests.client.scripted_store import HTML_404, Answer, ScriptedStore, refused

MODEL = {
    "model_id": "m",
    "created_at": "2026-01-31T12:00:00Z",
    "updated_at": "2026-01-31T12:00:00Z",
    "embedding_size": 0,
}
FOUND = Answer(200, MODEL)
EVERYTHING = istore.NewGetInferencesRequest()
UPLOADED = Answer(201)


def get_model() -> object:
    return istore.get_registered_model("m")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


# --- Where it goes -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("suffix", ["", "/", "/api/inference-store/v1", "/api/inference-store/v1/"])
def test_the_base_url_is_the_server_or_its_api(store: ScriptedStore, suffix: str) -> None:
    store.answers = [FOUND]
    istore.connect(base_url=store.url + suffix, token="secret")

    assert istore.get_registered_model("m") is not None
    assert store.received[0].target == "/api/inference-store/v1/models/m"
    assert store.received[0].headers["authorization"] == "Bearer secret"


def test_a_server_below_a_path_is_reached_there(store: ScriptedStore) -> None:
    store.answers = [FOUND]
    istore.connect(base_url=store.url + "/tools/store", token="secret")
    get_model()
    assert store.received[0].target == "/tools/store/api/inference-store/v1/models/m"


def test_https_is_kept() -> None:
    istore.connect(base_url="https://store.example", token="secret")
    assert connection.current().settings.base_url == "https://store.example/api/inference-store/v1"


def test_the_environment_is_read_at_the_first_call(
    store: ScriptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.answers = [FOUND]
    istore.disconnect()
    monkeypatch.setenv("INFERENCE_STORE_URL", store.url)
    monkeypatch.setenv("INFERENCE_STORE_TOKEN", "from-environment\n")

    get_model()
    assert store.received[0].headers["authorization"] == "Bearer from-environment"


def test_what_connect_is_given_wins_over_the_environment(
    store: ScriptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.answers = [FOUND]
    monkeypatch.setenv("INFERENCE_STORE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("INFERENCE_STORE_TOKEN", "from-environment")
    istore.connect(base_url=store.url)

    get_model()
    assert store.received[0].headers["authorization"] == "Bearer from-environment"


def test_a_proxy_in_the_environment_is_not_asked_for_the_own_machine(
    store: ScriptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.answers = [FOUND]
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    istore.connect(base_url=store.url, token="secret")
    assert get_model() is not None


def test_without_settings_the_error_names_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(istore.InferenceStoreError, match="INFERENCE_STORE_URL") as raised:
        get_model()
    assert (raised.value.status, raised.value.code) == (0, "not_configured")

    monkeypatch.setenv("INFERENCE_STORE_URL", "http://127.0.0.1:8000")
    with pytest.raises(istore.InferenceStoreError, match="INFERENCE_STORE_TOKEN"):
        get_model()


@pytest.mark.parametrize(
    ("url", "token", "timeout"),
    [
        ("127.0.0.1:8000", "secret", None),
        ("ftp://store.example", "secret", None),
        ("http://", "secret", None),
        ("http://[::1", "secret", None),
        ("http://user:password@store.example", "secret", None),
        ("http://store.example?x=1", "secret", None),
        ("http://store.example#x", "secret", None),
        ("http://store.example", "tök", None),
        ("http://store.example", "two\nlines", None),
        ("http://store.example", "secret", 0),
        ("http://store.example", "secret", float("nan")),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(url: str, token: str, timeout: float | None) -> None:
    with pytest.raises(istore.InferenceStoreError) as raised:
        istore.connect(base_url=url, token=token, timeout=timeout)
    assert raised.value.code == "not_configured"
    assert token not in str(raised.value)


def test_the_token_does_not_show() -> None:
    istore.connect(base_url="http://store.example", token="hush")
    assert "hush" not in repr(connection.current())


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b", "a\nb", "x" * 256])
def test_what_cannot_be_an_id_is_refused_before_it_names_another_address(
    store: ScriptedStore, bad: str
) -> None:
    with pytest.raises(istore.InferenceStoreError) as raised:
        istore.delete_inference("m", bad)
    assert (raised.value.status, raised.value.code) == (400, "invalid")
    assert store.received == []


def test_ids_are_quoted(store: ScriptedStore) -> None:
    store.answers = [Answer(200, {"inference_id": "x"})]
    odd = "a b?c#d%2e&é;=+"
    assert istore.delete_inference(odd, odd) == odd
    quoted = "a%20b%3Fc%23d%252e%26%C3%A9%3B%3D%2B"
    assert store.received[0].target == f"/api/inference-store/v1/models/{quoted}/inferences/{quoted}"


# --- When it asks again ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "failure",
    [refused(429, "busy"), refused(502, "x"), refused(503, "x"), refused(504, "x"), Answer(drop=True)],
)
def test_a_read_is_tried_again(store: ScriptedStore, failure: Answer) -> None:
    store.answers = [failure, failure, FOUND]
    assert get_model() is not None
    assert len(store.received) == 3


def test_it_gives_up_after_four_repetitions(store: ScriptedStore) -> None:
    store.answers = [refused(503, "database_unavailable", "try later")]
    with pytest.raises(istore.InferenceStoreError, match="503 try later") as raised:
        get_model()
    assert (raised.value.status, raised.value.code) == (503, "database_unavailable")
    assert len(store.received) == 5


def test_what_no_repetition_would_change_is_not_repeated(store: ScriptedStore) -> None:
    refusals = [(500, "internal"), (400, "invalid"), (503, "query_timeout"), (429, "too_many_wrong_tokens")]
    for answer in (refused(*each) for each in refusals):
        store.received.clear()
        store.answers = [answer]
        with pytest.raises(istore.InferenceStoreError):
            get_model()
        assert len(store.received) == 1


def test_it_waits_as_long_as_the_store_asks(store: ScriptedStore) -> None:
    store.answers = [refused(503, "busy", Retry_After="1"), FOUND]
    before = time.monotonic()
    get_model()
    assert time.monotonic() - before >= 1


def test_it_waits_until_the_date_that_the_store_names(store: ScriptedStore) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    store.answers = [refused(503, "busy", Retry_After=soon), FOUND]
    before = time.monotonic()
    get_model()
    assert time.monotonic() - before >= 0.9


@pytest.mark.parametrize("text", ["soon", "-5", "Thu, 01 Jan 1970 00:00:00 GMT", "1e9", "²"])
def test_a_retry_after_that_says_nothing_is_as_none(store: ScriptedStore, text: str) -> None:
    header = text.encode().decode("latin-1")
    store.answers = [refused(503, "busy", Retry_After=header), FOUND]
    assert get_model() is not None


def test_a_store_that_wants_an_hour_is_reported(store: ScriptedStore) -> None:
    store.answers = [refused(429, "quota", Retry_After="3600"), FOUND]
    with pytest.raises(istore.InferenceStoreError) as raised:
        get_model()
    assert (raised.value.status, raised.value.code) == (429, "quota")


def test_a_read_that_times_out_is_tried_again(store: ScriptedStore) -> None:
    istore.connect(base_url=store.url, token="secret", timeout=0.2)
    store.answers = [Answer(200, MODEL, delay_s=1), FOUND]
    assert get_model() is not None
    assert len(store.received) == 2


DELETES: list[Callable[[], object]] = [
    lambda: istore.delete_inference("m", "i"),
    lambda: istore.delete_metadata("m", "i", "k"),
    lambda: istore.bulk_delete_inferences("m", istore.BaseInferenceFilter()),
    lambda: istore.delete_retention_policy("m", "p"),
    lambda: istore.create_export_task("m", istore.NewExportTaskRequest()),
    lambda: istore.create_retention_task(
        "m", istore.NewRetentionTaskRequest(dry_run=False, retention_policy_id="p")
    ),
]


@pytest.mark.parametrize("delete", DELETES)
def test_a_delete_that_may_have_happened_is_not_repeated(
    store: ScriptedStore, delete: Callable[[], object]
) -> None:
    istore.connect(base_url=store.url, token="secret", timeout=0.2)
    for failure in (Answer(delay_s=0.5), Answer(drop=True)):
        store.received.clear()
        store.answers = [failure]
        with pytest.raises(istore.InferenceStoreError, match="may have been carried out") as raised:
            delete()
        assert (raised.value.status, raised.value.code) == (0, "unreachable")
        assert len(store.received) == 1
    store.received.clear()
    store.answers = [refused(502, "bad_gateway")]
    with pytest.raises(istore.InferenceStoreError):
        delete()
    assert len(store.received) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_delete_that_the_store_put_off_is_repeated(store: ScriptedStore, status: int) -> None:
    store.answers = [refused(status, "busy"), Answer(200, {"inference_id": "i"})]
    assert istore.delete_inference("m", "i") == "i"


def test_a_delete_waits_for_a_store_that_is_just_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference_store.client.sending.FIRST_WAIT_SECONDS", 0.2)
    port = free_port()
    istore.connect(base_url=f"http://127.0.0.1:{port}", token="secret")
    with pytest.raises(istore.InferenceStoreError, match="gave no answer to DELETE") as raised:
        istore.delete_inference("m", "i")
    assert raised.value.code == "unreachable"
    assert "may have been" not in str(raised.value)
    script = f"""
import time, socket
time.sleep(0.2)
with socket.create_server(("127.0.0.1", {port})) as listener:
    peer, _ = listener.accept()
    peer.recv(65536)
    peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\n{{}}")
    peer.close()
"""
    monkeypatch.setattr("inference_store.client.sending.RETRIES", 50)
    with subprocess.Popen([sys.executable, "-c", script]):
        assert istore.delete_inference("m", "i") == "i"


# --- Uploads -----------------------------------------------------------------------------------------------
def test_a_put_sends_the_bytes_and_no_token(store: ScriptedStore) -> None:
    store.answers = [UPLOADED]
    istore.put(f"{store.url}/blobs/a?signature=x%2Fy", "é")
    istore.put("/blobs/b", b"\x00\xff")
    absolute, relative = store.received
    assert (absolute.method, absolute.target, absolute.body) == (
        "PUT",
        "/blobs/a?signature=x%2Fy",
        "é".encode(),
    )
    assert (relative.target, relative.body) == ("/blobs/b", b"\x00\xff")
    assert "authorization" not in absolute.headers
    assert "authorization" not in relative.headers


@pytest.mark.parametrize("lost", [Answer(drop=True), refused(502, "bad_gateway"), refused(503, "busy")])
def test_a_repeated_put_that_finds_its_key_written_had_landed(store: ScriptedStore, lost: Answer) -> None:
    store.answers = [lost, refused(409, "written")]
    istore.put(f"{store.url}/blobs/a", b"x")
    assert len(store.received) == 2


def test_a_put_that_never_landed_has_no_excuse(store: ScriptedStore) -> None:
    for answers in ([refused(409, "written")], [refused(429, "busy"), refused(409, "written")]):
        store.answers = list(answers)
        with pytest.raises(istore.InferenceStoreError) as raised:
            istore.put(f"{store.url}/blobs/a", b"x")
        assert (raised.value.status, raised.value.code) == (409, "written")


# --- What it says ------------------------------------------------------------------------------------------
def test_an_error_carries_status_message_code_and_fields(store: ScriptedStore) -> None:
    body = {"error": "2 fields are wrong", "code": "invalid", "fields": {"filters.x": "unknown field"}}
    store.answers = [Answer(400, body)]
    with pytest.raises(istore.InferenceStoreError) as raised:
        istore.count_inferences("m", EVERYTHING)
    error = raised.value
    assert (error.status, error.message, error.code) == (400, "2 fields are wrong", "invalid")
    assert error.fields == {"filters.x": "unknown field"}
    assert str(error) == "400 2 fields are wrong (filters.x: unknown field)"


def test_an_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(istore.InferenceStoreError(409, "taken", "conflict", {"a": "b"})))
    assert (error.status, error.message, error.code, error.fields) == (409, "taken", "conflict", {"a": "b"})


def test_what_is_not_there_is_none_for_one_and_an_error_for_many(store: ScriptedStore) -> None:
    store.answers = [refused(404, "not_found", "no such model")]
    for absent in (
        istore.get_inference("m", "i"),
        istore.get_registered_model("m"),
        istore.get_metadata_key_type_counts("m"),
        istore.get_metadata_statistics(
            "m", istore.NewGetMetadataStatisticsRequest(key="k", type=istore.MetadataStatisticsType.INT)
        ),
        istore.get_export_task("m", "e"),
        istore.get_retention_policy("m"),
        istore.get_retention_task("m", "t"),
        istore.stop_export_task("m", "e"),
        istore.stop_retention_task("m", "t"),
        istore.delete_inference("m", "i"),
        istore.delete_metadata("m", "i", "k"),
        istore.delete_retention_policy("m", "p"),
    ):
        assert absent is None
    refusals: list[Callable[[], object]] = [
        lambda: istore.get_metadata("m", "i"),
        lambda: istore.filter_inferences("m", EVERYTHING),
        lambda: istore.filter_granular_inferences("m", EVERYTHING),
        lambda: istore.count_inferences("m", EVERYTHING),
        lambda: istore.bulk_delete_inferences("m", istore.BaseInferenceFilter()),
        lambda: istore.upload_data("m"),
        lambda: istore.set_protection("m", "i", True),
        lambda: istore.filter_retention_tasks("m", istore.NewGetRetentionTasksRequest()),
        lambda: istore.list_export_tasks("m"),
        lambda: istore.get_retention_preview("m", "t"),
    ]
    for ask in refusals:
        with pytest.raises(istore.InferenceStoreError, match="no such model"):
            ask()


@pytest.mark.parametrize(
    "answer",
    [
        HTML_404,
        Answer(404, {"detail": "Not found"}),
        Answer(200, b"<html>Sign in</html>"),
        Answer(200, {"hello": "world"}),
        Answer(301, b"", {"Location": "https://store.example/"}),
    ],
)
def test_a_wrong_address_is_told_as_such(store: ScriptedStore, answer: Answer) -> None:
    store.answers = [answer]
    with pytest.raises(istore.InferenceStoreError, match="did not answer as an inference store") as raised:
        get_model()
    assert raised.value.code == "not_a_store"
    assert len(store.received) == 1


def test_a_redirect_is_named_and_not_followed(store: ScriptedStore) -> None:
    store.answers = [Answer(301, b"", {"Location": "https://store.example/"}), FOUND]
    with pytest.raises(istore.InferenceStoreError, match=r"https://store\.example/"):
        get_model()


def test_a_proxys_own_words_keep_their_status(store: ScriptedStore) -> None:
    store.answers = [Answer(413, b"<html>too large</html>")]
    with pytest.raises(istore.InferenceStoreError) as raised:
        istore.count_inferences("m", EVERYTHING)
    assert (raised.value.status, raised.value.code) == (413, "http_error")


def test_answers_of_a_newer_store_are_read(store: ScriptedStore) -> None:
    store.answers = [Answer(200, MODEL | {"colour": "blue"})]
    assert istore.get_registered_model("m") is not None


# --- Threads and forks -------------------------------------------------------------------------------------
def test_threads_share_one_client(store: ScriptedStore) -> None:
    store.answers = [FOUND]
    with ThreadPoolExecutor(16) as pool:
        clients = set(pool.map(lambda _: id(connection.current().client), range(64)))
        models = list(pool.map(lambda _: get_model(), range(200)))
    assert len(clients) == 1
    assert all(models)
    assert len(store.connections) <= 16


def test_connecting_elsewhere_takes_effect_at_once(store: ScriptedStore) -> None:
    store.answers = [FOUND]
    get_model()
    istore.connect(base_url=store.url, token="other")
    get_model()
    assert [each.headers["authorization"] for each in store.received] == ["Bearer secret", "Bearer other"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_opens_its_own_connections(store: ScriptedStore) -> None:
    store.answers = [FOUND]
    get_model()
    inherited = connection.current().client
    # Another thread may hold the lock at the moment of the fork; the child must not wait for it.
    with connection._lock:
        child = multiprocessing.get_context("fork").Process(target=_ask_as_child, args=(id(inherited),))
        child.start()
    child.join(20)
    assert child.exitcode == 0
    get_model()
    assert connection.current().client is inherited
    assert len(store.connections) == 2


def _ask_as_child(inherited: int) -> None:
    fresh = connection.current().client
    os._exit(0 if id(fresh) != inherited and get_model() is not None else 1)
