"""What is logged, and how: each line names the request or job it belongs to. Never a query string, which can
hold signatures.
"""

import logging
from datetime import timedelta
from typing import Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped]
from pythonjsonlogger.json import JsonFormatter

from inference_store import calling

LINE = "%(asctime)s %(levelname)s %(name)s %(message)s"
requests = logging.getLogger("inference_store.requests")


class JsonLines(JsonFormatter):
    """One object a line: time, level, logger, message, and who is being served."""

    def __init__(self) -> None:
        super().__init__(
            LINE,
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            datefmt="%Y-%m-%dT%H:%M:%S%z",
        )

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        super().add_fields(log_data, record, message_dict)
        served = calling.current()
        if served is not None:
            known = {"request_id": served.request_id, "door": served.door, "user": served.username}
            for name, value in known.items():
                if value:
                    log_data.setdefault(name, value)


class Gunicorn(Logger):  # type: ignore[misc]  # it has no types
    """gunicorn's own lines, and with LOG_REQUESTS one for each answer."""

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        from django.conf import settings  # gunicorn makes its logger before there are settings

        if not settings.LOG_REQUESTS:
            return
        served: calling.Calling | None = environ.get(calling.ENVIRON)
        line = {
            "method": environ.get("REQUEST_METHOD"),
            "path": environ.get("PATH_INFO"),
            "status": resp.status_code,
            "milliseconds": round(request_time.total_seconds() * 1000, 1),
            "bytes": getattr(resp, "sent", None),
        }
        if served is not None:
            line |= {"request_id": served.request_id, "door": served.door, "user": served.username}
            line |= {"token": served.token, "address": served.address}
        message = "{method} {path} {status} {milliseconds} ms".format(**line)
        requests.info(message, extra=line)
