# mypy: disable-error-code="type-arg"
"""Tokens: everybody's own."""

from typing import cast

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest

from inference_store.admin.auditing import Audited
from inference_store.admin.permissions import is_staff, is_superuser
from inference_store.models import Token, User


@admin.register(Token)
class Tokens(Audited, admin.ModelAdmin):
    list_display = ("name", "hint", "user", "created_at", "expires_at")
    list_select_related = ("user",)
    search_fields = ("name", "hint", "user__username")
    fields = ("user", "name", "hint", "expires_at")
    readonly_fields = ("hint",)
    raw_id_fields = ("user",)
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Token]:
        queryset = super().get_queryset(request)
        return queryset if is_superuser(request) else queryset.filter(user_id=request.user.pk)

    def get_fields(self, request: HttpRequest, obj: Token | None = None) -> tuple[str, ...]:
        names = ("user", "name", "hint", "expires_at") if obj else ("user", "name", "expires_at")
        return names if is_superuser(request) else names[1:]

    def get_readonly_fields(self, request: HttpRequest, obj: Token | None = None) -> tuple[str, ...]:
        return ("user", "hint") if obj else ()

    def save_model(self, request: HttpRequest, obj: Token, form: ModelForm, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        user = obj.user if is_superuser(request) else cast(User, request.user)
        token, secret = Token.objects.issue(user, obj.name, obj.expires_at)
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
