"""The database engine: a connection that the server has ended is nobody's."""

import psycopg
import pytest
from django.db import connection


def backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        pid: int = cursor.fetchone()[0]
        return pid


@pytest.mark.django_db(transaction=True)
def test_connections_ended_while_they_were_idle_cost_nobody_a_request() -> None:
    backend()
    connection.close()  # back to the pool
    asked = {"dbname", "user", "password", "host", "port"}
    where = {name: value for name, value in connection.get_connection_params().items() if name in asked}
    with psycopg.connect(**where, autocommit=True) as other:
        # It waits until each is gone.
        ended = other.execute(
            "select pid, pg_terminate_backend(pid, 10000) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid() "
            "and backend_type = 'client backend'"
        ).fetchall()
    assert ended
    assert all(gone for _, gone in ended)
    assert backend() not in [pid for pid, _ in ended]
