"""Waiting for what another process does."""

import time
from collections.abc import Callable

PATIENCE_SECONDS = 90


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
