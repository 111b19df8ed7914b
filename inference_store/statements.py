"""Statements written out, for what every request asks: their values travel in binary, and the server keeps
them prepared, unless another plan may be right for other values.

The ORM's are put together, parsed and planned anew each time, and their values travel as text.
"""

from collections.abc import Sequence
from typing import Any, Self

from django.db import DEFAULT_DB_ALIAS, connections
from pgvector import Vector
from pgvector.psycopg.vector import VectorBinaryDumper, VectorDumper
from psycopg import ClientCursor, Cursor, adapters
from psycopg.pq import Format

MOST_VALUES = 60_000
"""The protocol counts them in 16 bits; beyond, they are written into the statement."""

# Of no type: the statement names it, as types of extensions have another number in each database.
adapters.register_dumper(Vector, VectorDumper)
adapters.register_dumper(Vector, VectorBinaryDumper)


class _PlannedAnew(Cursor[Any]):
    """A cursor of its own, as Django's wrapper of cursors hands on no options."""

    def execute(self, query: Any, params: Any = None, **_: Any) -> Self:
        return super().execute(query, params, prepare=False)


def rows(statement: str, values: Sequence[Any], *, anew: bool = False) -> list[tuple[Any, ...]]:
    """The rows that the statement gives, with these values in the place of each %s.

    `anew`: it is planned for these values, where another plan may be right for others.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    connection.ensure_connection()
    # A statement that is logged is sent with its values in it, as the ORM's are.
    within = connection.queries_logged or len(values) > MOST_VALUES
    cursor = (ClientCursor if within else _PlannedAnew if anew else Cursor)(connection.connection)
    cursor.format = Format.TEXT if within else Format.BINARY
    # Django's wrapper knows this cursor as its own: faults and logged queries look the same.
    with connection._prepare_cursor(cursor) as prepared:  # type: ignore[attr-defined]
        prepared.execute(statement, values)
        found: list[tuple[Any, ...]] = prepared.fetchall()
        return found
