"""The admin site: users, projects with their members, tokens, registered models, retention, exports."""

from django.contrib import admin
from django.contrib.auth.models import Group

from inference_store.admin import (
    attempts,
    audit,
    exports,
    identities,
    registered_models,
    retention,
    tokens,
    users,
)

__all__ = ["attempts", "audit", "exports", "identities", "registered_models", "retention", "tokens", "users"]

admin.site.site_header = "Inference Store"
admin.site.site_title = "Inference Store"
admin.site.index_title = "Administration"
admin.site.unregister(Group)  # roles in projects say who may do what
