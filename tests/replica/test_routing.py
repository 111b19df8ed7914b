"""Where a read goes, asked in this process: faults of the replica, wrong servers, lost positions."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, connections, transaction

from inference_store import calling, replica
from inference_store.api.urls import urlpatterns
from inference_store.calling import Calling
from inference_store.contract.errors import Refusal
from inference_store.models import Inference, Project, RegisteredModel
from inference_store.postgresql.base import DatabaseWrapper
from inference_store.services.access import project_for
from tests.cast import Cast, request_of
from tests.standby import Standby
from tests.workers import database, wait_until

WHERE = "select case when pg_is_in_recovery() then 'replica' else 'primary' end"


def place() -> str:
    with connection.cursor() as cursor:
        cursor.execute(WHERE)
        return str(cursor.fetchone()[0])


def attach() -> None:
    """Under a name of its own, for Django's tests let none connect to a database that they don't know."""
    wrapper = DatabaseWrapper(settings.DATABASES["replica"], "standby")
    connections["replica"] = connections["standby"] = wrapper


@pytest.fixture
def use() -> Iterator[Any]:
    """Have this process use that server as its replica."""

    def use(host: str) -> None:
        primary = connections.settings["default"]
        options = {name: value for name, value in primary["OPTIONS"].items() if name != "pool"}
        options |= {"host": host, "options": f"{options['options']} -c default_transaction_read_only=on"}
        settings.DATABASES["replica"] = primary | {"OPTIONS": options, "HOST": host}
        attach()

    replica._Away.until = None
    with calling.serving(Calling("a-request", calling.API, user_id=7)):
        yield use
    if "replica" in settings.DATABASES:
        connections["replica"].close()
        del connections["replica"], connections["standby"]
        del settings.DATABASES["replica"]
    replica._Away.until = None


@pytest.fixture
def used(standby: Standby, use: Any, settings: Any) -> Standby:
    settings.REPLICA_LAG_SECONDS = 60.0
    use(str(standby.directory))
    if replica.read(place) != "replica":  # nobody had noted that positions are kept
        standby.catch_up()
    assert replica.read(place) == "replica"
    return standby


def test_all_that_a_read_asks_is_asked_of_the_replica(used: Standby) -> None:
    def ask() -> list[str]:
        with transaction.atomic():
            return [place(), Inference.objects.db, str(Inference.objects.count())]

    assert replica.read(ask) == ["replica", "default", "0"]
    assert replica.read(lambda: replica.read(place)) == "replica"
    assert replica.read(replica.of_primary(place)) == "primary"
    assert place() == "primary"
    with transaction.atomic():  # a write's own reads
        assert replica.read(place) == "primary"
    assert replica.read(place, fresh=True) == "primary"


def test_a_position_holds_for_its_user_until_it_is_replayed(used: Standby) -> None:
    used.pause()
    Project.objects.create(project_id="later")
    replica.note(7)
    assert replica.read(place) == "primary"
    with calling.serving(Calling("another", calling.API, user_id=8)):
        assert replica.read(place) == "replica"
    used.resume()
    used.catch_up()
    assert replica.read(place) == "replica"


def test_who_may_what_is_the_primarys(used: Standby, cast: Cast) -> None:
    used.pause()
    Project.objects.filter(project_id="birds").delete()

    def ask() -> int:
        assert Project.objects.filter(project_id="birds").exists()  # the replica has it still
        with pytest.raises(Refusal):
            project_for(cast.users["carol"], "birds", None)  # type: ignore[arg-type]
        return 1

    assert replica.read(ask) == 1


def test_what_the_replica_has_not_is_asked_of_the_primary(used: Standby) -> None:
    used.pause()
    Project.objects.create(project_id="new")

    def ask() -> str:
        if not Project.objects.filter(project_id="new").exists():
            raise Refusal.not_found("not here")
        return place()

    assert replica.read(ask) == "primary"


def test_a_read_that_the_replay_cancels_is_asked_of_the_primary(used: Standby) -> None:
    for number in range(50):
        Project.objects.create(project_id=f"p-{number}")
    used.catch_up()
    began, found = threading.Event(), []

    def ask() -> str:
        if (where := place()) == "replica":
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("set transaction isolation level repeatable read")
                cursor.execute("select count(*) from inference_store_project")
                began.set()
                cursor.execute("select pg_sleep(20) from inference_store_project limit 1")
        return where

    def run() -> None:
        attach()
        with calling.serving(Calling("a-request", calling.API, user_id=9)):
            found.append(replica.read(ask))
        connections["default"].close()
        connections["replica"].close()

    thread = threading.Thread(target=run)
    thread.start()
    assert began.wait(10)
    Project.objects.filter(project_id__startswith="p-").delete()
    with connection.cursor() as cursor:
        cursor.execute("vacuum inference_store_project")
    thread.join(15)
    assert found == ["primary"]
    conflicts = "select sum(confl_snapshot + confl_lock + confl_bufferpin) from pg_stat_database_conflicts"
    wait_until(lambda: used.ask(conflicts) > 0, "the replica counts the conflict")


def test_a_read_that_writes_after_all_is_asked_of_the_primary(used: Standby) -> None:
    project = replica.read(lambda: Project.objects.create(project_id="written"))
    assert Project.objects.get() == project


def test_a_query_that_takes_too_long_is_not_asked_twice(used: Standby) -> None:
    asked: list[str] = []

    def ask() -> None:
        asked.append(place())
        with connection.cursor() as cursor:
            cursor.execute("set statement_timeout = 20")
            cursor.execute("select pg_sleep(5)")

    with pytest.raises(Exception, match="statement timeout"):
        replica.read(ask)
    assert asked == ["replica"]


@pytest.mark.parametrize("lost", ["delete from {}", "update {} set lsn = 'FFFFFF/0'"])
def test_where_positions_may_be_lost_all_must_be_replayed(used: Standby, lost: str) -> None:
    """As after a crash of the primary, and in the backup of another server."""
    used.pause()
    Project.objects.create(project_id="forgotten")
    with connection.cursor() as cursor:
        cursor.execute(lost.format("inference_store_position"))
    for _ in range(3):
        assert replica.read(place) == "primary"
    used.resume()
    used.catch_up()
    assert replica.read(place) == "replica"


def test_another_server_is_no_replica(standby: Standby, use: Any, caplog: Any) -> None:
    use(database()["host"])
    assert replica.read(place) == "primary"
    assert "no replica" in caplog.text
    with pytest.raises(replica.UnfitError, match="no replica"):
        replica.current_lag()


def test_one_that_is_ahead_is_another_servers(used: Standby, monkeypatch: Any) -> None:
    behind = replica.POSITIONS.replace("pg_current_wal_insert_lsn()", "pg_lsn '0/9'", 1)
    monkeypatch.setattr(replica, "POSITIONS", behind)
    with pytest.raises(replica.UnfitError, match="not its data"):
        replica.current_lag()


def test_old_positions_are_forgotten(transactional_db: None) -> None:
    replica.note(7)
    replica.note(replica.EVERYBODY)
    with connection.cursor() as cursor:
        cursor.execute("update inference_store_position set noted_at = noted_at - interval '11 minutes'")
        replica.note(7)
        assert replica.forget_positions() >= 1
        cursor.execute("select count(*) from inference_store_position where user_id = 7")
        assert cursor.fetchone() == (1,)
        cursor.execute("select count(*) > 0 from inference_store_position where user_id = 0")
        assert cursor.fetchone() == (True,)


def test_without_a_replica_nothing_is_asked_or_noted(
    cast: Cast, detector: RegisteredModel, django_assert_num_queries: Any
) -> None:
    cast.bob.post("models/detector/inferences", request_of())
    with connection.cursor() as cursor:
        cursor.execute("delete from inference_store_position")
    with django_assert_num_queries(2):
        answer = cast.carol.post("models/detector/search", {})
    assert "X-Read-From" not in answer.headers
    with connection.cursor() as cursor:
        cursor.execute("select count(*) from inference_store_position")
        assert cursor.fetchone() == (0,)


def test_the_operations_that_the_replica_may_serve_are_these() -> None:
    """Each was looked at: it writes nothing, and shows nothing of a job."""
    found = set()
    for route in urlpatterns:
        view = getattr(route.callback, "view_class", None)
        for method in ("get", "post", "put", "delete"):
            declared = getattr(getattr(view, method, None), "operation", None)
            if declared is not None and declared.reads:
                found.add(declared.operation_id)
    assert found == {
        *("list_inferences", "filter_inferences", "count_inferences_by_query", "count_inferences"),
        *("list_granular_inferences", "filter_granular_inferences", "map_cells", "get_inference"),
        *("get_metadata", "get_metadata_key_type_counts", "get_metadata_statistics"),
    }
