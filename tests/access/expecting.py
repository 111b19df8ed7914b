"""How the tables say who gets what: a line is a kind of access, what to send, and what becomes of it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from inference_store.contract.enums import TokenScope
from inference_store.models import Role

OK = (200, 201, 204)
MOVED = (302,)
VIEWER, EDITOR, ADMIN = Role.VIEWER, Role.EDITOR, Role.ADMIN
STRANGER = -1


@dataclass(frozen=True)
class Who:
    """Somebody who calls. `rank` is by project `birds`: -1 for a stranger, None for nobody."""

    name: str
    rank: int | None
    is_staff: bool = False
    is_superuser: bool = False
    scopes: frozenset[TokenScope] = frozenset(TokenScope)
    """Of the token, at the API."""
    is_everywhere: bool = True
    """Whether the token is good for every project."""


Expected = Callable[[Who], tuple[int, ...] | None]
"""The statuses of a refusal; None where the call is let through."""


@dataclass(frozen=True)
class May:
    """A call of a route with one method: who may make it, what it sends, and how it answers them."""

    expected: Expected
    body: Any = None
    query: str = ""
    ok: tuple[int, ...] = OK
    changes: bool = True
    role: Role | None = None
    scopes: tuple[TokenScope, ...] = ()
    arguments: dict[str, Any] = field(default_factory=dict)

    def on(self, **arguments: Any) -> "May":
        """The same, of another object than the route's usual one."""
        return replace(self, arguments=arguments)


Lines = dict[str, dict[str, May | tuple[May, ...]]]
"""Name of the route -> method -> its calls. GET stands for HEAD too; what is not named is 405."""


# --- The API ------------------------------------------------------------------------------------------------
def _scoped(scopes: tuple[TokenScope, ...], further: Expected) -> Expected:
    """Nobody must say who they are; a token without the scopes gets no further, whatever it asks for."""

    def expected(who: Who) -> tuple[int, ...] | None:
        if who.rank is None:
            return (401,)
        return further(who) if who.scopes.issuperset(scopes) else (403,)

    return expected


def _by_role(role: Role) -> Expected:
    def expected(who: Who) -> tuple[int, ...] | None:
        if who.rank == STRANGER:
            return (404,)
        return None if (who.rank or 0) >= role.rank else (403,)

    return expected


SCOPES = {Role.VIEWER: TokenScope.READ, Role.EDITOR: TokenScope.WRITE}
"""That a role's lines need unless they say otherwise; an admin's say."""


def may(role: Role, body: Any = None, scope: TokenScope | None = None, *also: TokenScope, **more: Any) -> May:
    """A member with at least that role; a stranger finds nothing."""
    scopes = (scope or SCOPES[role], *also)
    return May(_scoped(scopes, _by_role(role)), body, role=role, scopes=scopes, **more)


def anybody_known(body: Any = None, **more: Any) -> May:
    scopes = (TokenScope.READ,)
    return May(_scoped(scopes, lambda who: None), body, scopes=scopes, **more)


def staff_only(body: Any = None, **more: Any) -> May:
    def expected(who: Who) -> tuple[int, ...] | None:
        return None if who.is_staff and who.is_everywhere else (403,)

    scopes = (TokenScope.MANAGE,)
    return May(_scoped(scopes, expected), body, scopes=scopes, **more)


def anybody(body: Any = None, **more: Any) -> May:
    return May(lambda who: None, body, **more)


def always(*statuses: int, **more: Any) -> May:
    """Nobody gets further, whoever it is."""
    return May(lambda who: statuses, **more)


# --- Pages --------------------------------------------------------------------------------------------------
def _page(allowed: Callable[[Who], bool]) -> Expected:
    def expected(who: Who) -> tuple[int, ...] | None:
        if who.rank is None:
            return (302,)
        if who.rank == STRANGER:
            return (404,)
        return None if allowed(who) else (403,)

    return expected


def page(role: Role, body: Any = None, **more: Any) -> May:
    """A page of a model: nobody logs in first."""
    return May(_page(lambda who: (who.rank or 0) >= role.rank), body, **more)


def fragment(role: Role, **more: Any) -> May:
    """What a page asks for by itself: nobody is told to load the page anew."""
    inner = _page(lambda who: (who.rank or 0) >= role.rank)
    return May(lambda who: (200,) if who.rank is None else inner(who), **more)


def its_owner(owner: str, body: Any = None, **more: Any) -> May:
    return May(_page(lambda who: who.name == owner), body, **more)


def its_own(body: Any = None, **more: Any) -> May:
    """The admin's own: others, superusers too, find nothing."""

    def expected(who: Who) -> tuple[int, ...] | None:
        if who.rank is None:
            return (302,)
        return None if who.name == "admin" else (404,)

    return May(expected, body, **more)


def staff_page(body: Any = None, **more: Any) -> May:
    return May(lambda who: (302,) if who.rank is None else None if who.is_staff else (403,), body, **more)


def logged_in(body: Any = None, **more: Any) -> May:
    return May(lambda who: (302,) if who.rank is None else None, body, **more)


# --- The admin site -----------------------------------------------------------------------------------------
def _admin(own: Expected) -> Expected:
    return lambda who: own(who) if who.is_staff else (302,)


def superusers(body: Any = None, **more: Any) -> May:
    return May(_admin(lambda who: None if who.is_superuser else (403,)), body, **more)


def staff(body: Any = None, **more: Any) -> May:
    return May(_admin(lambda who: None), body, **more)


def own_staff(body: Any = None, **more: Any) -> May:
    """Staff who administer the project; others are sent away as from what does not exist."""
    return May(_admin(lambda who: None if (who.rank or 0) >= ADMIN.rank else (302, 404)), body, **more)


def no_staff(**more: Any) -> May:
    """Nobody does this here."""
    return May(_admin(lambda who: (403,)), **more)
