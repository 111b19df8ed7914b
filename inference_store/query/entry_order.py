"""Pages of inferences in order of their entries: by the smallest label, or by the highest score.

An index has a model's entries in that order; an inference stands where the best of its entries does. So a
page is found by walking that index and keeping the best, as long as that takes few steps. Where a filter
keeps hardly any of them, what matches is collected and sorted instead.
"""

from typing import Any

from django.db.models import Exists, F, Max, Min, OuterRef, QuerySet, Subquery

from inference_store.contract.filters import BaseInferenceFilter
from inference_store.models import Entry, Inference, RegisteredModel
from inference_store.query.matching import matching
from inference_store.query.order import Order
from inference_store.query.page_keys import Keys

FIRST_WALKED = 500
MOST_WALKED = 20_000
"""Entries looked at before what matches is collected."""
TIES = ("inference_id", "position")


def keys_by_entries(
    model: RegisteredModel,
    filters: BaseInferenceFilter | None,
    order: Order,
    cursor: str | None,
    part: slice,
) -> Keys:
    """(id, label or score) of that part of what comes after the cursor; those without entries last."""
    walk = _Walk(model, filters, order, cursor)
    found = walk.until(part.stop)
    if len(found) == part.stop:
        return found[part]
    if not walk.ended:
        collected = with_best_entry(matching(model, filters), order)
        if cursor is not None:
            collected = order.after(collected, cursor)
        return list(order.apply(collected).values_list("id", order.field)[part])
    rest = _without_value(model, filters, order, walk.ties_of_unvalued)
    return [*found, *((key, None) for key in rest[: part.stop - len(found)])][part]


def with_best_entry(queryset: QuerySet[Inference], order: Order) -> QuerySet[Inference]:
    """With the smallest label or the highest score of each inference, in the order's field."""
    best = Min("label") if order.name == "label" else Max("score")
    entries = Entry.objects.filter(inference_id=OuterRef("pk")).order_by().values("inference_id")
    return queryset.annotate(**{order.field: Subquery(entries.annotate(best=best).values("best"))})


def _without_value(
    model: RegisteredModel, filters: BaseInferenceFilter | None, order: Order, after: list[int]
) -> QuerySet[Any, int]:
    """The keys of those that have no entry with a label or a score."""
    valued = Entry.objects.filter(inference_id=OuterRef("pk"), **{f"{order.name}__isnull": False})
    rest = matching(model, filters).filter(~Exists(valued))
    if after:
        rest = rest.filter(**{"pk__lt" if order.descending else "pk__gt": after[0]})
    return rest.order_by("-pk" if order.descending else "pk").values_list("pk", flat=True)


class _Walk:
    """Goes through the model's entries in order; keeps those that are the best of a matching inference."""

    def __init__(
        self, model: RegisteredModel, filters: BaseInferenceFilter | None, order: Order, cursor: str | None
    ) -> None:
        self.order = order
        self.entries: QuerySet[Entry] = Entry.objects.live(model)
        self.matching = (
            matching(model, filters) if filters and filters.model_dump(exclude_none=True) else None
        )
        # By entry, so that a walk can go on after any of them.
        self.entry_order = Order(order.name, order.name, TIES, order.descending)
        self.ended = False
        self.ties_of_unvalued: list[int] = []
        if order.name == "score":
            self.entries = self.entries.filter(score__isnull=False)
        self.reached = self._start(cursor)

    def _start(self, cursor: str | None) -> str | None:
        """The entry after which to begin."""
        if cursor is None:
            return None
        value, ties = self.order.read(cursor)
        if value is None:
            self.ended, self.ties_of_unvalued = True, ties
            return None
        # All entries of the inference that the cursor stands for lie before.
        beyond = -1 if self.order.descending else 2**31 - 1
        return self.entry_order.cursor(value, [ties[0], beyond])

    def until(self, count: int) -> Keys:
        """The keys of so many inferences; fewer where the walk got too long, or has ended."""
        found: Keys = []
        walked, step = 0, max(FIRST_WALKED, 4 * count)
        while not self.ended and len(found) < count and walked < MOST_WALKED:
            rows = self._next(step)
            found += self._kept(rows)
            walked, step, self.ended = walked + step, 4 * step, len(rows) < step
        return found[:count]

    def _next(self, step: int) -> list[tuple[int, int, Any]]:
        entries = self.entries
        if self.reached is not None:
            entries = self.entry_order.after(entries, self.reached)
        rows = list(self.entry_order.apply(entries).values_list(*TIES, self.order.name)[:step])
        if rows:
            key, position, value = rows[-1]
            self.reached = self.entry_order.cursor(value, [key, position])
        return rows

    def _kept(self, rows: list[tuple[int, int, Any]]) -> Keys:
        """Of these entries the ones that their inference stands at."""
        keys = {key for key, _, _ in rows}
        best_first = F("label").asc() if self.order.name == "label" else F("score").desc(nulls_last=True)
        best = Entry.objects.filter(inference_id__in=keys).order_by("inference_id", best_first, "position")
        stands_at = dict(best.distinct("inference_id").values_list("inference_id", "position"))
        if self.matching is not None:
            passing = set(self.matching.filter(pk__in=keys).values_list("pk", flat=True))
            stands_at = {key: position for key, position in stands_at.items() if key in passing}
        return [(key, value) for key, position, value in rows if stands_at.get(key) == position]
