"""What every test may use."""

# First of all imports: it chooses where the tests' data lie, and then has the settings read.
from tests.servers import django_db_modify_db_settings, embedded_postgres, embedded_redis  # noqa: F401

# isort: split
