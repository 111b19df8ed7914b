"""Settings, read from the environment. With none set: the embedded servers, loopback only.

One variable makes an installation public: PUBLIC_URL, the address people type. Allowed hosts, trusted
origins, secure cookies and HSTS follow from it. `docs/settings.md` lists every variable.
"""

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from inference_store import logs
from inference_store.embedded import home
from inference_store.variables import choice, env, flag, number

BASE_DIR = Path(__file__).resolve().parent.parent

# --- Where it is reached ------------------------------------------------------------------------------------
PUBLIC_URL = env.str("PUBLIC_URL", default="")
_public = urlsplit(PUBLIC_URL)
LOOPBACK_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
DEBUG = flag("DEBUG", False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[_public.hostname or ""] if PUBLIC_URL else LOOPBACK_HOSTS)
# There is no default key: without the variable one is made at random and kept beside the data.
SECRET_KEY = env.str("SECRET_KEY", default="") or home.secret_key()
IS_SECRET_KEY_GIVEN = bool(env.str("SECRET_KEY", default=""))
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
CSRF_TRUSTED_ORIGINS = env.list(
    "CSRF_TRUSTED_ORIGINS", default=[f"{_public.scheme}://{_public.netloc}"] if PUBLIC_URL else []
)
# So many proxies stand in front, each of which appends the address that it saw to X-Forwarded-For.
TRUSTED_PROXIES = number("TRUSTED_PROXIES", 1 if PUBLIC_URL else 0, least=0)

# --- Applications -------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    # Not django.contrib.admin: its autodiscovery imports leaflet.admin, which asks for GDAL.
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "django_filters",
    "django_htmx",
    "leaflet",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "axes",
    "inference_store",
    "dashboard",
]
MIDDLEWARE = [
    "inference_store.counters.middleware",
    "inference_store.calling.middleware",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "dashboard.middleware.content_security_policy",
    "dashboard.middleware.forms_only",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "inference_store.calling.identify_session",
    "inference_store.replica.middleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",  # last: it answers for whoever is locked out
]
ROOT_URLCONF = "inference_store.urls"
WSGI_APPLICATION = "inference_store.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- The database and the broker ----------------------------------------------------------------------------
# Ours is an upper bound for one request's queries; jobs lift it for their own session.
STATEMENT_TIMEOUT_MS = number("STATEMENT_TIMEOUT_MS", 30_000, least=0)
DATABASE_URL = env.str("DATABASE_URL", default="")
DATABASES = {"default": env.db_url_config(DATABASE_URL or home.database_url())}
DATABASES["default"].setdefault("OPTIONS", {})
DATABASES["default"]["OPTIONS"] |= {
    "pool": {"min_size": 1, "max_size": number("DATABASE_POOL_SIZE", 12, least=1), "timeout": 10},
    # The last one ends what a client that was killed has asked for: a job's queries have no time limit.
    "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c timezone=UTC "
    "-c client_connection_check_interval=2s",
    "application_name": "inference-store",
    # From its second use on, a statement of inference_store/statements.py is prepared.
    "prepare_threshold": 1 if flag("DATABASE_PREPARE", True) else None,
}
# It tries pooled connections before use.
DATABASES["default"]["ENGINE"] = "inference_store.postgresql"
# A streaming replica of that database, for reads (docs/replica.md).
if REPLICA_URL := env.str("REPLICA_URL", default=""):
    DATABASES["replica"] = env.db_url_config(REPLICA_URL)
    DATABASES["replica"]["ENGINE"] = "inference_store.postgresql"
    DATABASES["replica"]["CONN_MAX_AGE"] = 600  # each thread keeps its own: a pool is slow to see it back
    DATABASES["replica"]["TEST"] = {"MIRROR": "default"}
    _options = {name: value for name, value in DATABASES["default"]["OPTIONS"].items() if name != "pool"}
    DATABASES["replica"]["OPTIONS"] = (
        _options
        | DATABASES["replica"].get("OPTIONS", {})
        | {"options": f"{_options['options']} -c default_transaction_read_only=on", "connect_timeout": 2}
    )
# A replica that is further behind serves nobody.
REPLICA_LAG_SECONDS = number("REPLICA_LAG_SECONDS", 10.0, least=0.0)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REDIS_URL = env.str("REDIS_URL", default="")
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL or home.redis_cache_url(),
    }
}
CELERY_BROKER_URL = REDIS_URL or home.redis_broker_url()
CELERY_TASK_IGNORE_RESULT = True  # a job's row is its result
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = "UTC"
# A broker that is away is found out quickly: a job waits in its row.
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_connect_timeout": 2, "socket_timeout": 5, "max_retries": 0}
CELERY_BEAT_SCHEDULE = {
    "seal audit records": {
        "task": "inference_store.seal_audit_records",
        "schedule": 5.0,
        "options": {"expires": 5},
    },
    "resume jobs": {"task": "inference_store.resume_jobs", "schedule": 5.0, "options": {"expires": 5}},
    "schedule retention": {
        "task": "inference_store.schedule_retention",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "remove leftovers": {
        "task": "inference_store.remove_leftovers",
        "schedule": 5.0,
        "options": {"expires": 5},
    },
    "heartbeat": {"task": "inference_store.heartbeat", "schedule": 10.0, "options": {"expires": 10}},
    "assign slots": {"task": "inference_store.assign_slots", "schedule": 30.0, "options": {"expires": 30}},
    "build vector indexes": {
        "task": "inference_store.build_vector_indexes",
        "schedule": 10.0,
        "options": {"expires": 10},
    },
    "build segments": {
        "task": "inference_store.build_segments",
        "schedule": 10.0,
        "options": {"expires": 10},
    },
    "expire archives": {"task": "inference_store.expire_archives", "schedule": 300.0},
    "sweep blobs": {"task": "inference_store.sweep_blobs", "schedule": 3600.0},
    "forget positions": {
        "task": "inference_store.forget_positions",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "prune audit": {"task": "inference_store.prune_audit", "schedule": 3600.0, "options": {"expires": 3600}},
    "remove sessions": {"task": "inference_store.remove_sessions", "schedule": 3600.0},
    "purge deleted": {"task": "inference_store.purge_deleted", "schedule": 3600.0},
}

# --- Who gets in --------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "inference_store.User"
# The first refuses whoever is locked out, before a password is looked at.
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
# An OpenID provider, by its address: docs/sign-in.md.
OIDC_ISSUER = env.str("OIDC_ISSUER", default="")
OIDC_NAME = env.str("OIDC_NAME", default="")
OIDC_CLIENT_ID = env.str("OIDC_CLIENT_ID", default="")
OIDC_CLIENT_SECRET = env.str("OIDC_CLIENT_SECRET", default="")
OIDC_SCOPES = env.str("OIDC_SCOPES", default="openid email profile")
# For one that publishes no document of its own.
OIDC_AUTHORIZATION_ENDPOINT = env.str("OIDC_AUTHORIZATION_ENDPOINT", default="")
OIDC_TOKEN_ENDPOINT = env.str("OIDC_TOKEN_ENDPOINT", default="")
OIDC_JWKS_ENDPOINT = env.str("OIDC_JWKS_ENDPOINT", default="")
OIDC_USERINFO_ENDPOINT = env.str("OIDC_USERINFO_ENDPOINT", default="")
OIDC_LOGOUT_ENDPOINT = env.str("OIDC_LOGOUT_ENDPOINT", default="")
OIDC_EMAIL_DOMAINS = env.list("OIDC_EMAIL_DOMAINS", default=[])
OIDC_GROUPS_CLAIM = env.str("OIDC_GROUPS_CLAIM", default="groups")
OIDC_ROLES = env.str("OIDC_ROLES", default="{}")
OIDC_CREATE_USERS = flag("OIDC_CREATE_USERS", True)
OIDC_LINK_EMAILS = flag("OIDC_LINK_EMAILS", False)
OIDC_SESSION_HOURS = number("OIDC_SESSION_HOURS", 12, least=1)
OIDC_LOGOUT = flag("OIDC_LOGOUT", False)
PASSWORD_LOGIN = flag("PASSWORD_LOGIN", True)
if OIDC_ISSUER:
    AUTHENTICATION_BACKENDS.append("inference_store.openid.backend.Backend")
if not PASSWORD_LOGIN:
    AUTHENTICATION_BACKENDS.remove("django.contrib.auth.backends.ModelBackend")
# By name and address together: nobody can lock somebody else out from where that one is.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = number("LOGIN_FAILURES", 5, least=1)
AXES_COOLOFF_TIME = timedelta(minutes=number("LOGIN_LOCKED_MINUTES", 15, least=1))
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_CALLABLE = "dashboard.locked_out.locked_out"
AXES_CLIENT_IP_CALLABLE = "inference_store.calling.client_of"
AXES_DISABLE_ACCESS_LOG = True  # the audit log has the logins
AXES_ENABLE_ADMIN = AXES_VERBOSE = False  # ours is inference_store/admin/attempts.py
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "dashboard:login"
LOGIN_REDIRECT_URL = "dashboard:models"
LOGOUT_REDIRECT_URL = "dashboard:login"
SESSION_ENGINE = "inference_store.sessions"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
_https = _public.scheme == "https"
# With that prefix a browser takes them from this very host by https alone: no other host of the domain can
# plant its own.
_prefix = "__Host-" if _https else ""
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = f"{_prefix}sessionid", f"{_prefix}csrftoken"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = _https
SECURE_HSTS_SECONDS = number("SECURE_HSTS_SECONDS", 31_536_000 if _https else 0, least=0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _https
# The proxy in front must set this header itself and drop a client's own (docs/settings.md).
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _https else None
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$"]
# How long an API token is good for unless its maker says, and at most; 0: for ever.
TOKEN_DAYS = number("TOKEN_DAYS", 365, least=0)
TOKEN_MAXIMUM_DAYS = number("TOKEN_MAXIMUM_DAYS", 0, least=0)
# More wrong tokens from one address within so many seconds are answered with 429; 0: never.
TOKEN_FAILURES = number("TOKEN_FAILURES", 20, least=0)
TOKEN_THROTTLED_SECONDS = number("TOKEN_THROTTLED_SECONDS", 60, least=1)
EVERYBODY_CREATES_PROJECTS = flag("EVERYBODY_CREATES_PROJECTS", False)
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
# Where the processes of this machine count; on a disk of its own, or in its memory.
COUNTERS_ROOT = Path(env.str("COUNTERS_ROOT", default="") or home.directory() / "counters")

# --- Blobs --------------------------------------------------------------------------------------------------
BLOB_ROOT = Path(env.str("BLOB_ROOT", default="") or home.directory() / "blobs")
# A location of nginx, internal, behind which that directory is: it then sends bytes by itself (deploy/nginx).
BLOB_INTERNAL_LOCATION = env.str("BLOB_INTERNAL_LOCATION", default="")
# A bucket, s3://bucket/prefix, in the place of that directory.
BLOB_STORE = env.str("BLOB_STORE", default="")
S3_ENDPOINT_URL = env.str("S3_ENDPOINT_URL", default="")
S3_PUBLIC_ENDPOINT_URL = env.str("S3_PUBLIC_ENDPOINT_URL", default="")
S3_REGION = env.str("S3_REGION", default="us-east-1")
S3_ADDRESSING = choice("S3_ADDRESSING", "auto", "path", "virtual")
S3_TIMEOUT_SECONDS = number("S3_TIMEOUT_SECONDS", 6.0, least=0.1)
S3_ACCESS_KEY_ID = env.str("S3_ACCESS_KEY_ID", default="")
S3_SECRET_ACCESS_KEY = env.str("S3_SECRET_ACCESS_KEY", default="")
BLOB_URL_SECONDS = number("BLOB_URL_SECONDS", 900, least=1)
BLOB_MAXIMUM_BYTES = number("BLOB_MAXIMUM_BYTES", 256 * 2**20, least=1)
# Unclaimed uploads younger than this are never swept: a slow client may still be about to name its key.
BLOB_UNCLAIMED_HOURS = number("BLOB_UNCLAIMED_HOURS", 24, least=1)

# --- Jobs ---------------------------------------------------------------------------------------------------
# So long after its worker died is a job taken up again.
JOB_LEASE_SECONDS = number("JOB_LEASE_SECONDS", 15.0, least=0.1)
EXPORT_KEPT_HOURS = number("EXPORT_KEPT_HOURS", 168, least=1)
SOFT_DELETED_KEPT_DAYS = number("SOFT_DELETED_KEPT_DAYS", 30, least=0)
# A dry run's list can be read, and run, for so long.
RETENTION_PREVIEW_KEPT_HOURS = number("RETENTION_PREVIEW_KEPT_HOURS", 168, least=1)

# --- The audit log ------------------------------------------------------------------------------------------
# Without the variable a key is made at random and kept beside the data, when the sealer first needs it.
AUDIT_KEY = env.str("AUDIT_KEY", default="")
AUDIT_KEY_FALLBACKS = env.list("AUDIT_KEY_FALLBACKS", default=[])
# The log is kept for so many days; 0 is for ever.
AUDIT_DAYS = number("AUDIT_DAYS", 0, least=0)
# A file outside the database that holds the newest seal: what a cut end of the log is found out by.
AUDIT_HEAD_FILE = env.str("AUDIT_HEAD_FILE", default="")

# --- Search by embedding ------------------------------------------------------------------------------------
# Embeddings of a model that are worth a vector index; fewer are searched exactly.
VECTOR_INDEX_ROWS = number("VECTOR_INDEX_ROWS", 10_000, least=0)

# --- Counts, histograms and neighbours ----------------------------------------------------------------------
# Of each web process: for the columns of segments and the codes of embeddings.
COLUMN_CACHE_MB = number("COLUMN_CACHE_MB", 512, least=0)

# --- The API ------------------------------------------------------------------------------------------------
API_BODY_MAXIMUM_BYTES = 2 * 2**20  # a filter, a policy, one inference without its embedding
INGEST_BODY_MAXIMUM_BYTES = 32 * 2**20
INGEST_MAXIMUM_ITEMS = 10_000
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 2**20  # forms; the API reads its bodies itself, bounded as above
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2_000
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["inference_store.api.authentication.BearerTokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["inference_store.api.parsers.ContractParser"],
    "DEFAULT_RENDERER_CLASSES": ["inference_store.api.renderers.ContractRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "inference_store.api.errors.exception_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Inference Store",
    "DESCRIPTION": "Store, filter, count, chart and delete what models inferred.",
    "VERSION": "1.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SCHEMA_PATH_PREFIX": "/api/inference-store/v1",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    # Pydantic speaks JSON Schema 2020-12, which is OpenAPI 3.1's; its models are requests or answers by name.
    "OAS_VERSION": "3.1.0",
    "COMPONENT_SPLIT_REQUEST": False,
}

# --- Pages --------------------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True
STATIC_URL = "static/"
STATIC_ROOT = Path(env.str("STATIC_ROOT", default="") or home.directory() / "static")
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
WHITENOISE_KEEP_ONLY_HASHED_FILES = True
# A tile server for maps, https://tiles.example/{z}/{x}/{y}.png; without it outlines of land, and no request.
MAP_TILES_URL = env.str("MAP_TILES_URL", default="")
MAP_TILES_ATTRIBUTION = env.str("MAP_TILES_ATTRIBUTION", default="")
LEAFLET_CONFIG = {"TILES": [], "RESET_VIEW": False, "ATTRIBUTION_PREFIX": ""}

# A Sentry-compatible service that is told of faults: inference_store/sentry.py.
SENTRY_DSN = env.str("SENTRY_DSN", default="")
SENTRY_ENVIRONMENT = env.str("SENTRY_ENVIRONMENT", default="production")
SENTRY_RELEASE = env.str("SENTRY_RELEASE", default="")
LOG_LEVEL = choice("LOG_LEVEL", "INFO", "DEBUG", "WARNING", "ERROR", "CRITICAL")
# "json": one object a line, for what collects logs; "line": for people.
LOG_FORMAT = choice("LOG_FORMAT", "line", "json")
LOG_REQUESTS = flag("LOG_REQUESTS", LOG_FORMAT == "json")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": logs.LINE}, "json": {"()": "inference_store.logs.JsonLines"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    # Refusals are answered, not logged: a 404 or a 401 is the caller's news.
    "loggers": {"django.request": {"level": "ERROR"}, "httpx": {"level": "WARNING"}},
}
