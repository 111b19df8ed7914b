"""The database engine of the settings."""

import select
from typing import Any

import psycopg
from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """A connection that the server has not ended, so that a restarted server costs nobody a request."""
        while True:
            connection = super().get_new_connection(conn_params)
            if self.pool is None or _is_alive(connection):
                return connection
            connection.close()
            self.pool.putconn(connection)


def _is_alive(connection: "psycopg.Connection[Any]") -> bool:
    """Nothing is said on an idle connection but that it ends; what else it may be, a question tells."""
    waiting = select.poll()
    try:
        waiting.register(connection.fileno(), select.POLLIN)
        if waiting.poll(0):
            connection.execute("")
    except psycopg.OperationalError:
        return False
    return True
