"""Work that may take long is done in a thread of its own, so that it holds up no job."""

import logging
import threading
from collections.abc import Callable

from django.db import connections

logger = logging.getLogger(__name__)


class Background:
    """One kind of work, which this process does once at a time. `at_it` is held meanwhile."""

    def __init__(self, name: str) -> None:
        self.name, self.at_it = name, threading.Lock()

    def begin(self, work: Callable[[], object]) -> bool:
        """Begin the work; False where this process is at it already."""
        if not self.at_it.acquire(blocking=False):
            return False

        def run() -> None:
            try:
                work()
            except Exception:
                logger.exception("%s; it is tried again.", self.name)
            finally:
                self.at_it.release()
                connections.close_all()

        threading.Thread(target=run, daemon=True).start()
        return True
