"""Variables of the environment; nothing starts with one that makes no sense."""

from typing import TypeVar

import environ
from django.core.exceptions import ImproperlyConfigured

env = environ.Env()
Number = TypeVar("Number", int, float)
ON, OFF = ("true", "on", "yes", "y", "ok", "1"), ("false", "off", "no", "n", "0", "")


def number(name: str, default: Number, *, least: Number) -> Number:
    """That variable, whole where its default is."""
    kind = "a whole number" if isinstance(default, int) else "a number"
    try:
        found = type(default)(env.str(name, default=str(default)))
    except ValueError:
        found = least - 1
    if not found >= least:
        raise _senseless(name, f"{kind}, {least} or more")
    return found


def flag(name: str, default: bool) -> bool:
    """Whether that variable is on; empty is off."""
    found = env.str(name, default=str(default)).lower()
    if found not in ON + OFF:
        raise _senseless(name, "true or false")
    return found in ON


def choice(name: str, *known: str) -> str:
    """One of these, the first where the variable is unset or empty."""
    found: str = env.str(name, default="") or known[0]
    if found not in known:
        raise _senseless(name, " or ".join(known))
    return found


def _senseless(name: str, instead: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{name} is {env.str(name)!r}: set {instead}, or leave it unset.")
