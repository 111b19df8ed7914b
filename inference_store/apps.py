from django.apps import AppConfig


class InferenceStoreConfig(AppConfig):
    name = "inference_store"
    verbose_name = "Inference Store"

    def ready(self) -> None:
        # Registering is an import's side effect: the checks, the Celery app that tasks bind to.
        from inference_store import celery, checks  # noqa: F401
