"""Who a user is to an OpenID provider."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class Identity(models.Model):
    """A user as a provider knows them: its address and its own lasting name for them, never their e-mail."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="identities")
    issuer = models.CharField(max_length=255, help_text="OIDC_ISSUER, letter by letter.")
    subject = models.CharField(max_length=255, help_text="The claim `sub` there.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name_plural = "identities"
        constraints = [models.UniqueConstraint(fields=["issuer", "subject"], name="one_user_of_a_subject")]

    def __str__(self) -> str:
        return f"{self.subject} of {self.issuer}"
