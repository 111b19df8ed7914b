"""The pages of projects: those one is in, a new one, and for its admins a project's name and members."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe
from pydantic import ValidationError

from dashboard.access_forms import ROLE_CHOICES, NewMemberForm, NewProjectForm, RenameForm, RoleForm
from dashboard.jobs import page_number
from dashboard.reaching import answered, posted, project_of, user_of
from inference_store.contract.errors import Refusal, message_of
from inference_store.contract.inferences import NewProjectRequest
from inference_store.models import Project, Role
from inference_store.query.projects import project_rows
from inference_store.services import members, registration

PAGE_SIZE = 50


@login_required
@require_safe
@never_cache
def projects(request: HttpRequest) -> HttpResponse:
    """The projects one is in, and as what."""
    page = page_number(request.GET)
    start = (page - 1) * PAGE_SIZE
    rows = project_rows(request.user, slice(start, start + PAGE_SIZE + 1))
    context = {
        "rows": rows[:PAGE_SIZE],
        "page": page,
        "has_more": len(rows) > PAGE_SIZE,
        "may_create": registration.may_create_projects(user_of(request)),
    }
    return render(request, "dashboard/projects.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def new_project(request: HttpRequest) -> HttpResponse:
    """A form for one, which is its maker's to administer."""
    if not registration.may_create_projects(user_of(request)):
        raise PermissionDenied("Only staff create projects here; ask an administrator.")
    form = NewProjectForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        given = {name: text for name, text in form.cleaned_data.items() if text}
        try:
            asked = NewProjectRequest.model_validate(given)
            project = registration.create_project(user=user_of(request), request=asked)
        except ValidationError as error:
            for problem in error.errors(include_url=False, include_context=False, include_input=False):
                form.add_error(str(problem["loc"][0]), message_of(problem))
        except Refusal as refusal:
            form.refuse(refusal)
        else:
            messages.success(request, f"Created “{project.name}”, which you administer. Add its members.")
            return redirect("dashboard:project", project.pk)
    status = 400 if form.is_bound else 200
    return render(request, "dashboard/new_project.html", {"form": form}, status=status)


# --- One, for its admins ------------------------------------------------------------------------------------
@login_required
@require_safe
@never_cache
def project(request: HttpRequest, project_id: str) -> HttpResponse:
    """Its name and its members."""
    return _project(request, project_of(request, project_id, Role.ADMIN))


def _project(request: HttpRequest, project: Project, **forms: Any) -> HttpResponse:
    held = project.memberships.select_related("user").order_by("user__username")
    admins = members.acting_admins(project)
    context = {
        "project": project,
        "members": held,
        "last_admin": admins.pop() if len(admins) == 1 else None,
        "roles": [role for role, _ in ROLE_CHOICES],
        "rename_form": RenameForm(initial={"name": project.name}),
        "member_form": NewMemberForm(),
    }
    return render(request, "dashboard/project.html", context | forms, status=400 if forms else 200)


@posted
def rename_project(request: HttpRequest, project_id: str) -> HttpResponse:
    """Give it another name."""
    project = project_of(request, project_id, Role.ADMIN)
    form = RenameForm(request.POST)
    if form.is_valid():
        name = form.cleaned_data["name"]
        try:
            registration.rename_project(user=user_of(request), project_id=project_id, name=name)
        except Refusal as refusal:
            form.refuse(refusal)
        else:
            messages.success(request, f"It is called “{name}” now.")
            return redirect("dashboard:project", project_id)
    return _project(request, project, rename_form=form)


@posted
def add_member(request: HttpRequest, project_id: str) -> HttpResponse:
    """Take somebody in."""
    project = project_of(request, project_id, Role.ADMIN)
    form = NewMemberForm(request.POST)
    if form.is_valid():
        who, role = form.cleaned_data["who"], Role(form.cleaned_data["role"])
        try:
            held = members.add_member(by=user_of(request), project_id=project_id, who=who, role=role)
        except Refusal as refusal:
            form.refuse(refusal)
        else:
            messages.success(request, f"{held.user} is {held.role} now.")
            return redirect("dashboard:project", project_id)
    return _project(request, project, member_form=form)


@posted
def set_role(request: HttpRequest, project_id: str, user_id: int) -> HttpResponse:
    """Give a member another role."""
    project_of(request, project_id, Role.ADMIN)
    form = RoleForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Choose one of the roles.")
        return redirect("dashboard:project", project_id)
    role = Role(form.cleaned_data["role"])

    def change() -> str:
        held = members.set_role(by=user_of(request), project_id=project_id, user_id=user_id, role=role)
        return f"{held.user} is {held.role} now."

    return _changed(request, project_id, change)


@posted
def remove_member(request: HttpRequest, project_id: str, user_id: int) -> HttpResponse:
    """Put somebody out, or oneself."""
    project_of(request, project_id, Role.ADMIN)

    def change() -> str:
        held = members.remove_member(by=user_of(request), project_id=project_id, user_id=user_id)
        return f"{held.user} is no member any more."

    return _changed(request, project_id, change)


def _changed(request: HttpRequest, project_id: str, change: Any) -> HttpResponse:
    """Back to the page, where one may still see it, with what was done or why not."""
    try:
        messages.success(request, change())
    except Refusal as refusal:
        if refusal.status == 403:
            raise answered(refusal) from None
        messages.error(request, refusal.message)
    held = Project.objects.administered_by(request.user).filter(pk=project_id).exists()
    return redirect("dashboard:project", project_id) if held else redirect("dashboard:projects")
