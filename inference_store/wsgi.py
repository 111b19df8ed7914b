"""The WSGI entry point: `gunicorn inference_store.wsgi`. Refuses to serve with unsafe settings."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inference_store.settings")

application = get_wsgi_application()

from inference_store.checks import refuse_unsafe_settings  # noqa: E402  (needs loaded apps)

refuse_unsafe_settings()
