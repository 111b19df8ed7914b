"""What is done once a transaction is committed, and need not be: sweeps do what a crash leaves undone."""

from collections.abc import Callable
from typing import Any

from django.db import transaction


def after_commit(do: Callable[..., object], *given: Any) -> None:
    """Do it after the commit; a fault is logged, and what was committed is answered as done."""

    # No functools.partial: Django logs what has failed by its name, and fails itself where there is none.
    def done_then() -> None:
        do(*given)

    done_then.__qualname__ = do.__qualname__
    transaction.on_commit(done_then, robust=True)
