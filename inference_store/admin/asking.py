# mypy: disable-error-code="type-arg"
"""What an address or a form of the admin site names that nothing can be called is answered 400 or 404.

Django takes such for its own faults: a NUL, a year of eleven digits, a key that is no number.
"""

from typing import Any

from django.core.exceptions import BadRequest, FieldDoesNotExist, ValidationError
from django.db import DataError
from django.http import HttpRequest


class Asked:
    """For a ModelAdmin, before all others."""

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        if "\x00" in object_id:
            return None
        return super().get_object(request, object_id, from_field)  # type: ignore[misc]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Without what a field can't hold."""
        initial: dict[str, Any] = super().get_changeform_initial_data(request)  # type: ignore[misc]
        return {name: value for name, value in initial.items() if self._holds(name, value)}

    def _holds(self, name: str, value: Any) -> bool:
        try:
            self.model._meta.get_field(name).to_python(value)  # type: ignore[attr-defined]
        except FieldDoesNotExist:
            return True  # the form knows it, or nobody
        except ValidationError:
            return False
        return "\x00" not in str(value)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        try:
            return super().changelist_view(request, extra_context)  # type: ignore[misc]
        except (ValueError, OverflowError, DataError) as error:
            if not (request.GET or request.POST):
                raise  # nothing was asked for: it is our fault
            raise BadRequest("This list can't be asked for that.") from error
