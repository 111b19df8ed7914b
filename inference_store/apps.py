from django.apps import AppConfig
from django.conf import settings
from django.core.signals import request_finished, request_started


class InferenceStoreConfig(AppConfig):
    name = "inference_store"
    verbose_name = "Inference Store"

    def ready(self) -> None:
        # Registering is an import's side effect: the checks, the Celery app that tasks bind to.
        from inference_store import celery, checks  # noqa: F401
        from inference_store.query.neighbours import take_wanted
        from inference_store.query.uses import noted
        from inference_store.services import audit_logins
        from inference_store.services.slot_assignment import write_down_uses
        from inference_store.services.vector_indexes import write_down_wanted

        if settings.SENTRY_DSN:
            from inference_store import sentry  # the extra `sentry`

            sentry.start()
        audit_logins.connect()
        # What a request searches by is written down when it has been answered; others pay nothing.
        request_started.connect(lambda **_: (noted(), take_wanted()), weak=False, dispatch_uid="asked")
        request_finished.connect(lambda **_: write_down_uses(), weak=False, dispatch_uid="metadata key uses")
        request_finished.connect(lambda **_: write_down_wanted(), weak=False, dispatch_uid="metrics")
