"""What tasks begin in a thread of the worker, once at a time."""

import threading

import pytest
from django.db import connection

from inference_store import tasks
from inference_store.services import segments, vector_indexes
from inference_store.services.background import Background

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("service", "task"), [(segments, tasks.build_segments), (vector_indexes, tasks.build_vector_indexes)]
)
def test_the_task_builds_in_a_thread_once(service, task, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def build():
        begun.set()
        assert go_on.wait(60)

    monkeypatch.setattr(service, "build_due", build)
    assert task() is True
    assert begun.wait(60)
    assert task() is False
    go_on.set()
    with service._building.at_it:  # it is given back
        pass


def test_a_thread_has_its_connection_before_the_task_is_over():
    """For then the worker closes its pool."""
    taken, held, background = threading.Event(), [], Background("Anything")

    def work():
        held.append(connection.connection is not None)
        assert taken.wait(60)

    assert background.begin(work)
    taken.set()
    with background.at_it:
        assert held == [True]
