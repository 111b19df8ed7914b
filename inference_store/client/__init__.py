"""The SDK: every function and model of the reference, here and in modules of the reference's names.

    from inference_store import client as istore

    istore.connect(base_url="http://127.0.0.1:8000", token="…")
    istore.filter_inferences("my-model", istore.NewGetInferencesRequest())

Without `connect`, INFERENCE_STORE_URL and INFERENCE_STORE_TOKEN are read at the first call.
"""

from inference_store.client import (
    export_task,
    inference,
    metadata,
    models,
    register,
    retention_policy,
    retention_task,
    upload,
    verification,
)
from inference_store.client.connection import connect, disconnect
from inference_store.client.errors import (
    ArchiveError,
    InferenceStoreError,
    TaskNotCompleteError,
    TaskTimeoutError,
)
from inference_store.client.export_task import *  # noqa: F403
from inference_store.client.inference import *  # noqa: F403
from inference_store.client.metadata import *  # noqa: F403
from inference_store.client.models import *  # noqa: F403
from inference_store.client.register import *  # noqa: F403
from inference_store.client.retention_policy import *  # noqa: F403
from inference_store.client.retention_task import *  # noqa: F403
from inference_store.client.upload import *  # noqa: F403
from inference_store.client.verification import *  # noqa: F403

__all__ = [
    "ArchiveError",
    "InferenceStoreError",
    "TaskNotCompleteError",
    "TaskTimeoutError",
    "connect",
    "disconnect",
    "export_task",
    "inference",
    "metadata",
    "models",
    "register",
    "retention_policy",
    "retention_task",
    "upload",
    "verification",
    *export_task.__all__,
    *inference.__all__,
    *metadata.__all__,
    *models.__all__,
    *register.__all__,
    *retention_policy.__all__,
    *retention_task.__all__,
    *upload.__all__,
    *verification.__all__,
]
