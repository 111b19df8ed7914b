"""Every route, as the URL conf has it: nothing is listed by hand here."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, get_resolver

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
SAFE = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Route:
    """A pattern of the URL conf: the name by which it is listed, and its whole pattern."""

    name: str
    pattern: str
    view: Any

    @property
    def door(self) -> str:
        """Which table it stands in."""
        space = self.name.partition(":")[0]
        return space if space in ("api", "admin") else "page"


def _walk(patterns: Any, before: str = "", spaces: str = "") -> Iterator[Route]:
    for each in patterns:
        pattern = before + str(each.pattern)
        if isinstance(each, URLPattern):
            # The admin site has patterns without a name; what stands below its root names them.
            yield Route(spaces + (each.name or pattern.removeprefix("admin/")), pattern, each.callback)
        else:
            yield from _walk(
                each.url_patterns, pattern, spaces + (f"{each.namespace}:" if each.namespace else "")
            )


ROUTES = list(_walk(get_resolver().url_patterns))
