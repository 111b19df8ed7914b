"""How values are written on pages. Nothing here asks the database."""

from datetime import UTC, datetime

from django import template

from dashboard.overlays import series_of
from inference_store.contract.filters import GeoPoint

register = template.Library()

STEPS = ((60, 1, "second"), (3_600, 60, "minute"), (86_400, 3_600, "hour"), (86_400 * 60, 86_400, "day"))


@register.filter
def grouped(number: int) -> str:
    """12345 → 12,345."""
    return f"{number:,}"


@register.filter
def series(label: str) -> int:
    """The number of the label's colour."""
    return series_of(label)


@register.filter
def place(point: GeoPoint) -> str:
    return f"{point.latitude:.5f}, {point.longitude:.5f}"


@register.filter
def ago(moment: datetime) -> str:
    """How long ago in one unit, the date where that is long."""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    if seconds < 1:
        return "just now"
    for limit, unit, name in STEPS:
        if seconds < limit:
            count = int(seconds // unit)
            return f"{count} {name}{'s' if count != 1 else ''} ago"
    return f"{moment:%Y-%m-%d}"
