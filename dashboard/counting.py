"""How many inferences match: told at once where it is known at once, else asked for after the results."""

from dataclasses import dataclass

from dashboard.bounded import in_time
from inference_store.contract.filters import NewGetInferencesRequest
from inference_store.models import RegisteredModel
from inference_store.query.charts import count_entries
from inference_store.query.counts import count_up_to
from inference_store.query.pages import count_inferences

AT_ONCE_MS = 80
"""What a page gives a count before it goes without."""
PATIENCE_MS = 4_000
BOUND_MS = 2_000
MOST_COUNTED = 10_000


@dataclass(frozen=True)
class Count:
    """So many inferences, or more than that where counting them all took too long.

    `entries` are those of them that match themselves; None where nobody asked, or it took too long.
    """

    number: int
    is_exact: bool = True
    entries: int | None = None


def count_at_once(
    model: RegisteredModel, request: NewGetInferencesRequest, *, with_entries: bool = False
) -> Count | None:
    """The count where it takes no time; None where it has to be waited for."""
    number = in_time(lambda: count_inferences(model, request), AT_ONCE_MS)
    if number is None or not with_entries:
        return None if number is None else Count(number)
    entries = in_time(lambda: count_entries(model, request.filters), AT_ONCE_MS)
    return None if entries is None else Count(number, entries=entries)


def _up_to(model: RegisteredModel, request: NewGetInferencesRequest, most: int) -> int:
    return count_up_to(model, request.filters, most, embedded=request.embedding_filters is not None)


def count_patiently(
    model: RegisteredModel, request: NewGetInferencesRequest, *, with_entries: bool = False
) -> Count | None:
    """The count, or that there are more than so many; None where even that took too long."""
    number = in_time(lambda: count_inferences(model, request), PATIENCE_MS)
    if number is not None:
        entries = None
        if with_entries:
            entries = in_time(lambda: count_entries(model, request.filters), BOUND_MS)
        return Count(number, entries=entries)
    least = in_time(lambda: _up_to(model, request, MOST_COUNTED + 1), BOUND_MS)
    if least is None:
        return None
    return Count(least) if least <= MOST_COUNTED else Count(MOST_COUNTED, is_exact=False)
