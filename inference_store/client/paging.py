"""Walks through a filtered set by cursor, however large it is."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from inference_store.client.calls import call
from inference_store.contract.filters import LARGEST_LIMIT, NewGetInferencesRequest, Pagination
from inference_store.contract.inferences import (
    GranularInference,
    GranularInferencePage,
    Inference,
    InferencePage,
)
from inference_store.contract.jobs import ExportTask, RetentionTask

Item = TypeVar("Item")
Task = TypeVar("Task", ExportTask, RetentionTask)
Part = tuple[list[Item], str | None]
"""The items of one page, and the cursor after it."""


def inference_pages(
    model_id: str, request: NewGetInferencesRequest, total: int | None, page_size: int = LARGEST_LIMIT
) -> Iterator[list[Inference]]:
    """The inferences that match, page by page; at most `total` of them."""

    def fetch(part: NewGetInferencesRequest) -> Part[Inference]:
        page = call(InferencePage, "POST", "models", model_id, "search", body=part)
        return page.inferences, page.next_cursor

    return _pages(fetch, request, total, page_size)


def granular_pages(
    model_id: str, request: NewGetInferencesRequest, total: int | None
) -> Iterator[list[GranularInference]]:
    """The entries of the inferences that match, page by page; at most `total` of them."""

    def fetch(part: NewGetInferencesRequest) -> Part[GranularInference]:
        page = call(GranularInferencePage, "POST", "models", model_id, "granular", body=part)
        return page.granular_inferences, page.next_cursor

    return _pages(fetch, request, total, LARGEST_LIMIT)


def _pages(
    fetch: Callable[[NewGetInferencesRequest], Part[Item]],
    request: NewGetInferencesRequest,
    total: int | None,
    page_size: int,
) -> Iterator[list[Item]]:
    pagination = request.pagination or Pagination()
    while total is None or total > 0:
        size = page_size if total is None else min(page_size, total)
        part = pagination.model_copy(update={"limit": size})
        # Base64 costs the least, and answers spell it as numbers for whoever looks.
        form = request.embeddings or "base64"
        items, cursor = fetch(request.model_copy(update={"pagination": part, "embeddings": form}))
        yield items
        if cursor is None:
            return
        total = None if total is None else total - len(items)
        pagination = pagination.model_copy(update={"cursor": cursor, "offset": None})


def tasks_in_parts(fetch: Callable[[int, int], list[Task]], wanted: int, offset: int) -> list[Task]:
    """So many tasks of a list, from an offset on; `fetch` gives those of a limit and an offset."""
    # By id: a task made meanwhile shifts the parts of a newest-first list.
    tasks: dict[str, Task] = {}
    for start in range(0, wanted, LARGEST_LIMIT):
        size = min(LARGEST_LIMIT, wanted - start)
        found = fetch(size, offset + start)
        tasks |= {task.id: task for task in found}
        if len(found) < size:
            break
    return list(tasks.values())
