"""The Celery application: `celery -A inference_store.celery worker`."""

import logging
import os
from typing import Any

from celery import Celery, signals
from django.conf import settings

from inference_store import calling, logs
from inference_store.calling import Calling

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inference_store.settings")

app = Celery("inference_store")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@signals.before_task_publish.connect
def _carry_request_id(headers: dict[str, Any], **_: Any) -> None:
    headers.setdefault(calling.TASK_HEADER, calling.current_id() or calling.new_id())


@signals.task_prerun.connect
def _begin(task: Any, **_: Any) -> None:
    sent = (task.request.headers or {}).get(calling.TASK_HEADER)
    calling.set_current(Calling(calling.request_id(sent), calling.JOB))


@signals.task_postrun.connect
def _end(**_: Any) -> None:
    calling.set_current(None)


@signals.after_setup_logger.connect
@signals.after_setup_task_logger.connect
def _as_json(logger: logging.Logger, **_: Any) -> None:
    if settings.LOG_FORMAT == "json":
        for handler in logger.handlers:
            handler.setFormatter(logs.JsonLines())
