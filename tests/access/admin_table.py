"""The admin site, route by route."""

from dataclasses import replace
from typing import Any

from tests.access.expecting import (
    ADMIN,
    MOVED,
    OK,
    Lines,
    May,
    Who,
    anybody,
    no_staff,
    own_staff,
    staff,
    superusers,
)
from tests.access.world import EXPORT, POLICY, PREVIEW

LISTED = {"action": "", "index": "0"}
NO_MEMBERS = {"memberships-TOTAL_FORMS": 0, "memberships-INITIAL_FORMS": 0}


SUPERUSERS = superusers().expected


def both(get: May, post: May | None = None) -> dict[str, May]:
    return {"GET": get} | ({"POST": post} if post else {})


def only_look(model: str, object_id: str) -> Lines:
    """A model whose rows are looked at here and changed elsewhere."""
    at = {"object_id": object_id}
    prefix = f"admin:inference_store_{model}"
    return {
        f"{prefix}_changelist": both(staff(), staff(LISTED, ok=(*OK, *MOVED), changes=False)),
        f"{prefix}_add": both(no_staff(), no_staff()),
        f"{prefix}_change": both(own_staff().on(**at), own_refused().on(**at)),
        f"{prefix}_delete": both(own_refused().on(**at), own_refused().on(**at)),
        f"{prefix}_history": both(own_staff().on(**at), own_staff(changes=False).on(**at)),
        f"admin:inference_store/{model}/<path:object_id>/": moved(),
    }


def own_refused() -> May:
    """Refused to those who see it, and to others as what does not exist."""

    def expected(who: Who) -> tuple[int, ...]:
        if not who.is_staff:
            return (302,)
        return (403,) if who.rank == ADMIN.rank else (302, 403, 404)

    return May(expected)


def moved() -> dict[str, May]:
    """An old address of a row's page: on to the new one, which decides."""
    where = anybody(ok=MOVED, changes=False).on(object_id="1")
    return {"GET": where, "POST": where}


ADMIN_SITE: Lines = {
    "admin:index": both(staff(), staff(changes=False)),
    "admin:login": both(
        anybody(ok=OK + MOVED), anybody({"username": "nobody", "password": "x"}, ok=OK, changes=False)
    ),
    "admin:logout": {"POST": staff(ok=MOVED, changes=False)},
    "admin:password_change": both(staff(), staff(changes=False)),
    "admin:password_change_done": both(staff()),
    "admin:autocomplete": both(
        staff(query="?app_label=inference_store&model_name=retentionpolicy&field_name=registered_model")
    ),
    "admin:jsi18n": both(staff()),
    "admin:view_on_site": both(
        staff(ok=(404,)).on(object_id="1"), staff(ok=(404,), changes=False).on(object_id="1")
    ),
    "admin:app_list": both(staff(), staff(changes=False)),
    "admin:(?P<url>.*)$": both(staff(ok=(404,)), staff(ok=(404,), changes=False)),
    **only_look("export", EXPORT),
    **only_look("retentiontask", PREVIEW),
}


def rows(
    model: str,
    look: May,
    change: dict[str, Any],
    add: dict[str, Any],
    at: dict[str, Any] | None = None,
    delete: dict[str, Any] | None = None,
) -> Lines:
    """A model whose rows are added, changed and deleted here; `look` says by whom."""
    prefix = f"admin:inference_store_{model}"

    def who(body: dict[str, Any] | None = None, of_row: bool = True, **more: Any) -> May:
        expected = look.expected if of_row or look.expected is SUPERUSERS else staff().expected
        return May(expected, body, **more).on(**(at or {}) if of_row else {})

    deleting = both(who(), who(delete, ok=MOVED))
    if delete is None:  # what has something in it is kept
        deleting = both(own_refused().on(**(at or {})), own_refused().on(**(at or {})))
    return {
        f"{prefix}_changelist": both(
            who(of_row=False), who(LISTED, of_row=False, ok=(*OK, *MOVED), changes=False)
        ),
        f"{prefix}_add": both(who(of_row=False), who(add, of_row=False, ok=MOVED)),
        f"{prefix}_change": both(who(), who(change, ok=MOVED)),
        f"{prefix}_delete": deleting,
        f"{prefix}_history": both(who(), who(changes=False)),
        f"admin:inference_store/{model}/<path:object_id>/": moved(),
    }


def its_own() -> May:
    """A token: its user's, and a superuser's to look after."""
    return May(
        lambda who: (
            (302,) if not who.is_staff else None if who.name in ("staff admin", "superuser") else (302,)
        )
    )


SURE = {"post": "yes"}
USER = {"username": "renamed", "is_active": "on", "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
PASSWORD = "correct horse battery staple"
NEW_USER = {"username": "new", "password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
NEW_TOKEN = {"name": "new", "user": "user", "scopes": ["read", "write"]}
NEW_MODEL = {"model_id": "new", "project": "birds", "task_type": "Text Embedding", "embedding_size": 0}
POLICY_FORM = {
    "registered_model": "<fresh>",
    "automated_interval": 0,
    "maximum_record_age": 2,
    "maximum_blob_age": 1,
    "delete_action": "soft",
}

ADMIN_SITE |= {
    **rows("user", May(SUPERUSERS), USER, NEW_USER, delete=SURE),
    "admin:auth_user_password_change": both(
        superusers(),
        superusers({"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}, ok=MOVED),
    ),
    **rows(
        "token",
        its_own(),
        {"name": "renamed"},
        NEW_TOKEN,
        delete=SURE,
    ),
    **rows(
        "identity",
        May(SUPERUSERS),
        {"user": "viewer", "issuer": "https://id.example.org", "subject": "another"},
        {"user": "viewer", "issuer": "https://id.example.org", "subject": "new"},
        delete=SURE,
    ),
    **rows(
        "project",
        own_staff(),
        {"name": "renamed"} | NO_MEMBERS,
        {"project_id": "a-new-one", "name": "new"} | NO_MEMBERS,
    ),
    **rows("registeredmodel", own_staff(), {}, NEW_MODEL),
    **rows("retentionpolicy", own_staff(), {}, POLICY_FORM, {"object_id": POLICY}, {"typed": "detector"}),
    # The audit log is for superusers to look at; nobody changes it.
    "admin:inference_store_auditrecord_changelist": both(
        superusers(), superusers(LISTED, ok=(*OK, *MOVED), changes=False)
    ),
    "admin:inference_store_auditrecord_add": both(no_staff(), no_staff()),
    "admin:inference_store_auditrecord_change": both(superusers(), no_staff()),
    "admin:inference_store_auditrecord_delete": both(no_staff(), no_staff()),
    "admin:inference_store_auditrecord_history": both(superusers(), superusers(changes=False)),
    "admin:inference_store/auditrecord/<path:object_id>/": moved(),
    # Failed logins are for superusers to look at and to forget.
    "admin:axes_accessattempt_changelist": both(
        superusers(), superusers(LISTED, ok=(*OK, *MOVED), changes=False)
    ),
    "admin:axes_accessattempt_add": both(no_staff(), no_staff()),
    "admin:axes_accessattempt_change": both(superusers(), no_staff()),
    "admin:axes_accessattempt_delete": both(superusers(), superusers(SURE, ok=MOVED)),
    "admin:axes_accessattempt_history": both(superusers(), superusers(changes=False)),
    "admin:axes/accessattempt/<path:object_id>/": moved(),
    "admin:inference_store_retentionpolicy_preview": {
        "GET": May(lambda who: (302,) if not who.is_staff else (405,)),
        "POST": own_staff(ok=MOVED).on(object_id=POLICY),
    },
}
# Who do not administer the project may not add to it: the form finds it wrong and comes back.
MODEL, RULE = "admin:inference_store_registeredmodel", "admin:inference_store_retentionpolicy"
for _added in (MODEL, RULE):
    _post = ADMIN_SITE[f"{_added}_add"]["POST"]
    ADMIN_SITE[f"{_added}_add"]["POST"] = replace(
        _post,
        expected=lambda who: (302,) if not who.is_staff else None if (who.rank or 0) >= 2 else (200,),
    )
# A policy is never changed, only looked at, and a model's fields are fixed.
ADMIN_SITE[f"{RULE}_change"]["POST"] = own_refused().on(object_id=POLICY)
ADMIN_SITE[f"{MODEL}_change"]["POST"] = own_staff(ok=MOVED)
