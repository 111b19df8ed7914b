"""The forms of tokens, projects and members. The services say what can be one."""

from typing import Any

from django import forms
from django.conf import settings

from inference_store.contract.enums import TokenScope
from inference_store.contract.errors import Refusal
from inference_store.models import Project, Role, User
from inference_store.services.tokens import LONGEST_DESCRIPTION, LONGEST_NAME, default_days

SCOPE_WORDS = {
    TokenScope.READ: "look at everything, and fetch archives",
    TokenScope.WRITE: "register models, store inferences and metadata, protect",
    TokenScope.DELETE: "delete inferences, and set and run retention",
    TokenScope.EXPORT: "make and stop exports",
    TokenScope.MANAGE: "create projects, read the audit log",
}
LIVES = (7, 30, 90, 365)
FOR_EVER = "ever"
ROLE_CHOICES = [(role.value, role.value) for role in Role]


def lives() -> list[tuple[str, str]]:
    """How long a token may be good for, by what a form sends."""
    most, usual = settings.TOKEN_MAXIMUM_DAYS, default_days()
    days = sorted({each for each in (*LIVES, most, usual) if each and (not most or each <= most)})
    choices = [(str(each), "1 day" if each == 1 else f"{each:,} days") for each in days]
    return choices if most else [*choices, (FOR_EVER, "for ever")]


class Answering(forms.Form):
    """A form to which a service may add what it refuses."""

    def refuse(self, refusal: Refusal) -> None:
        """Beside the fields that the refusal names, or above them all."""
        named = {name: text for name, text in refusal.fields.items() if name in self.fields}
        for name, text in named.items():
            self.add_error(name, text)
        if not named:
            self.add_error(None, refusal.message)


class NewTokenForm(Answering):
    name = forms.CharField(
        max_length=LONGEST_NAME, error_messages={"required": "Say what uses it, to know it by."}
    )
    description = forms.CharField(max_length=LONGEST_DESCRIPTION, required=False)
    scopes = forms.TypedMultipleChoiceField(
        choices=[(scope.value, words) for scope, words in SCOPE_WORDS.items()],
        coerce=TokenScope,
        initial=[TokenScope.READ.value],
        error_messages={"required": "Tick one at least."},
    )
    project = forms.ModelChoiceField(
        Project.objects.none(),
        required=False,
        error_messages={"invalid_choice": "There is no such project that you may see."},
    )
    lives = forms.ChoiceField(error_messages={"invalid_choice": "Choose one of these."})

    def __init__(self, data: Any = None, *, user: User) -> None:
        super().__init__(data)
        self.fields["project"].queryset = Project.objects.visible_to(user).order_by("name", "pk")  # type: ignore[attr-defined]
        self.fields["lives"].choices = lives()  # type: ignore[attr-defined]
        self.fields["lives"].initial = str(default_days() or FOR_EVER)

    @property
    def days(self) -> int | None:
        """How long it is good for, None for ever. The form must be valid."""
        chosen = self.cleaned_data["lives"]
        return None if chosen == FOR_EVER else int(chosen)


class NewProjectForm(Answering):
    project_id = forms.CharField(max_length=255, error_messages={"required": "Give it an id."})
    name = forms.CharField(max_length=255, required=False)


class RenameForm(Answering):
    name = forms.CharField(max_length=255, error_messages={"required": "Give it a name."})


class NewMemberForm(Answering):
    who = forms.CharField(max_length=254, error_messages={"required": "Say whom to add."})
    role = forms.ChoiceField(choices=ROLE_CHOICES, initial=Role.VIEWER.value)


class RoleForm(Answering):
    role = forms.ChoiceField(choices=ROLE_CHOICES)
