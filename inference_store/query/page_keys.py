"""The rows of a page in order of time, or their keys.

Where a filter is dense, a page is soon found by walking from the newest row (or the oldest) and trying each.
Where it is not, what matches is collected by the filter's own index and sorted. Which it is shows a short
walk, and a second one where the first has nearly filled the page; the planner's estimates mix all models,
and are not asked.
"""

import math
from typing import Any

from inference_store import statements
from inference_store.models import RegisteredModel
from inference_store.query.conditions import TABLE, Condition
from inference_store.query.matching import Conditions, stated
from inference_store.query.order import Order
from inference_store.query.rows import Wanted

WALKED = 2_000
"""Rows tried at least before what matches is collected; for each row up to the page's end; and at most in one
walk."""
WALKED_A_ROW = 20
MOST_WALKED = 20_000
MOST_FURTHER, MARGIN = 4, 1.3
"""How many times as far a second walk may go as the first, and as it seems to take."""
LARGEST = 2**63 - 1

Keys = list[tuple[Any, ...]]
# One that no index is in: all that match are collected first, and sorted.
UNINDEXED = "r.created_at + interval '0'"


def keys_in_time(
    model: RegisteredModel,
    asked: Conditions,
    order: Order,
    position: str | None,
    part: slice,
    *also: Condition,
) -> Keys:
    """(id, created_at) of that part of what comes after the cursor's position, in order; of what `also`
    satisfies these conditions."""
    after, others = _after(order, position), [*asked.others, *also]
    if others and not asked.is_rare and part.stop <= MOST_WALKED:
        found = _walked(model, asked.in_order, after, others, order, part.stop)
        if found is not None:
            return found[part]
    condition, values = stated(model, [*asked.in_order, *after, *others])
    # Collected and sorted, but where an index has just these.
    ordering = _ordering(order, UNINDEXED if others else "r.created_at")
    limit = f"limit {min(part.stop - part.start, LARGEST)} offset {part.start}"
    statement = f"select r.id, r.created_at from {TABLE} r where {condition} order by {ordering} {limit}"  # noqa: S608 # nosec B608
    return statements.rows(statement, values, anew=True)


def rows_in_time(
    model: RegisteredModel, asked: Conditions, order: Order, position: str | None, part: slice
) -> Wanted:
    """The same as rows along an index, where there is nothing to try: one statement, planned once for all."""
    condition, values = stated(model, [*asked.in_order, *_after(order, position)])
    return Wanted(condition, values, _ordering(order), part.stop - part.start, part.start)


def _ordering(order: Order, moment: str = "r.created_at") -> str:
    way = "desc" if order.descending else "asc"
    return f"{moment} {way}, r.id {way}"


def _after(order: Order, position: str | None) -> list[Condition]:
    if position is None:
        return []
    moment, (key,) = order.read(position)
    return [_beyond(order, moment, key)]


def _beyond(order: Order, moment: Any, key: int) -> Condition:
    return Condition(f"(r.created_at, r.id) {'<' if order.descending else '>'} (%s, %s)", moment, key)


def _walked(
    model: RegisteredModel,
    in_order: list[Condition],
    after: list[Condition],
    others: list[Condition],
    order: Order,
    count: int,
) -> Keys | None:
    """So many keys, or all there are, found by trying one row after the other; None where that takes long."""
    steps = min(max(WALKED, WALKED_A_ROW * count), MOST_WALKED)
    found, last = _tried(model, [*in_order, *after], others, order, steps, count)
    missing = count - len(found)
    if missing and last:
        # As dense as so far, or nearly: then a little further is nearer than all that match.
        further = math.ceil(MARGIN * steps * missing / max(len(found), 1))
        if not found or further > min(MOST_FURTHER * steps, MOST_WALKED):
            return None
        ahead = [*in_order, _beyond(order, *last)]
        rest, last = _tried(model, ahead, others, order, further, missing)
        if len(rest) < missing and last:
            return None
        found += rest
    return found


def _tried(
    model: RegisteredModel,
    ahead: list[Condition],
    others: list[Condition],
    order: Order,
    steps: int,
    count: int,
) -> tuple[Keys, tuple[Any, int] | None]:
    """Of the next so many rows along an index the first that match, and where these are fewer than `count`,
    the place of the last row tried, if all these were. One statement, so that both speak of one moment."""
    condition, values = stated(model, ahead)
    next_rows = f"from {TABLE} r where {condition} order by {_ordering(order)}"
    tried = " and ".join(f"({each.row_by_row})" for each in others)
    # The parts are run in this order, and the second not at all where the first has filled the page.
    statement = (
        f"(select r.id, r.created_at, false from (select * {next_rows} limit {steps}) r "  # noqa: S608
        f"where {tried} order by {_ordering(order)} limit {count}) union all "
        f"(select r.id, r.created_at, true {next_rows} limit 1 offset {steps - 1}) limit {count}"  # nosec B608
    )
    of_others = [value for each in others for value in each.values]
    rows = statements.rows(statement, [*values, *of_others, *values], anew=True)
    last = next(((moment, key) for key, moment, is_last in rows if is_last), None)
    return [(key, moment) for key, moment, is_last in rows if not is_last], last
