"""OIDC_ROLES: which groups of an OpenID provider have which role in which project."""

import json

from inference_store.models import Role

Mapping = dict[str, list[tuple[str, Role]]]


def parsed(text: str) -> Mapping:
    """Group -> (project id, role) each, of `{"group": "project:role", "other": ["a:viewer", "b:admin"]}`.

    ValueError, which names what is wrong.
    """
    try:
        told = json.loads(text or "{}")
    except ValueError as error:
        raise ValueError(f"it is no JSON: {error}") from None
    if not isinstance(told, dict):
        raise ValueError('it must be an object: group -> "project:role", or a list of these')
    return {group: [_grant(group, each) for each in _listed(grants)] for group, grants in told.items()}


def _listed(grants: object) -> list[object]:
    return list(grants) if isinstance(grants, list) else [grants]


def _grant(group: str, grant: object) -> tuple[str, Role]:
    project, colon, role = grant.rpartition(":") if isinstance(grant, str) else ("", "", "")
    if not (project and colon):
        raise ValueError(f'{group!r} must have "project:role", not {grant!r}')
    if role not in Role.values:
        raise ValueError(f"{group!r} has the role {role!r}; there are {', '.join(Role.values)}")
    return project, Role(role)


def roles_of(groups: tuple[str, ...], mapping: Mapping) -> dict[str, Role]:
    """The highest role that the groups give in each project."""
    found: dict[str, Role] = {}
    for group in groups:
        for project, role in mapping.get(group, ()):
            if project not in found or found[project].rank < role.rank:
                found[project] = role
    return found
