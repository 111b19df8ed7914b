"""To the provider, and back from it."""

import logging
from typing import Any
from urllib.parse import urlencode

import requests
from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from mozilla_django_oidc.views import OIDCAuthenticationCallbackView, OIDCAuthenticationRequestView

from inference_store import openid
from inference_store.openid.backend import setting
from inference_store.openid.provider import AwayError, ForgedError, provider
from inference_store.services import audit_logins
from inference_store.services.identities import NoEntryError

logger = logging.getLogger(__name__)

STATES, ID_TOKEN = "oidc_states", "oidc_id_token"
AWAY = "{name} does not answer as it should just now. Try again in a moment."
NOT_HERE = "This sign-in was not begun here, or too long ago, or was used already. Begin again."
NOT_ITS_WORD = "What came from {name} could not be trusted. If it stays so, tell an administrator."
REFUSED = "{name} did not sign you in."


def failed(request: HttpRequest, words: str, status: int, why: object) -> HttpResponse:
    """A page that says so; the log says why. Nothing that came with the request is shown or logged."""
    logger.warning("Signing in by OpenID failed: %s", why)
    audit_logins.failed(credentials={})
    context = {"words": words.format(name=openid.name()), "name": openid.name()}
    return render(request, "dashboard/sign_in_failed.html", context, status=status)


class Begin(OIDCAuthenticationRequestView):  # type: ignore[misc]
    """On to the provider, with a state, a nonce and a challenge that the session keeps."""

    get_settings = staticmethod(setting)


class Callback(OIDCAuthenticationCallbackView):  # type: ignore[misc]
    """Back from it, with a code that is good once."""

    get_settings = staticmethod(setting)

    def get(self, request: HttpRequest) -> HttpResponse:
        if "error" in request.GET:
            # The library would log out whoever is logged in, which any link could then do.
            states = request.session.get(STATES, {})
            if states.pop(request.GET.get("state"), None) is not None:
                request.session[STATES] = states
            return failed(request, REFUSED, 403, "the provider says so")
        try:
            response: HttpResponse = super().get(request)
        except NoEntryError as error:
            return failed(request, str(error), 403, error)
        except (AwayError, requests.ConnectionError, requests.Timeout) as error:
            return failed(request, AWAY, 503, error if isinstance(error, AwayError) else type(error).__name__)
        except ForgedError as error:
            return failed(request, NOT_ITS_WORD, 400, error)
        except requests.RequestException as error:
            # Its text holds the answer's body. A code that is used or not for us ends here.
            status = error.response.status_code if error.response is not None else 500
            words, answer = (AWAY, 503) if status >= 500 else (NOT_HERE, 400)
            return failed(request, words, answer, f"no token for the code: {status}")
        except SuspiciousOperation:
            return failed(request, NOT_HERE, 400, "the state is not the session's")
        return response

    def login_failure(self) -> HttpResponse:
        return failed(self.request, NOT_HERE, 400, "no sign-in was begun in this session")

    def login_success(self) -> HttpResponse:
        response: HttpResponse = super().login_success()
        self.request.session.set_expiry(settings.OIDC_SESSION_HOURS * 3600)
        return response


def leaving_url(request: HttpRequest) -> str:
    """Where to end the session at the provider too; empty where there is none, or it has no such place."""
    token: Any = request.session.get(ID_TOKEN)
    if not (settings.OIDC_LOGOUT and token):
        return ""
    try:
        place = provider().end_session
    except AwayError:
        return ""
    back = request.build_absolute_uri(reverse("dashboard:login"))
    told = {"id_token_hint": token, "client_id": settings.OIDC_CLIENT_ID, "post_logout_redirect_uri": back}
    return f"{place}{'&' if '?' in place else '?'}{urlencode(told)}" if place else ""
