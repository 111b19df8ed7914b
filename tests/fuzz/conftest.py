"""The players of the API's tests."""

from tests.cast import cast, detector  # noqa: F401
