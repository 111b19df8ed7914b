# mypy: disable-error-code="type-arg"
"""Retention policies are set, looked at, previewed and deleted here, and their tasks looked at.

A policy is never changed: it is deleted, which asks for the model's id, and another one made.
"""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import ForeignKey
from django.forms import ModelForm
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from pydantic import ValidationError

from dashboard.forms import ConfirmForm, policy_errors
from dashboard.retention_words import action_words, next_run, policy_words, schedule_words
from inference_store.admin.asking import Asked
from inference_store.admin.exports import LookedAt
from inference_store.admin.permissions import OfOwnModels
from inference_store.contract.errors import Refusal
from inference_store.contract.jobs import NewRetentionPolicyRequest, NewRetentionTaskRequest
from inference_store.models import RegisteredModel, RetentionPolicy, RetentionTask, Role
from inference_store.services import retention, retention_policies

GIVEN = ("automated_interval", "maximum_record_age", "maximum_blob_age", "delete_action")


class PolicyForm(ModelForm):
    """A new policy, checked by the contract."""

    class Meta:
        model = RetentionPolicy
        fields = ("registered_model", *GIVEN)
        error_messages = {
            "registered_model": {"unique": "This model has a policy. To replace it, delete that one first."}
        }

    asked: NewRetentionPolicyRequest | None = None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        given = {name: cleaned[name] for name in GIVEN if name in cleaned}
        if len(given) == len(GIVEN):
            try:
                self.asked = NewRetentionPolicyRequest.model_validate(given)
            except ValidationError as error:
                for name, message in policy_errors(error).items():
                    self.add_error(name, message[:1].upper() + message[1:] + ".")
        return cleaned


@admin.register(RetentionPolicy)
class RetentionPolicies(Asked, OfOwnModels, admin.ModelAdmin):
    form = PolicyForm
    list_display = ("registered_model", "project", "words", "next_run", "last_scheduled_at", "preview")
    list_select_related = ("registered_model__project",)
    search_fields = ("registered_model__model_id",)
    autocomplete_fields = ("registered_model",)
    ordering = ("registered_model__model_id",)
    show_full_result_count = False
    actions = None

    # --- What is shown ---
    def get_fields(self, request: HttpRequest, obj: RetentionPolicy | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("registered_model", "maximum_record_age", "maximum_blob_age", *GIVEN[-1:], GIVEN[0])
        told = ("registered_model", "project", "words", "what_becomes", "schedule")
        return (*told, "created_at", "made_by", "last_scheduled_at", "id")

    def get_readonly_fields(
        self, request: HttpRequest, obj: RetentionPolicy | None = None
    ) -> tuple[str, ...]:
        return self.get_fields(request, obj) if obj else ()

    def formfield_for_foreignkey(self, db_field: ForeignKey, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "registered_model":
            kwargs["queryset"] = RegisteredModel.objects.visible_to(request.user, Role.ADMIN)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    @admin.display(ordering="registered_model__project")
    def project(self, policy: RetentionPolicy) -> str:
        return str(policy.registered_model.project)

    @admin.display(description="policy")
    def words(self, policy: RetentionPolicy) -> str:
        return policy_words(policy)

    @admin.display(description="what becomes of a record")
    def what_becomes(self, policy: RetentionPolicy) -> str:
        return action_words(policy)

    @admin.display(description="runs")
    def schedule(self, policy: RetentionPolicy) -> str:
        return schedule_words(policy)

    @admin.display(description="next run", empty_value="by hand")
    def next_run(self, policy: RetentionPolicy) -> Any:
        return next_run(policy)

    @admin.display(description="preview")
    def preview(self, policy: RetentionPolicy) -> SafeString:
        """A button of the list's own form, whose token it sends along."""
        address = reverse("admin:inference_store_retentionpolicy_preview", args=[policy.pk])
        return format_html(
            '<button class="button" type="submit" formmethod="post" formaction="{}">Preview</button>', address
        )

    @admin.display(description="created by")
    def made_by(self, policy: RetentionPolicy) -> str:
        """By name: the page of a user is not for staff."""
        return str(policy.created_by or "–")

    # --- What is done ---
    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        preview = path(
            "<path:object_id>/preview/",
            self.admin_site.admin_view(self.preview_view),
            name="inference_store_retentionpolicy_preview",
        )
        return [preview, *super().get_urls()]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except Refusal as refusal:  # somebody else was quicker
            messages.error(request, refusal.message)
            return redirect("admin:inference_store_retentionpolicy_changelist")

    def save_model(self, request: HttpRequest, obj: RetentionPolicy, form: PolicyForm, change: bool) -> None:
        if change or form.asked is None:
            raise PermissionDenied
        made, _ = retention_policies.create_policy(
            model=obj.registered_model, user=request.user, request=form.asked
        )
        obj.pk, obj.created_at, obj._state.adding = made.pk, made.created_at, False

    def _own(self, request: HttpRequest, object_id: str) -> RetentionPolicy:
        policy: RetentionPolicy | None = self.get_object(request, unquote(object_id))
        if policy is None:
            raise Http404
        return policy

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Asks for the model's id: nobody deletes a policy in passing."""
        policy = self._own(request, object_id)
        if not self.has_delete_permission(request, policy):
            raise PermissionDenied
        model = policy.registered_model
        posted = request.POST if request.method == "POST" else None
        form = ConfirmForm(
            posted, expected=model.model_id, message=f"Type {model.model_id} to delete the policy."
        )
        if posted is not None and form.is_valid():
            self.log_deletions(request, self.get_queryset(request).filter(pk=policy.pk))
            retention_policies.delete_policy(model=model, policy_id=str(policy.pk))
            messages.success(request, f"The policy of {model} is deleted: everything is kept from now on.")
            return redirect("admin:inference_store_retentionpolicy_changelist")
        context = self.admin_site.each_context(request) | {
            "title": "Delete a retention policy",
            "opts": self.opts,
            "policy": policy,
            "words": [policy_words(policy), schedule_words(policy)],
            "form": form,
        }
        template = "admin/inference_store/retentionpolicy/delete.html"
        return TemplateResponse(request, template, context, status=400 if form.errors else 200)

    def preview_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Begin a dry run and go to its page."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        policy = self._own(request, object_id)
        asked = NewRetentionTaskRequest(dry_run=True, retention_policy_id=str(policy.pk))
        try:
            task = retention.create_task(model=policy.registered_model, user=request.user, request=asked)
        except Refusal as refusal:
            messages.error(request, refusal.message)
            return redirect("admin:inference_store_retentionpolicy_changelist")
        return redirect("dashboard:retention_task", policy.registered_model.model_id, task.pk)


@admin.register(RetentionTask)
class RetentionTasks(Asked, LookedAt, admin.ModelAdmin):
    list_display = (
        *("created_at", "registered_model", "kind", "state", "records", "blobs", "started_by", "page"),
    )
    list_select_related = ("registered_model",)
    list_filter = ("state", "dry_run", "is_automated")
    search_fields = ("registered_model__model_id", "started_by")
    show_full_result_count = False
    actions = None
    fields = (
        *("id", "registered_model", "kind", "state", "words", "record_limit", "blob_limit", "started_by"),
        *("created_at", "started_at", "finished_at", "records", "blobs", "deleted_bytes"),
        *("deleted_digest", "error", "retention_policy_id", "page"),
    )
    readonly_fields = ("id", "created_at", "kind", "words", "records", "blobs", "page")

    @admin.display
    def kind(self, task: RetentionTask) -> str:
        return "dry run" if task.dry_run else "run of a preview" if task.preview_id else "run"

    @admin.display(description="policy then")
    def words(self, task: RetentionTask) -> str:
        return policy_words(task)

    @admin.display
    def records(self, task: RetentionTask) -> str:
        return f"{task.deleted_record_count:,} of {task.total_record_count:,}"

    @admin.display
    def blobs(self, task: RetentionTask) -> str:
        return f"{task.deleted_blob_count:,} of {task.total_blob_count:,}"

    @admin.display
    def page(self, task: RetentionTask) -> SafeString:
        address = reverse("dashboard:retention_task", args=[task.registered_model.model_id, task.pk])
        return format_html('<a href="{}">the task</a>', address)
