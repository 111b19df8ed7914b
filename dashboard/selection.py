"""What somebody ticked, or everything that a filter matches, and what is to become of it."""

from dataclasses import dataclass
from typing import Any

from django.http import QueryDict
from django.utils import timezone

from dashboard.bounded import in_time
from dashboard.panel import PAGE_NAMES
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import BaseInferenceFilter, TimeWindowFilter, parse_instant
from inference_store.filtersets import Chip, InferenceFilterSet
from inference_store.models import RegisteredModel
from inference_store.query.counts import count_up_to, those_named
from inference_store.services import deletion, protection

MOST_AT_ONCE = 100_000
"""Inferences that a page deletes or protects in one request."""
MOST_TICKED = 1_000
COUNT_MS = 10_000


@dataclass(frozen=True)
class Selection:
    """Inferences by their ids, or all that match the filter; `query` is the page that they were on."""

    model: RegisteredModel
    ids: list[str]
    filters: BaseInferenceFilter | None
    chips: list[Chip]
    query: str
    until: str = ""

    @property
    def is_empty(self) -> bool:
        return self.filters is None and not self.ids

    def count(self) -> int | None:
        """How many there are now, None where that takes too long or they are too many for a page."""
        if self.filters is None:
            return len(self.there())
        filters = self.filters
        found = in_time(lambda: count_up_to(self.model, filters, MOST_AT_ONCE + 1), COUNT_MS)
        return None if found is None or found > MOST_AT_ONCE else found

    def there(self) -> list[str]:
        """Those ticked that nobody has deleted meanwhile."""
        return those_named(self.model, self.ids)

    def delete(self, expected: int) -> int:
        if self.filters is None:
            gone = deletion.delete_named(model=self.model, inference_ids=self.ids, expected=expected)
        else:
            gone = deletion.delete_matching(model=self.model, filters=self.filters, expected=expected)
        return len(gone)

    def protect(self, is_protected: bool) -> int:
        changes: dict[str, Any] = {"model": self.model, "is_protected": is_protected}
        if self.filters is None:
            return protection.set_protection_named(inference_ids=self.ids, **changes)
        return protection.set_protection_by_filter(filters=self.filters, **changes)


def selection_of(model: RegisteredModel, data: QueryDict) -> Selection:
    """What a form selects; a Refusal where its filter is wrong: nothing is done then.

    Of a filter only what was stored until now, or until the moment that an earlier page fixed: what comes
    meanwhile was not seen by whoever selects it.
    """
    filterset = InferenceFilterSet(QueryDict(data.get("query", "")), allowed=PAGE_NAMES)
    query = filterset.data.urlencode()
    ids = [text for text in dict.fromkeys(data.getlist("id")) if "\x00" not in text][:MOST_TICKED]
    if data.get("scope") != "all":
        return Selection(model, ids, None, [], query)
    if filterset.data.get("similar_to") or filterset.data.get("vector"):
        raise Refusal.invalid("scope", "a search by similarity has an order and no end: tick what you mean")
    filters = filterset.request_body().filters
    until = data.get("until", "")
    try:
        parse_instant(until)
    except ValueError:
        until = timezone.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return Selection(model, [], _until(filters, until), filterset.chips(), query, until)


def _until(filters: BaseInferenceFilter, until: str) -> BaseInferenceFilter:
    window = filters.time_window_filter or TimeWindowFilter()
    if window.end is None or parse_instant(window.end) > parse_instant(until):
        window = window.model_copy(update={"end": until})
    return filters.model_copy(update={"time_window_filter": window})
