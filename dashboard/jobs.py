"""Jobs as pages show them: their state in words, and how far they are."""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlencode
from uuid import UUID

from django.http import QueryDict

from inference_store.contract.enums import RetentionTaskState as State
from inference_store.models.job import ACTIVE_STATES

STATE_WORDS = {
    State.PENDING.value: "Waiting",
    State.SCHEDULED.value: "Queued",
    State.RUNNING.value: "Running",
    State.COMPLETE.value: "Complete",
    State.FAILED.value: "Failed",
    State.STOPPED.value: "Stopped",
}
PAGE_SIZE = 20
MOST_PAGES = 10_000


@dataclass(frozen=True)
class Progress:
    """So many of so many; `expected` is None while nobody knows, and `percent` too."""

    state: str
    done: int
    expected: int | None
    is_stopping: bool = False

    @property
    def words(self) -> str:
        return "Stopping" if self.is_active and self.is_stopping else STATE_WORDS[self.state]

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE_STATES

    @property
    def percent(self) -> int | None:
        """Rounded down: 100 means all."""
        if self.expected is None:
            return None
        return 100 * min(self.done, self.expected) // self.expected if self.expected else 100


def page_number(data: QueryDict) -> int:
    """`page` of the query string, from 1; the first where it can't be read."""
    text = data.get("page", "")
    return min(max(int(text), 1), MOST_PAGES) if text.isascii() and text.isdigit() and len(text) < 9 else 1


def asked_ids(data: QueryDict) -> list[UUID]:
    """The jobs that a page asks after: at most a page of them, without what is no id."""
    found = []
    for text in data.getlist("id")[: PAGE_SIZE + 1]:
        try:
            found.append(UUID(text))
        except ValueError:
            continue
    return found


def poll_url(address: str, ids: Iterable[object]) -> str:
    """Where to ask after those jobs; empty where there are none."""
    query = urlencode([("id", str(each)) for each in ids])
    return f"{address}?{query}" if query else ""
