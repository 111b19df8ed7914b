# mypy: disable-error-code="type-arg"
"""The admin site: users, projects with their members, tokens, registered models.

A superuser sees everything. A member of staff sees the projects they are an admin of, their models and
members, and their own tokens; nothing here lets them become more than they are.
"""

from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.db.models import ForeignKey, QuerySet
from django.forms import ModelChoiceField, ModelForm, TextInput
from django.http import HttpRequest

from inference_store.models import Membership, Project, RegisteredModel, Role, Token, User
from inference_store.models.access import validate_identifier

admin.site.site_header = "Inference Store"
admin.site.site_title = "Inference Store"
admin.site.index_title = "Administration"
admin.site.unregister(Group)  # roles in projects say who may do what


def is_superuser(request: HttpRequest) -> bool:
    return bool(request.user.is_active and request.user.is_superuser)


def is_staff(request: HttpRequest) -> bool:
    return bool(request.user.is_active and request.user.is_staff)


class ForSuperusers:
    """Closed to everybody else, whatever permissions they were given."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_superuser(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_superuser(request)

    has_add_permission = has_module_permission
    has_change_permission = has_view_permission
    has_delete_permission = has_view_permission


class OfOwnProjects:
    """Open to staff, for the rows of the projects that they administer."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_staff(request)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_staff(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_staff(request) and (obj is None or self.is_own(request, obj))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_view_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_view_permission(request, obj)

    def is_own(self, request: HttpRequest, obj: Any) -> bool:
        project = obj if isinstance(obj, Project) else obj.project
        return Project.objects.administered_by(request.user).filter(pk=project.pk).exists()


@admin.register(User)
class Users(ForSuperusers, UserAdmin):
    list_display = ("username", "email", "is_active", "is_staff", "is_superuser", "last_login")
    show_full_result_count = False


class UsernameField(ModelChoiceField):
    """A user by name: a list of all would be long, and tell staff who else there is."""

    widget = TextInput
    default_error_messages = {"invalid_choice": "There is no active user of that name."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(User.objects.filter(is_active=True), to_field_name="username", **kwargs)

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, int):
            value = User.objects.filter(pk=value).first()
        return value.username if isinstance(value, User) else value


class MembershipForm(ModelForm):
    user = UsernameField()

    class Meta:
        model = Membership
        fields = ("user", "role")


class Members(OfOwnProjects, admin.TabularInline):
    model = Membership
    form = MembershipForm
    extra = 1

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return super().get_queryset(request).select_related("user")


@admin.register(Project)
class Projects(OfOwnProjects, admin.ModelAdmin):
    list_display = ("project_id", "name", "created_at")
    search_fields = ("project_id", "name")
    fields = ("project_id", "name")
    inlines = [Members]
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Project]:
        return Project.objects.administered_by(request.user)

    def get_readonly_fields(self, request: HttpRequest, obj: Project | None = None) -> tuple[str, ...]:
        return ("project_id",) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Project | None = None) -> bool:
        if obj is None or not super().has_delete_permission(request, obj):
            return False
        return not obj.models.exists()

    def save_related(self, request: HttpRequest, form: ModelForm, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        if not change:
            # Without it a member of staff could not see what they have just made.
            Membership.objects.get_or_create(
                user=cast(User, request.user), project=form.instance, defaults={"role": Role.ADMIN}
            )


@admin.register(Token)
class Tokens(admin.ModelAdmin):
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


@admin.register(RegisteredModel)
class RegisteredModels(OfOwnProjects, admin.ModelAdmin):
    list_display = ("model_id", "project", "task_type", "embedding_size", "created_at")
    list_select_related = ("project",)
    list_filter = ("task_type",)
    search_fields = ("model_id",)
    fields = ("model_id", "project", "task_type", "embedding_size")
    show_full_result_count = False
    actions = None  # deleting many would ask of each whether it has inferences

    def get_queryset(self, request: HttpRequest) -> QuerySet[RegisteredModel]:
        own = Project.objects.administered_by(request.user)
        return super().get_queryset(request).filter(project__in=own)

    def get_readonly_fields(
        self, request: HttpRequest, obj: RegisteredModel | None = None
    ) -> tuple[str, ...]:
        return ("model_id", "project", "task_type", "embedding_size") if obj else ()

    def formfield_for_foreignkey(self, db_field: ForeignKey, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "project":
            kwargs["queryset"] = Project.objects.administered_by(request.user)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        if "model_id" in form.base_fields:
            form.base_fields["model_id"].validators.append(validate_identifier)
        return form

    def has_delete_permission(self, request: HttpRequest, obj: RegisteredModel | None = None) -> bool:
        if obj is None or not super().has_delete_permission(request, obj):
            return False
        return not (obj.inferences.exists() or obj.blobs.exists())
