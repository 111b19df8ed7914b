"""Reads of a replica, over HTTP, from two web servers: it serves, and nobody misses what they wrote."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from inference_store.models import RegisteredModel
from tests.cast import BASE, Cast, request_of
from tests.standby import Standby
from tests.workers import Web, wait_until

Ask = Callable[..., httpx.Response]
SEARCH = "models/detector/search"


@pytest.fixture
def asks(webs: list[Web], cast: Cast, detector: RegisteredModel) -> Callable[[str, int], Ask]:
    """How somebody calls a web server's API."""

    def caller(name: str, web: int = 0) -> Ask:
        headers = {"Authorization": f"Bearer {getattr(cast, name).token}"}

        def ask(method: str, path: str, body: Any = None, **more: str) -> httpx.Response:
            return httpx.request(
                method,
                f"{webs[web].url}{BASE}/{path}",
                headers=headers | more,
                json=body if method in ("POST", "PUT") else None,
                timeout=30,
            )

        return ask

    return caller


@pytest.fixture
def session(webs: list[Web], cast: Cast) -> httpx.Client:
    """Alice, on the pages of the second server."""
    from django.test import Client

    client = Client()
    client.force_login(cast.users["alice"], "django.contrib.auth.backends.ModelBackend")
    cookies = {name: morsel.value for name, morsel in client.cookies.items()}
    return httpx.Client(base_url=webs[1].url, cookies=cookies)


def ids(answer: httpx.Response) -> set[str]:
    assert answer.status_code == 200, answer.text
    return {each["inference_id"] for each in answer.json()["inferences"]}


def server(answer: httpx.Response) -> str:
    assert "X-Read-From" in answer.headers, f"{answer.status_code} {answer.text[:500]}"
    return answer.headers["X-Read-From"]


def served_by_replica(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """The answer, once the replica gives it."""
    answers: list[httpx.Response] = []
    wait_until(lambda: answers.append(ask()) or server(answers[-1]) == "replica", "the replica serves")
    return answers[-1]


READS = [
    ("GET", "models/detector/inferences?data_source=camera", None),
    ("POST", SEARCH, {}),
    ("POST", SEARCH, {"embedding_filters": {"query_embedding": [1, 0, 0]}}),
    ("GET", "models/detector/count", None),
    ("POST", "models/detector/count", {}),
    ("GET", "models/detector/granular", None),
    ("POST", "models/detector/granular", {}),
    ("POST", "models/detector/map-cells", {"zoom": 3}),
    ("GET", "models/detector/inferences/i-1", None),
    ("GET", "models/detector/inferences/i-1/metadata", None),
    ("GET", "models/detector/metadata-keys", None),
    ("POST", "models/detector/metadata-statistics", {"key": "run", "type": "int"}),
]
PAGES = ["/", "/models/detector/", "/models/detector/count", "/models/detector/charts/",
         "/models/detector/inferences/i-1/neighbours"]  # fmt: skip


def test_the_replica_serves_what_only_reads(standby: Standby, asks: Any, session: httpx.Client) -> None:
    asks("bob")("POST", "models/detector/inferences", request_of())
    standby.catch_up()
    served_by_replica(lambda: asks("carol")("POST", SEARCH, {}))
    # Now and then what is replayed ends a read, which the primary answers then.
    for method, path, body in READS:
        answer = served_by_replica(lambda asked=(method, path, body): asks("carol")(*asked))
        assert answer.status_code == 200, (path, answer.text)
    for page in PAGES:
        assert served_by_replica(lambda page=page: session.get(page)).status_code == 200, page
    # The replica itself says so too.
    seen = "select string_agg(query, ' ') from pg_stat_activity where application_name = 'inference-store'"
    assert "inference_store_" in standby.ask(seen)
    # What jobs are doing is the primary's, and nobody's read.
    tasks = asks("carol")("GET", "models/detector/export-tasks")
    assert tasks.status_code == 200
    assert "X-Read-From" not in tasks.headers


def test_whoever_wrote_sees_it_wherever_they_ask(
    standby: Standby, asks: Any, session: httpx.Client, cast: Cast
) -> None:
    bob, elsewhere = asks("bob"), asks("bob", 1)
    assert bob("POST", "models/detector/inferences", request_of("i-1")).status_code == 201
    standby.pause()
    assert bob("POST", "models/detector/inferences", request_of("i-2")).status_code == 201
    bulk = [request_of(f"b-{number}") for number in range(3)]
    assert asks("alice")("POST", "models/detector/bulk-create", bulk).status_code == 201
    for ask in (bob, elsewhere):
        answer = ask("POST", SEARCH, {})
        assert server(answer) == "primary"
        assert ids(answer) == {"i-1", "i-2", "b-0", "b-1", "b-2"}
        assert ask("POST", "models/detector/count", {}).json() == {"count": 5}
        statistics = ask("POST", "models/detector/metadata-statistics", {"key": "run", "type": "int"})
        assert '"count":5' in statistics.text.replace(" ", "")
    page = session.get("/models/detector/")  # as Alice, who wrote by a token
    assert server(page) == "primary"
    assert "b-2" in page.text
    # Who wrote nothing is served by the replica as far as it is ...
    carol = asks("carol")
    answer = served_by_replica(lambda: carol("POST", SEARCH, {}))
    assert ids(answer) == {"i-1"}
    # ... unless they ask for more, or for what they were told of.
    assert len(ids(carol("POST", SEARCH, {}, **{"Cache-Control": "no-cache"}))) == 5
    told = carol("GET", "models/detector/inferences/i-2")
    assert (told.status_code, server(told)) == (200, "primary")
    # So it goes for each kind of write, and through the pages.
    for write in (
        ("POST", "models/detector/inferences/i-1/metadata", {"key": "k", "type": "string", "value": "v"}),
        ("DELETE", "models/detector/inferences/i-2", None),
    ):
        assert bob(*write).status_code == 200
    assert "i-2" not in ids(elsewhere("POST", SEARCH, {}))
    key = {"filters": {"metadata_filter": [{"key": "k", "type": "string", "operator": "=", "value": "v"}]}}
    assert ids(elsewhere("POST", SEARCH, key)) == {"i-1"}
    standby.resume()
    standby.catch_up()
    assert ids(served_by_replica(lambda: bob("POST", SEARCH, {}))) == {"i-1", "b-0", "b-1", "b-2"}


def test_whoever_saw_a_job_end_sees_what_it_did(standby: Standby, asks: Any) -> None:
    bob, carol = asks("bob"), asks("carol")
    bob("POST", "models/detector/inferences", request_of("i-1"))
    standby.pause()
    bob("DELETE", "models/detector/inferences/i-1")
    assert ids(served_by_replica(lambda: carol("POST", SEARCH, {}))) == {"i-1"}
    assert carol("POST", "models/detector/retention-tasks/filter", {}).status_code == 200
    assert ids(carol("POST", SEARCH, {})) == set()


def test_a_replica_that_lags_serves_nobody(standby: Standby, asks: Any, webs: list[Web]) -> None:
    carol, ready = asks("carol", 1), f"{webs[1].url}/readyz"
    asks("bob")("POST", "models/detector/inferences", request_of("i-1"))
    standby.pause()
    asks("bob")("POST", "models/detector/inferences", request_of("i-2"))
    wait_until(lambda: server(carol("POST", SEARCH, {})) == "primary", "the replica lags too far")
    assert ids(carol("POST", SEARCH, {})) == {"i-1", "i-2"}

    def said() -> str:
        answer = httpx.get(ready, timeout=10).json()
        assert answer["ready"]
        return str(answer["parts"]["replica"])

    wait_until(lambda: "lags by" in said(), "/readyz says so")
    figures = httpx.get(f"{webs[1].url}/metrics", timeout=10).text
    lag = figures.split("\ninference_store_replica_lag_seconds ")[1].split()[0]
    assert float(lag) > 0.5
    assert 'inference_store_ready{part="replica"} 0.0' in figures
    for where in ("replica", "primary"):
        assert f'inference_store_reads_total{{server="{where}"}}' in figures
    standby.resume()
    wait_until(lambda: said() == "ok", "it has caught up")
    served_by_replica(lambda: carol("POST", SEARCH, {}))


def test_reads_go_on_without_the_replica(standby: Standby, asks: Any, webs: list[Web]) -> None:
    carol = asks("carol")
    asks("bob")("POST", "models/detector/inferences", request_of("i-1"))
    standby.catch_up()
    served_by_replica(lambda: carol("POST", SEARCH, {}))
    standby.kill()
    for _ in range(20):
        answer = carol("POST", SEARCH, {})
        assert (ids(answer), server(answer)) == ({"i-1"}, "primary")
    assert answer.elapsed.total_seconds() < 1
    ready = httpx.get(f"{webs[0].url}/readyz", timeout=10).json()
    assert ready["ready"]
    assert ready["parts"]["replica"].startswith("failed")
    assert "replica_lag_seconds" not in httpx.get(f"{webs[0].url}/metrics", timeout=10).text
    standby.start()
    assert ids(served_by_replica(lambda: carol("POST", SEARCH, {}))) == {"i-1"}


def test_reads_go_on_beside_a_replica_that_hangs(standby: Standby, asks: Any, webs: list[Web]) -> None:
    carol = asks("carol")
    asks("bob")("POST", "models/detector/inferences", request_of("i-1"))
    standby.catch_up()
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):  # each of the server's threads keeps a connection to it
            assert all(
                ids(each.result()) for each in [pool.submit(carol, "POST", SEARCH, {}) for _ in range(8)]
            )
        standby.freeze()
        for answer in [pool.submit(carol, "POST", SEARCH, {}) for _ in range(16)]:
            assert (ids(answer.result()), server(answer.result())) == ({"i-1"}, "primary")
    assert httpx.get(f"{webs[0].url}/healthz", timeout=10).status_code == 200
    standby.thaw()
    assert ids(served_by_replica(lambda: carol("POST", SEARCH, {}))) == {"i-1"}
