"""The Celery application: `celery -A inference_store.celery worker`."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inference_store.settings")

app = Celery("inference_store")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
