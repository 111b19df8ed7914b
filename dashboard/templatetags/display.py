"""How values are written on pages. Nothing here asks the database."""

from datetime import UTC, datetime
from urllib.parse import urlencode

from django import template
from django.urls import reverse

from dashboard import single_sign_on
from dashboard.fetching import base_url, sending_words
from dashboard.label_colours import LabelColours
from inference_store.contract.filters import GeoPoint
from inference_store.filtersets import OPERATOR_WORDS
from inference_store.models import RegisteredModel

register = template.Library()
register.simple_tag(single_sign_on.choices, name="sign_in_choices")

STEPS = ((60, 1, "second"), (3_600, 60, "minute"), (86_400, 3_600, "hour"), (86_400 * 60, 86_400, "day"))


@register.filter
def grouped(number: int) -> str:
    """12345 → 12,345."""
    return f"{number:,}"


@register.filter
def operator_words(operator: str) -> str:
    """An operator as one writes it: >= as ≥."""
    return OPERATOR_WORDS.get(operator, operator)


@register.filter
def series(label: str, colours: LabelColours) -> int:
    """The number of the label's colour."""
    return colours[label]


@register.filter
def similar_query(inference_id: str, within: str) -> str:
    """The query string of what is like that inference, within a filter."""
    return "&".join(filter(None, [within, urlencode({"similar_to": inference_id})]))


@register.filter
def distance(number: float | None) -> str:
    """A distance between embeddings, short."""
    return "" if number is None else f"{number:.4f}" if abs(number) < 1_000 else f"{number:.4g}"


@register.filter
def place(point: GeoPoint) -> str:
    return f"{point.latitude:.5f}, {point.longitude:.5f}"


@register.filter
def hours(count: int) -> str:
    """An age in days where it is a number of them: 720 → 30 days, 36 → 36 hours."""
    number, unit = (count // 24, "day") if count > 24 and count % 24 == 0 else (count, "hour")
    return f"{number:,} {unit}{'s' if number != 1 else ''}"


@register.filter
def ahead(moment: datetime) -> str:
    """How long until then in one unit, the date where that is long."""
    seconds = (moment - datetime.now(UTC)).total_seconds()
    if seconds < 1:
        return "now"
    for limit, unit, name in STEPS:
        if seconds < limit:
            count = int(seconds // unit)
            return f"in {count} {name}{'s' if count != 1 else ''}"
    return f"on {moment:%Y-%m-%d}"


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


@register.filter
def exact(number: float) -> str:
    """The number as scripts and attributes read it, whatever the language."""
    return f"{number:.6g}"


@register.simple_tag(takes_context=True)
def sending_code(context: template.Context, model: RegisteredModel | None) -> str:
    """The SDK's lines that send a first inference of that model."""
    return sending_words(base_url(context["request"]), model)


@register.simple_tag(takes_context=True)
def up_address(context: template.Context) -> str:
    """The page of the model that an address of something of a model's names; empty for others."""
    request = context.get("request")
    parts = request.path.split("/") if request else []
    if len(parts) < 4 or parts[1] != "models" or not parts[2] or not parts[3]:
        return ""
    return reverse("dashboard:inferences", args=[parts[2]])
