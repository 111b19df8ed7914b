# mypy: disable-error-code="type-arg"
"""Tokens: everybody's own."""

from datetime import datetime, timedelta
from typing import Any, cast

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import ForeignKey, QuerySet
from django.forms import CheckboxSelectMultiple, ModelForm, MultipleChoiceField, ValidationError
from django.http import HttpRequest
from django.utils import timezone

from inference_store.admin.asking import Asked
from inference_store.admin.auditing import Audited
from inference_store.admin.permissions import is_staff, is_superuser
from inference_store.contract.enums import TokenScope
from inference_store.models import Project, Token, User
from inference_store.models.access import all_scopes
from inference_store.services import tokens

FIXED = ("scopes", "project")
"""Once it is made: who needs another makes another."""


class TokenForm(ModelForm):
    scopes = MultipleChoiceField(
        choices=[(each.value, each.value) for each in TokenScope],
        initial=all_scopes,
        widget=CheckboxSelectMultiple,
    )

    def clean_expires_at(self) -> datetime | None:
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if most := settings.TOKEN_MAXIMUM_DAYS:
            latest = (self.instance.created_at or timezone.now()) + timedelta(days=most)
            if expires_at is None or expires_at > latest:
                raise ValidationError(f"A token lives {most:,} days at most: until {latest:%Y-%m-%d %H:%M}.")
        return expires_at


@admin.register(Token)
class Tokens(Asked, Audited, admin.ModelAdmin):
    form = TokenForm
    list_display = ("name", "hint", "user", "scopes", "project", "created_at", "last_used_at", "expires_at")
    list_select_related = ("user", "project")
    search_fields = ("name", "hint", "user__username")
    raw_id_fields = ("user",)
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Token]:
        queryset = super().get_queryset(request)
        return queryset if is_superuser(request) else queryset.filter(user_id=request.user.pk)

    def get_fields(self, request: HttpRequest, obj: Token | None = None) -> tuple[str, ...]:
        names: tuple[str, ...] = ("name", "description", *FIXED, "expires_at")
        if obj:
            names += ("hint", "created_at", "last_used_at")
        return ("user", *names) if is_superuser(request) else names

    def get_readonly_fields(self, request: HttpRequest, obj: Token | None = None) -> tuple[str, ...]:
        return ("user", *FIXED, "hint", "created_at", "last_used_at") if obj else ()

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        ends = {"expires_at": tokens.expiry(tokens.default_days())}
        return ends | super().get_changeform_initial_data(request)

    def formfield_for_foreignkey(self, db_field: ForeignKey, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "project":
            kwargs["queryset"] = Project.objects.visible_to(request.user)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: Token, form: ModelForm, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        user = obj.user if is_superuser(request) else cast(User, request.user)
        token, secret = Token.objects.issue(
            user, obj.name, obj.expires_at, obj.scopes, obj.project, obj.description
        )
        obj.pk, obj.user, obj.hint, obj.digest = token.pk, token.user, token.hint, token.digest
        obj._state.adding = False
        messages.success(request, f"The token, shown this once: {secret}")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_staff(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return is_staff(request)

    def has_view_permission(self, request: HttpRequest, obj: Token | None = None) -> bool:
        return is_staff(request) and (obj is None or is_superuser(request) or obj.user_id == request.user.pk)

    def has_change_permission(self, request: HttpRequest, obj: Token | None = None) -> bool:
        return self.has_view_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Token | None = None) -> bool:
        return self.has_view_permission(request, obj)
