"""What one sees who has guessed too often."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def locked_out(request: HttpRequest, *_: Any) -> HttpResponse:
    """429 with how long to wait; by axes, for the login of the pages and that of the admin site."""
    wait = settings.AXES_COOLOFF_TIME
    response = render(request, "dashboard/locked_out.html", {"minutes": wait.seconds // 60}, status=429)
    response["Retry-After"] = str(wait.seconds)
    return response
