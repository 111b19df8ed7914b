"""Work that may take long is done in a thread of its own, so that it holds up no job."""

import logging
import threading
from collections.abc import Callable

from django.db import connection, connections

logger = logging.getLogger(__name__)


class Background:
    """One kind of work, which this process does once at a time. `at_it` is held meanwhile."""

    def __init__(self, name: str) -> None:
        self.name, self.at_it = name, threading.Lock()

    def begin(self, work: Callable[[], object]) -> bool:
        """Begin the work; False where this process is at it already."""
        if not self.at_it.acquire(blocking=False):
            return False
        connected = threading.Event()

        def run() -> None:
            try:
                try:
                    connection.ensure_connection()
                finally:
                    connected.set()
                work()
            except Exception:
                logger.exception("%s; it is tried again.", self.name)
            finally:
                self.at_it.release()
                connections.close_all()

        threading.Thread(target=run, daemon=True).start()
        # At a task's end a worker closes its pool, but not a connection that was taken from it.
        connected.wait()
        return True
