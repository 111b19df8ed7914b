"""Fifty clients at once ask for pages of one big result: each answer right, in time, in flat memory."""

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from django.conf import settings

from inference_store.models import RegisteredModel
from tests.cast import BASE, Cast
from tests.faults.many import multiply
from tests.faults.test_row_12_pictures_that_explode import memory
from tests.making import LONG_AGO
from tests.workers import Web

pytestmark = pytest.mark.django_db(transaction=True)
CLIENTS, PAGE = 50, 50
MOST_GROWTH = 50 * 2**20


@pytest.fixture
def web(cast: Cast, tmp_path: Path) -> Iterator[Web]:
    running = Web(tmp_path / "web.log")
    running.start()
    running.ready()
    yield running
    running.kill()


class Asker(threading.Thread):
    """Asks for one page after the other of what the filter finds, newest first, and looks at each."""

    def __init__(self, web: Web, cast: Cast, ids: list[str], turns: int, number: int) -> None:
        super().__init__(daemon=True)
        self.web, self.token, self.ids, self.turns = web, cast.carol.token, ids, turns
        self.random = random.Random(number)
        self.slowest = 0.0
        self.wrong: list[object] = []
        self.right = 0

    def run(self) -> None:
        headers = {"Authorization": f"Bearer {self.token}"}
        with httpx.Client(base_url=self.web.url + BASE, headers=headers, timeout=120) as client:
            for _ in range(self.turns):
                self.ask(client)

    def ask(self, client: httpx.Client) -> None:
        start = self.random.choice([0, self.random.randrange(1_000)])
        body = {
            "filters": {"data_source_filter": "camera"},
            "pagination": {"sort": "created_at", "direction": "desc", "limit": PAGE, "offset": start},
        }
        began = time.monotonic()
        answer = client.post("/models/detector/search", json=body)
        self.slowest = max(self.slowest, time.monotonic() - began)
        found = answer.json()
        if answer.status_code != 200:
            self.wrong.append(found)
            return
        told = [each["inference_id"] for each in found["inferences"]]
        if told == self.ids[start : start + PAGE] and found["next_cursor"]:
            self.right += 1
        else:
            self.wrong.append((start, told))


def crowd(web: Web, cast: Cast, ids: list[str], turns: int) -> str:
    newest_first = ids[::-1]
    warm = [Asker(web, cast, newest_first, 2, -number) for number in range(CLIENTS)]
    askers = [Asker(web, cast, newest_first, turns, number) for number in range(CLIENTS)]
    before = 0
    for group in (warm, askers):
        before = memory(web)
        for each in group:
            each.start()
        for each in group:
            each.join(600)
        assert [each.wrong for each in group if each.wrong] == []
    growth = memory(web) - before
    assert sum(each.right for each in askers) == CLIENTS * turns
    slowest = max(each.slowest for each in askers)
    assert slowest < settings.STATEMENT_TIMEOUT_MS / 1_000
    assert growth < MOST_GROWTH
    return (
        f"{CLIENTS} clients, {len(ids):,} rows: {CLIENTS * turns} pages right, "
        f"the slowest in {slowest:.1f} s, "
        f"{growth / 2**20:.0f} MiB more"
    )


def test_fifty_at_once(cast: Cast, detector: RegisteredModel, web: Web) -> None:
    ids = multiply(detector, 20_000, source="camera", created_at=LONG_AGO)
    print(crowd(web, cast, ids, 4))


@pytest.mark.soak
def test_fifty_at_once_on_a_million(cast: Cast, detector: RegisteredModel, web: Web) -> None:
    ids = multiply(detector, 1_000_000, source="camera", created_at=LONG_AGO)
    print(crowd(web, cast, ids, 40))
