# mypy: disable-error-code="type-arg"
"""Users, and projects with their members."""

from typing import Any, cast

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.db import transaction
from django.db.models import QuerySet
from django.forms import BaseInlineFormSet, ModelChoiceField, ModelForm, TextInput, ValidationError
from django.http import HttpRequest

from inference_store.admin.asking import Asked
from inference_store.admin.auditing import Audited
from inference_store.admin.permissions import ForSuperusers, OfOwnProjects
from inference_store.models import Membership, Project, Role, Token, User
from inference_store.services import members


@admin.register(User)
class Users(Asked, Audited, ForSuperusers, UserAdmin):
    list_display = ("username", "email", "is_active", "is_staff", "is_superuser", "last_login")
    show_full_result_count = False

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> Any:  # noqa: A002  (Django's)
        """With its audit record or not at all."""
        with transaction.atomic():
            return super().user_change_password(request, id, form_url)


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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Who is a member stays one, deactivated or not.
        self.fields["user"].queryset |= User.objects.filter(pk=self.instance.user_id)  # type: ignore[attr-defined]

    class Meta:
        model = Membership
        fields = ("user", "role")


class MembersFormSet(BaseInlineFormSet):
    """All members of a project, of whom one admin stays, as on the pages."""

    def clean(self) -> None:
        super().clean()
        project = self.instance
        if project._state.adding or any(self.errors):
            return
        members.lock(project.pk)
        before = members.acting_admins(project)
        changed = {form.instance.pk: form for form in self.initial_forms}
        held = [*project.memberships.select_related("user")]
        after = [each for each in held if each.pk not in changed]
        kept = [form.instance for form in self.forms if form not in self.deleted_forms]
        after += [each for each in kept if each.user_id is not None]
        if before and not any(each.role == Role.ADMIN and each.user.is_active for each in after):
            raise ValidationError("A project keeps one admin at least: make somebody else one first.")


class Members(OfOwnProjects, admin.TabularInline):
    model = Membership
    form = MembershipForm
    formset = MembersFormSet
    extra = 1

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return super().get_queryset(request).select_related("user")


@admin.register(Project)
class Projects(Asked, Audited, OfOwnProjects, admin.ModelAdmin):
    list_display = ("project_id", "name", "created_at")
    search_fields = ("project_id", "name")
    fields = ("project_id", "name")
    inlines = [Members]
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Project]:
        return Project.objects.administered_by(request.user)

    def project_of(self, obj: Any) -> str:
        return str(obj.pk)

    def get_readonly_fields(self, request: HttpRequest, obj: Project | None = None) -> tuple[str, ...]:
        return ("project_id",) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Project | None = None) -> bool:
        if obj is None or not super().has_delete_permission(request, obj):
            return False
        return not obj.models.exists()

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, set[str], Any]:
        """With its members' tokens, which are good for nothing else, whosever they are."""
        found, count, needed, protected = super().get_deleted_objects(objs, request)
        return found, count, needed - {str(Token._meta.verbose_name)}, protected

    def save_related(self, request: HttpRequest, form: ModelForm, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        if not change:
            # Without it a member of staff could not see what they have just made.
            Membership.objects.get_or_create(
                user=cast(User, request.user), project=form.instance, defaults={"role": Role.ADMIN}
            )
