"""The rows of a page in order of time, or their keys.

Where a filter is dense, a page is soon found by walking from the newest row (or the oldest) and trying each.
Where it is not, what matches is collected by the filter's own index and sorted. Which it is shows when a
short walk has filled the page or has not; the planner's estimates mix all models, and are not asked.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.db.models import F, QuerySet, Value
from django.db.models.expressions import CombinedExpression
from django.db.models.lookups import Exact
from django.db.models.sql.datastructures import BaseTable
from django.db.models.sql.query import Query

from inference_store.models import Inference, RegisteredModel
from inference_store.query.matching import Conditions, narrowed
from inference_store.query.metadata_conditions import Condition
from inference_store.query.order import Order
from inference_store.query.rows import Wanted

WALKED = 2_000
"""Rows tried at least before what matches is collected; for each row up to the page's end; and at most."""
WALKED_A_ROW = 20
MOST_WALKED = 20_000

Keys = list[tuple[Any, ...]]
COMPARED = {"": "=", "gte": ">=", "lte": "<="}


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
    others = [*asked.others, *also]

    def after(queryset: QuerySet[Inference]) -> QuerySet[Inference]:
        return queryset if position is None else order.after(queryset, position)

    if not asked.is_rare:
        walked = min(max(WALKED, WALKED_A_ROW * part.stop), MOST_WALKED)
        ahead = order.apply(after(narrowed(model, asked.in_order)))
        found = _keys(order.apply(_among(ahead[:walked], narrowed(model, others))), part)
        if len(found) == part.stop - part.start or not ahead[walked : walked + 1].exists():
            return found
    every = after(narrowed(model, [*asked.in_order, *others]))
    return _keys(_sorted(every, order), part)


def rows_in_time(
    model: RegisteredModel, asked: Conditions, order: Order, position: str | None, part: slice
) -> Wanted:
    """The same as rows along an index, where there is nothing to try: one statement, planned once for all."""
    texts, values = ["r.registered_model_id = %s"], [model.pk]
    for condition in asked.in_order:
        for column, operator, value in _comparisons(condition):
            texts.append(f"r.{column} {operator} %s")
            values.append(value)
    if position is not None:
        moment, (key,) = order.read(position)
        texts.append(f"(r.created_at, r.id) {'<' if order.descending else '>'} (%s, %s)")
        values += [moment, key]
    way = "desc" if order.descending else "asc"
    limit = part.stop - part.start
    return Wanted(" and ".join(texts), values, f"r.created_at {way}, r.id {way}", limit, part.start)


def _comparisons(condition: Any) -> Iterator[tuple[str, str, Any]]:
    """(column, operator, value) of a condition that an index is in order of: see `conditions_of`."""
    if isinstance(condition, Exact):
        yield condition.lhs.name, "=", condition.rhs.value
    else:
        for name, value in condition.children:
            column, _, lookup = name.partition("__")
            yield column, COMPARED[lookup], value


def _keys(queryset: QuerySet[Inference], part: slice) -> Keys:
    return list(queryset.values_list("id", "created_at")[part])


def _among(rows: QuerySet[Inference], queryset: QuerySet[Inference]) -> QuerySet[Inference]:
    """Those of these rows, and no others are read."""
    found = queryset.all()
    alias = str(found.query.get_initial_alias())
    found.query.alias_map[alias] = _Rows(alias, rows.query)
    return found


class _Rows(BaseTable):
    """In a FROM clause: the rows of a query with a limit, under the name of their table."""

    def __init__(self, alias: str, rows: Query) -> None:
        super().__init__(Inference._meta.db_table, alias)
        self.rows = rows

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        sql, params = self.rows.get_compiler(connection=connection).as_sql()
        return f"({sql}) {compiler.quote_name_unless_alias(self.table_alias)}", params


def _sorted(queryset: QuerySet[Inference], order: Order) -> QuerySet[Inference]:
    """In order, but by a value that no index is in the order of: all that match are collected first."""
    time = CombinedExpression(F("created_at"), "+", Value(timedelta(0)))
    way = CombinedExpression.desc if order.descending else CombinedExpression.asc
    return queryset.order_by(way(time), "-id" if order.descending else "id")
