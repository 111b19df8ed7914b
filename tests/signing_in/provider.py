"""An OpenID provider: django-oauth-toolkit in a Django project of its own, and what a bad one would send.

Run by gunicorn in a process of its own; PROVIDER_HOME is where its database lies. `/control/` is how a test
says who is there, which store may send people, and how the next tokens are tampered with.
"""

import hashlib
import hmac
import json
import os
import time
from base64 import urlsafe_b64encode
from pathlib import Path

import django
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings

HOME = Path(os.environ["PROVIDER_HOME"])
PEM, NO_PASSWORD = serialization.Encoding.PEM, serialization.NoEncryption()


def made_key():
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, NO_PASSWORD).decode()


KEY, OTHER_KEY = made_key(), made_key()
SECRET = "the-stores-secret-at-the-provider"
LOGIN = """<!doctype html><title>Provider</title><form method="post">{% csrf_token %}
<label>User <input name="username"></label> <label>Password <input name="password" type="password"></label>
<input type="hidden" name="next" value="{{ next }}"><button>Enter</button></form>"""

settings.configure(
    SECRET_KEY="for-the-provider-of-the-tests",
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "oauth2_provider",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [
                    ("django.template.loaders.locmem.Loader", {"registration/login.html": LOGIN}),
                    "django.template.loaders.app_directories.Loader",
                ],
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                ],
            },
        }
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": HOME / "provider.sqlite3"}},
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    # Cookies know no ports: the store on this machine has its own.
    SESSION_COOKIE_NAME="provider_session",
    CSRF_COOKIE_NAME="provider_csrf",
    USE_TZ=True,
    LOGIN_URL="/login/",
    OAUTH2_PROVIDER={
        "OIDC_ENABLED": True,
        "OIDC_RSA_PRIVATE_KEY": KEY,
        "OIDC_RP_INITIATED_LOGOUT_ENABLED": True,
        "OIDC_RP_INITIATED_LOGOUT_ALWAYS_PROMPT": False,
        "OAUTH2_VALIDATOR_CLASS": f"{__name__}.Validator",
        "SCOPES": {"openid": "", "email": "", "profile": ""},
        "PKCE_REQUIRED": True,
    },
)
django.setup()

import jwt  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.contrib.auth.views import LoginView  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse, JsonResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402
from oauth2_provider.models import Application  # noqa: E402
from oauth2_provider.oauth2_validators import OAuth2Validator  # noqa: E402
from oauth2_provider.views import TokenView, UserInfoView  # noqa: E402

CLAIMS: dict[str, dict] = {}
"""By the user's name: what is said of them beside their number."""
STATE = {"tampering": "", "away": False}


class Validator(OAuth2Validator):
    oidc_claim_scope = None

    def get_additional_claims(self, request):
        return {"preferred_username": request.user.username} | CLAIMS.get(request.user.username, {})


# --- What a bad one would send ------------------------------------------------------------------------------
def part(value):
    return urlsafe_b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).rstrip(b"=")


def by_public_key(claims):
    """HS256 with the public key for a secret, which careless libraries take for RS256's."""
    public = serialization.load_pem_private_key(KEY.encode(), None).public_key()
    secret = public.public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    signed = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(claims)
    return (signed + b"." + part(hmac.digest(secret, signed, hashlib.sha256))).decode()


def changed(claims, tampering):
    past = int(time.time()) - 3_600
    changes = {
        "audience": {"aud": "another-store"},
        "several audiences": {"aud": [claims["aud"], "another-store"]},
        "authorized party": {"azp": "another-store"},
        "issuer": {"iss": "https://elsewhere.example"},
        "expired": {"exp": past, "iat": past - 60},
        "future": {"iat": int(time.time()) + 3_600},
        "nonce": {"nonce": "another"},
        "subject": {"sub": ""},
    }
    claims = claims | changes.get(tampering, {})
    bare = tampering.startswith("bare")
    for lacking in ("nonce", "exp", "sub", "email", "groups"):
        if tampering == f"no {lacking}" or (bare and lacking in ("email", "groups")):
            claims.pop(lacking, None)
    return claims


def tampered(token, tampering):
    claims = changed(jwt.decode(token, options={"verify_signature": False}), tampering)
    kid = jwt.get_unverified_header(token)["kid"]
    match tampering:
        case "no signature":
            return jwt.encode(claims, None, algorithm="none", headers={"kid": kid})
        case "public key for a secret":
            return by_public_key(claims)
        case "client secret":
            return jwt.encode(claims, SECRET, algorithm="HS256", headers={"kid": kid})
        case "another key":
            return jwt.encode(claims, OTHER_KEY, algorithm="RS256", headers={"kid": kid})
        case "unknown key":
            return jwt.encode(claims, OTHER_KEY, algorithm="RS256", headers={"kid": "unknown"})
        case "changed":
            head, _, signature = token.split(".")
            return f"{head}.{part(claims | {'sub': '1000'}).decode()}.{signature}"
        case "nothing":
            return None
    # The library refuses to make one without a subject that is text, which a bad provider may.
    return jwt.api_jws.PyJWS().encode(json.dumps(claims).encode(), KEY, "RS256", {"kid": kid, "typ": "JWT"})


class Token(TokenView):
    def post(self, request, *args, **kwargs):
        if STATE["away"]:
            return HttpResponse("secret words of a proxy", status=502)
        response = super().post(request, *args, **kwargs)
        body = json.loads(response.content)
        if STATE["tampering"] and "id_token" in body:
            body["id_token"] = tampered(body["id_token"], STATE["tampering"])
        return JsonResponse(body, status=response.status_code)


class UserInfo(UserInfoView):
    def get(self, request, *args, **kwargs):
        response = super().get(request, *args, **kwargs)
        told = json.loads(response.content)
        return JsonResponse(told | ({"sub": "0"} if STATE["tampering"] == "bare of another" else {}))


@csrf_exempt
def control(request):
    told = json.loads(request.body)
    STATE.update(told.get("state", {}))
    for name, claims in told.get("people", {}).items():
        CLAIMS[name] = claims
        if not User.objects.filter(username=name).exists():
            User.objects.create_user(name, password=f"{name} at the provider")
    if store := told.get("store"):
        Application.objects.update_or_create(
            client_id="store",
            defaults={
                "client_secret": SECRET,
                "client_type": Application.CLIENT_CONFIDENTIAL,
                "authorization_grant_type": Application.GRANT_AUTHORIZATION_CODE,
                "redirect_uris": f"{store}/login/oidc/callback",
                "post_logout_redirect_uris": f"{store}/login/",
                "skip_authorization": True,
                "algorithm": Application.RS256_ALGORITHM,
            },
        )
    return JsonResponse({name: str(User.objects.get(username=name).pk) for name in CLAIMS})


urlpatterns = [
    path("control/", control),
    path("favicon.ico", lambda request: HttpResponse(status=204)),
    path("login/", LoginView.as_view()),
    path("o/token/", Token.as_view()),
    path("o/userinfo/", UserInfo.as_view()),
    path("o/", include("oauth2_provider.urls")),
]
application = get_wsgi_application()
call_command("migrate", verbosity=0)
