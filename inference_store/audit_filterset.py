"""A query string narrows the audit log: its pages, its downloads and the REST list share it."""

from datetime import UTC
from typing import Any

import django_filters
from django import forms
from django.db.models import Q, QuerySet

from inference_store.contract.enums import AuditAction
from inference_store.contract.errors import Refusal
from inference_store.models import AuditRecord
from inference_store.query.audit import lists_with

ACTIONS = [(each.value, each.value) for each in AuditAction]


class AuditFilterForm(forms.Form):
    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        for name in ("since", "until"):
            try:
                _ = cleaned[name] and cleaned[name].astimezone(UTC)
            except KeyError:
                pass  # it says what is wrong already
            except OverflowError:
                self.add_error(name, "Enter a time between the years 1 and 9999, in UTC.")
        if cleaned.get("inference_id") and not cleaned.get("model_id"):
            self.add_error("inference_id", "Name its model too.")
        return cleaned


class AuditFilterSet(django_filters.FilterSet):  # type: ignore[misc]  # it has no types
    """Of the records that it is given, those that all of these hold for."""

    since = django_filters.IsoDateTimeFilter(
        field_name="recorded_at", lookup_expr="gte", label="Written at this time or later."
    )
    until = django_filters.IsoDateTimeFilter(
        field_name="recorded_at", lookup_expr="lt", label="Written before this time."
    )
    action = django_filters.ChoiceFilter(choices=ACTIONS, label="What was done, like inference.delete.")
    actor = django_filters.CharFilter(max_length=150, label="Who did it, by the name then.")
    model_id = django_filters.CharFilter(max_length=255, label="Of this model.")
    inference_id = django_filters.CharFilter(
        max_length=255,
        method="of_inference",
        label="About this inference of model_id, alone or among others.",
    )
    request_id = django_filters.CharFilter(max_length=64, label="Written by this request.")

    class Meta:
        model = AuditRecord
        fields: list[str] = []
        form = AuditFilterForm

    def of_inference(self, records: QuerySet[AuditRecord], name: str, value: str) -> QuerySet[AuditRecord]:
        lists = lists_with(self.form.cleaned_data.get("model_id") or "", value)
        return records.filter(Q(inference_id=value) | Q(pk__in=lists))

    def found(self) -> QuerySet[AuditRecord]:
        """The records; a Refusal that names what is wrong with the query string."""
        if not self.is_valid():
            fields = {name: " ".join(map(str, texts)) for name, texts in self.errors.items()}
            name, text = next(iter(fields.items()))
            raise Refusal(400, "invalid", f"{name}: {text}", fields)
        records: QuerySet[AuditRecord] = self.qs
        return records
