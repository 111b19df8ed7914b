"""Sessions in the database, whose cookie names one or is none."""

from django.contrib.sessions.backends import db


class SessionStore(db.SessionStore):
    def _validate_session_key(self, key: str | None) -> bool:
        """Ours are letters and digits: nothing else, a NUL for one, gets as far as the database."""
        fits: bool = super()._validate_session_key(key)  # type: ignore[misc]  # which its stubs have not
        return fits and str(key).isascii() and str(key).isalnum()
