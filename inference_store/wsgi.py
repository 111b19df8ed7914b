"""The WSGI entry point: `gunicorn inference_store.wsgi`. Refuses to serve with unsafe settings."""

import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inference_store.settings")

_application = get_wsgi_application()

from inference_store.checks import refuse_unsafe_settings  # noqa: E402  (needs loaded apps)
from inference_store.draining import draining  # noqa: E402

refuse_unsafe_settings()
application = draining(_application)

# A bulk request makes a hundred thousand objects and no cycles: by default, looking for those would take as
# long as reading it.
gc.collect()
gc.freeze()
gc.set_threshold(50_000, 20, 100)
