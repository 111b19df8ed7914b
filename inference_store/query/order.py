"""Orders that never tie, and cursors that continue after a row of them."""

import base64
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db.models import F, Q, QuerySet
from django.db.models.fields.tuple_lookups import TupleGreaterThan, TupleLessThan

from inference_store.contract.enums import PaginationSortDirection
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import NewGetInferencesRequest, Pagination


@dataclass(frozen=True)
class Order:
    """By `field`, then by the `ties` fields, which together are unique. Nulls of `field` come last."""

    name: str
    field: str
    ties: tuple[str, ...]
    descending: bool
    nullable: bool = False

    def apply(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        way: Callable[..., Any] = F.desc if self.descending else F.asc
        first = way(F(self.field), nulls_last=True) if self.nullable else way(F(self.field))
        return queryset.order_by(first, *(way(F(tie)) for tie in self.ties))

    def page(
        self, queryset: QuerySet[Any], cursor: str | None, columns: Sequence[str], part: slice
    ) -> list[Any]:
        """That part of what comes after the cursor. Those without a value are asked for apart, as an index
        read backwards has them first."""
        if not self.nullable:
            rows = queryset if cursor is None else self.after(queryset, cursor)
            return list(self.apply(rows).values_list(*columns)[part])
        valued = replace(self, nullable=False)
        found, passed, rest = [], 0, queryset.filter(**{f"{self.field}__isnull": True})
        value, ties = (None, []) if cursor is None else self.read(cursor)
        if cursor is None or value is not None:
            rows = queryset.filter(**{f"{self.field}__isnull": False})
            if cursor is not None:
                rows = valued.after(rows, cursor)
            found = list(valued.apply(rows).values_list(*columns)[part])
            if len(found) == part.stop - part.start:
                return found
            passed = part.start + len(found) if found or not part.start else rows.count()
        else:
            rest = rest.filter(self._tied_after("lt" if self.descending else "gt", ties))
        start, stop = max(0, part.start - passed), part.stop - passed
        return [*found, *self.apply(rest).values_list(*columns)[start:stop]]

    def after(self, queryset: QuerySet[Any], cursor: str) -> QuerySet[Any]:
        """What comes after the row that `cursor` stands for."""
        value, ties = self.read(cursor)
        beyond = TupleLessThan if self.descending else TupleGreaterThan
        operator = "lt" if self.descending else "gt"
        if not self.nullable:
            fields = tuple(F(each) for each in (self.field, *self.ties))
            return queryset.filter(beyond(fields, (value, *ties)))
        tied = self._tied_after(operator, ties)
        if value is None:
            return queryset.filter(Q(**{f"{self.field}__isnull": True}) & tied)
        return queryset.filter(
            Q(**{f"{self.field}__{operator}": value})
            | Q(**{f"{self.field}__isnull": True})
            | (Q(**{self.field: value}) & tied)
        )

    def _tied_after(self, operator: str, ties: Sequence[int]) -> Q:
        condition = Q()
        for depth, tie in enumerate(self.ties):
            step = Q(**{f"{tie}__{operator}": ties[depth]})
            for earlier in range(depth):
                step &= Q(**{self.ties[earlier]: ties[earlier]})
            condition |= step
        return condition

    def cursor(self, value: Any, ties: Sequence[int]) -> str:
        if isinstance(value, datetime):
            value = value.isoformat()
        elif isinstance(value, float) and not math.isfinite(value):
            value = repr(value)
        body = json.dumps([self.name, self.descending, value, *ties], separators=(",", ":"))
        return base64.urlsafe_b64encode(body.encode()).decode().rstrip("=")

    def read(self, cursor: str) -> tuple[Any, list[int]]:
        """The value and the ties of the row that `cursor` stands for."""
        try:
            body = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
            name, descending, value, *ties = body
            if self.field.endswith("created_at"):
                value = datetime.fromisoformat(value)
                value.astimezone()
            elif self.name == "label":
                # A lone surrogate can't be encoded.
                if value is not None and b"\x00" in value.encode():
                    raise ValueError
            elif value is not None:
                value = float(value)
            if len(ties) != len(self.ties) or not all(type(tie) is int and abs(tie) < 2**63 for tie in ties):
                raise ValueError
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            raise Refusal.invalid("pagination.cursor", "is not a cursor that this store gave") from None
        if (name, descending) != (self.name, self.descending):
            raise Refusal.invalid("pagination.cursor", "belongs to another sort or direction")
        if value is None and not self.nullable:
            raise Refusal.invalid("pagination.cursor", "is not a cursor that this store gave")
        return value, ties


def order_of(
    request: NewGetInferencesRequest, *, fields: dict[str, str], ties: tuple[str, ...], nullable: set[str]
) -> Order:
    """The order a request asks for: nearest first with a query embedding, else by created_at."""
    pagination = request.pagination or Pagination()
    name = str(pagination.sort or ("embedding_distance" if request.embedding_filters else "created_at"))
    if name == "embedding_distance" and request.embedding_filters is None:
        raise Refusal.invalid("pagination.sort", "embedding_distance needs embedding_filters")
    descending = pagination.direction == PaginationSortDirection.DESCENDING.value
    return Order(name, fields[name], ties, descending, nullable=name in nullable)
