# mypy: disable-error-code="type-arg"
"""Who signs in as whom by an OpenID provider: for superusers."""

from django.contrib import admin
from django.forms import ModelForm

from inference_store.admin.asking import Asked
from inference_store.admin.auditing import Audited
from inference_store.admin.permissions import ForSuperusers
from inference_store.admin.users import UsernameField
from inference_store.models import Identity


class IdentityForm(ModelForm):
    user = UsernameField()

    class Meta:
        model = Identity
        fields = ("user", "issuer", "subject")


@admin.register(Identity)
class Identities(Asked, Audited, ForSuperusers, admin.ModelAdmin):
    form = IdentityForm
    list_display = ("user", "subject", "issuer", "created_at")
    list_select_related = ("user",)
    search_fields = ("user__username", "=subject")
    show_full_result_count = False
