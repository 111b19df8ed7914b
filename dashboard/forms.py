"""The forms of the pages. Fields and bounds are the contract's: a form reads, the contract checks."""

from dataclasses import dataclass
from typing import Any

from django import forms
from pydantic import ValidationError

from dashboard.details import TYPES
from inference_store.archive import WRITERS
from inference_store.contract.enums import DeleteAction, ExportFormat, MetadataType
from inference_store.contract.errors import Refusal, message_of
from inference_store.contract.filters import BaseInferenceFilter, DeconstructedInferenceFilter
from inference_store.contract.jobs import KEPT_FOR_EVER, NewExportTaskRequest, NewRetentionPolicyRequest
from inference_store.contract.metadata import NewExtendedMetadataRequest
from inference_store.models import RegisteredModel

NOTHING = BaseInferenceFilter(deconstructed_inference_filter=DeconstructedInferenceFilter(labels=[]))
"""Of which an export of ticked inferences is a union with these."""


@dataclass(frozen=True)
class FormatWords:
    name: str
    holds: str


FORMAT_WORDS = {
    ExportFormat.ARCHIVE.value: FormatWords(
        "Archive", "The inputs as they are, and what was inferred a line each."
    ),
    ExportFormat.COCO.value: FormatWords(
        "COCO", "Images with one annotation file, for training and evaluation."
    ),
    ExportFormat.YOLO.value: FormatWords("YOLO", "Images with a label file each, and data.yaml."),
    ExportFormat.PARQUET.value: FormatWords(
        "Parquet", "Typed columns, a metadata key each, and embeddings. No inputs."
    ),
    ExportFormat.JSONL.value: FormatWords("JSON Lines", "Each inference whole, one a line. No inputs."),
    ExportFormat.CSV.value: FormatWords("CSV", "One row an inference, for spreadsheets. No inputs."),
}


def fitting_formats(model: RegisteredModel) -> list[str]:
    """The formats that can hold what the model infers, the reference's first."""
    fitting = []
    for format_, writer in WRITERS.items():
        try:
            writer.refuse_unfit(model)
        except Refusal:
            continue
        fitting.append(format_)
    return fitting


class NewExportForm(forms.Form):
    """What to make of a set; the two options are the archive's."""

    include_inferences_as_annotations = forms.BooleanField(required=False)
    include_custom_metadata = forms.BooleanField(required=False)

    def __init__(self, data: Any = None, *, formats: list[str], ids: list[str] | None = None) -> None:
        super().__init__(data)
        self.ids = ids or []
        choices = [(format_, FORMAT_WORDS[format_].name) for format_ in formats]
        self.fields["format"] = forms.ChoiceField(choices=choices, widget=forms.RadioSelect)
        self.formats = [(format_, FORMAT_WORDS[format_]) for format_ in formats]

    @property
    def chosen(self) -> str:
        return str(self.data.get("format", "") or self.formats[0][0])

    def request_for(self, filters: BaseInferenceFilter) -> NewExportTaskRequest:
        """The request to export what was ticked, or else what the filter finds. The form must be valid."""
        asked = dict(self.cleaned_data)
        if asked["format"] != ExportFormat.ARCHIVE.value:
            asked |= {"include_inferences_as_annotations": False, "include_custom_metadata": False}
        try:
            if self.ids:
                return NewExportTaskRequest(filters=NOTHING, include_inference_ids=self.ids, **asked)
            return NewExportTaskRequest(filters=filters, **asked)
        except ValidationError:
            raise Refusal.invalid("id", "is none that an inference can have") from None


UNITS = {"hours": 1, "days": 24}
SPOKEN = {"maximum_blob_age": "the age of inputs", "maximum_record_age": "the age of records"}


class NewPolicyForm(forms.Form):
    """A retention policy with its ages and interval in hours or days."""

    keep_records = forms.BooleanField(required=False)
    maximum_record_age = forms.IntegerField(required=False)
    maximum_record_age_unit = forms.ChoiceField(choices=[(unit, unit) for unit in UNITS])
    maximum_blob_age = forms.IntegerField(error_messages={"required": "Say how long inputs are kept."})
    maximum_blob_age_unit = forms.ChoiceField(choices=[(unit, unit) for unit in UNITS])
    delete_action = forms.ChoiceField(choices=[(action.value, action.value) for action in DeleteAction])
    by_hand = forms.TypedChoiceField(
        choices=[("yes", "by hand"), ("no", "by itself")], coerce=lambda text: text == "yes"
    )
    automated_interval = forms.IntegerField(required=False)
    automated_interval_unit = forms.ChoiceField(choices=[(unit, unit) for unit in UNITS])

    asked: NewRetentionPolicyRequest | None = None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        keeps, by_hand = cleaned.get("keep_records"), cleaned.get("by_hand")
        if not keeps:
            self._require("maximum_record_age", "Say how long records are kept, or keep them for ever.")
        if by_hand is False:
            self._require("automated_interval", "Say how often it runs.")
            if cleaned.get("automated_interval") == 0:
                self.add_error("automated_interval", "Say how often it runs: once an hour at most.")
        if self.errors:
            return cleaned
        asked = {
            "maximum_record_age": KEPT_FOR_EVER if keeps else self._hours("maximum_record_age"),
            "maximum_blob_age": self._hours("maximum_blob_age"),
            "automated_interval": 0 if by_hand else self._hours("automated_interval"),
            "delete_action": cleaned["delete_action"],
        }
        if not keeps and cleaned["maximum_record_age"] < 0:
            self.add_error("maximum_record_age", "An age is not negative.")
        else:
            self._check(asked)
        return cleaned

    def _require(self, name: str, message: str) -> None:
        if name not in self.errors and self.cleaned_data.get(name) is None:
            self.add_error(name, message)

    def _hours(self, name: str) -> int:
        return int(self.cleaned_data[name]) * UNITS[self.cleaned_data[f"{name}_unit"]]

    def _check(self, asked: dict[str, Any]) -> None:
        """What the contract says of it, each beside its field."""
        try:
            self.asked = NewRetentionPolicyRequest.model_validate(asked)
        except ValidationError as error:
            for name, message in policy_errors(error).items():
                self.add_error(name, message)


def policy_errors(error: ValidationError) -> dict[str, str]:
    """The contract's errors about a policy by field, in the words of a form."""
    found = {}
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        message = message_of(problem)
        for field, words in SPOKEN.items():
            message = message.replace(field, words)
        # The one rule over two fields is told beside the second.
        name = str(problem["loc"][0]) if problem["loc"] else "maximum_blob_age"
        found[name] = message if not problem["loc"] else f"{message} hours"
    return found


class MetadataForm(forms.Form):
    """A metadata value of an inference. The contract says what a key and a value of the type can be."""

    key = forms.CharField(strip=False, error_messages={"required": "Name the key."})
    type = forms.ChoiceField(choices=[(type_, type_) for type_ in TYPES])
    value = forms.CharField(strip=False, required=False)

    asked: NewExtendedMetadataRequest | None = None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        if cleaned["type"] in (MetadataType.INT.value, MetadataType.FLOAT.value):
            cleaned["value"] = cleaned["value"].strip()
        try:
            self.asked = NewExtendedMetadataRequest.model_validate(cleaned)
        except ValidationError as error:
            for problem in error.errors(include_url=False, include_context=False, include_input=False):
                # The one rule over two fields is about the value: whether it is one of its type.
                name = str(problem["loc"][0]) if problem["loc"] else "value"
                self.add_error(name, message_of(problem))
        return cleaned


class ConfirmForm(forms.Form):
    """Something typed to show that it is meant."""

    typed = forms.CharField(required=False)

    def __init__(self, data: Any = None, *, expected: str, message: str) -> None:
        super().__init__(data)
        self.expected, self.message = expected, message

    def clean_typed(self) -> str:
        typed = str(self.cleaned_data["typed"])
        if typed != self.expected:
            raise forms.ValidationError(self.message)
        return typed
