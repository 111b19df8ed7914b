"""Faults go to a Sentry-compatible service, by SENTRY_DSN: where in our code, under which request, no more.

What is logged as an error, by web processes, workers and commands alike, becomes an event. Each is made anew
of what is known to hold no data: an exception's text or a local variable can hold whatever somebody stored or
typed, and the log has it under the same request id.
"""

from typing import Any

import sentry_sdk
from django.conf import settings
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.excepthook import ExcepthookIntegration
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.integrations.threading import ThreadingIntegration
from sentry_sdk.types import Event, Hint

from inference_store import calling

OURS = ("inference_store", "dashboard", "django", "celery")
"""Loggers whose messages are written in the code, with places for values."""
KEPT = ("event_id", "timestamp", "platform", "level", "logger", "sdk")
KEPT_OF_PROCESS = ("release", "environment", "server_name")
FRAME = ("filename", "abs_path", "module", "function", "lineno", "in_app", "context_line")
AROUND = ("pre_context", "post_context")
NOT_TOLD = "The text is in the log, under the same request id."
STOP_SECONDS = 2


def start() -> None:
    """From now on this process tells its faults, and those of its children."""
    sentry_sdk.init(
        dsn=settings.SENTRY_DSN,
        environment=settings.SENTRY_ENVIRONMENT,
        release=settings.SENTRY_RELEASE or None,
        # Nothing is patched but logging: no request, query, task or call to others is looked at.
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[
            LoggingIntegration(level=None, sentry_logs_level=None),
            ExcepthookIntegration(),
            ThreadingIntegration(propagate_hub=False),
            AtexitIntegration(callback=lambda pending, timeout: None),
            DedupeIntegration(),
        ],
        before_send=told,
        include_local_variables=False,
        send_default_pii=False,
        max_breadcrumbs=0,
        auto_session_tracking=False,
        send_client_reports=False,
        enable_backpressure_handling=False,
        trace_propagation_targets=[],
        shutdown_timeout=STOP_SECONDS,
    )


def told(event: Event, hint: Hint) -> Event | None:
    """The event with what may be told of it, made of nothing else."""
    record = hint.get("log_record")
    served = calling.current()
    kept: dict[str, Any] = {name: event[name] for name in (*KEPT, *KEPT_OF_PROCESS) if name in event}  # type: ignore[literal-required]
    kept["tags"] = {"request_id": served.request_id, "door": served.door} if served else {}
    if place := _place(record):
        kept["transaction"] = place
    trace = event.get("contexts", {}).get("trace", {})
    kept["contexts"] = {
        "runtime": event.get("contexts", {}).get("runtime", {}),
        "trace": {name: trace[name] for name in ("trace_id", "span_id") if name in trace},
    }
    if str(event.get("logger", "")).split(".")[0] in OURS and record is not None:
        kept["logentry"] = {"message": str(record.msg)}
    if values := event.get("exception", {}).get("values"):
        kept["exception"] = {"values": [_exception(each) for each in values]}
    return kept  # type: ignore[return-value]


def _place(record: Any) -> str:
    """The route or the task, as the code names it: an address holds ids."""
    match = getattr(getattr(record, "request", None), "resolver_match", None)
    if match is not None:
        return str(match.route)
    data = getattr(record, "data", None)
    return str(data.get("name", "")) if isinstance(data, dict) else ""


def _exception(value: dict[str, Any]) -> dict[str, Any]:
    frames = value.get("stacktrace", {}).get("frames", ())
    mechanism = value.get("mechanism") or {}
    return {
        "type": value.get("type"),
        "module": value.get("module"),
        "value": NOT_TOLD,
        "mechanism": {name: mechanism[name] for name in ("type", "handled") if name in mechanism},
        "stacktrace": {"frames": [_frame(each) for each in frames]},
    }


def _frame(frame: dict[str, Any]) -> dict[str, Any]:
    return {name: frame[name] for name in (*FRAME, *AROUND) if name in frame}
