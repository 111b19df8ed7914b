"""Statements written out, for what every request asks: their values travel in binary, and the server keeps
them prepared, unless another plan may be right for other values.

The ORM's are put together, parsed and planned anew each time, and their values travel as text.
"""

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from django.db import DEFAULT_DB_ALIAS, connections
from pgvector import Vector
from pgvector.psycopg.vector import VectorBinaryDumper, VectorDumper
from psycopg import ClientCursor, Cursor, adapters
from psycopg.adapt import Dumper
from psycopg.postgres import types
from psycopg.pq import Format

MOST_VALUES = 60_000
"""The protocol counts them in 16 bits; beyond, they are written into the statement."""

# Of no type: the statement names it, as types of extensions have another number in each database.
adapters.register_dumper(Vector, VectorDumper)
adapters.register_dumper(Vector, VectorBinaryDumper)


class Keys(NamedTuple):
    """Many primary keys as one value, a bigint[]: a list is put together number by number."""

    held: npt.NDArray[np.int64]


class _KeysDumper(Dumper):
    """In binary, as array_send has it."""

    format = Format.BINARY
    oid = types["int8"].array_oid

    def dump(self, obj: Keys) -> bytes:
        count = len(obj.held)
        head = struct.pack("!iii", 1 if count else 0, 0, types["int8"].oid)
        if not count:
            return head
        elements = np.empty(count, [("length", ">i4"), ("value", ">i8")])
        elements["length"], elements["value"] = 8, obj.held
        return head + struct.pack("!ii", count, 1) + elements.tobytes()


class _KeysTextDumper(Dumper):
    """As text, where a statement is logged."""

    oid = types["int8"].array_oid

    def dump(self, obj: Keys) -> bytes:
        return b"{" + ",".join(map(str, obj.held.tolist())).encode() + b"}"


adapters.register_dumper(Keys, _KeysTextDumper)
adapters.register_dumper(Keys, _KeysDumper)


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
