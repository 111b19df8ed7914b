"""Panels that must not hold up a page."""

from collections.abc import Callable
from typing import TypeVar

import psycopg
from django.db import OperationalError, connection, transaction

PANEL_TIMEOUT_MS = 2_000
"""What a reader waits for a number beside the results before it had better be left out."""

T = TypeVar("T")


def in_time(ask: Callable[[], T], timeout_ms: int = PANEL_TIMEOUT_MS) -> T | None:
    """The answer, or None where the database did not give it in time."""
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(timeout_ms)])
            return ask()
    except OperationalError as error:
        if isinstance(error.__cause__, psycopg.errors.QueryCanceled):
            return None
        raise
