"""Code for what pages show: how to fetch it by the SDK and by curl, and how to send a first inference."""

import shlex

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from inference_store.contract.enums import ACTIONS_OF_TASK, InferenceAction, TaskType
from inference_store.contract.inferences import LIST_OF_TASK, Inference
from inference_store.models import RegisteredModel

TOKEN = "$INFERENCE_STORE_TOKEN"  # noqa: S105  (a variable's name) # nosec B105


def base_url(request: HttpRequest) -> str:
    """The store's address as clients type it."""
    return settings.PUBLIC_URL.rstrip("/") or f"{request.scheme}://{request.get_host()}"


def sdk_words(base: str, model: RegisteredModel, found: Inference) -> str:
    return (
        "import inference_store.client as istore\n\n"
        f"istore.connect(base_url={base!r})  # the token is in INFERENCE_STORE_TOKEN\n"
        f"found = istore.get_inference({model.model_id!r}, {found.inference_id!r}, presign=True)"
    )


def curl_words(base: str, model: RegisteredModel, found: Inference) -> str:
    address = base + reverse("api:inference", args=[model.model_id, found.inference_id])
    return f'curl -H "Authorization: Bearer {TOKEN}" \\\n  {shlex.quote(address + "?presign=true")}'


EXAMPLES = {
    TaskType.IMAGE_CLASSIFICATION: '[{"label": "ship", "score": 0.93}]',
    TaskType.OBJECT_DETECTION: (
        '[{"label": "ship", "score": 0.93, "xmin": 4, "ymin": 9, "xmax": 80, "ymax": 51}]'
    ),
    TaskType.ORIENTED_OBJECT_DETECTION: (
        '[{"label": "ship", "score": 0.93, "cx": 0.5, "cy": 0.4, "w": 0.3, "h": 0.1, "r": 0.7}]'
    ),
    TaskType.IMAGE_SEGMENTATION: (
        '[{"label": "ship", "contours": [[{"x": 4, "y": 9}, {"x": 80, "y": 9}, {"x": 40, "y": 51}]]}]'
    ),
}
"""What a list of the task can hold; the other tasks have embeddings."""
FIRST_ACTIONS = (InferenceAction.PREDICT, InferenceAction.DETECT, InferenceAction.EMBED)


def sending_words(base: str, model: RegisteredModel | None) -> str:
    """The lines that send a first inference; without a model, those that register one too."""
    lines = [
        "import inference_store.client as istore",
        "",
        f'istore.connect(base_url={base!r}, token="ist_…")',
    ]
    if model is None:
        model = RegisteredModel(model_id="my-model", task_type=TaskType.OBJECT_DETECTION.value)
        lines += [
            "istore.register_model_for_inference_storage(istore.NewRegisterModelRequest(",
            f"    model_id={model.model_id!r}, project_id='my-project', task_type={model.task_type!r}))",
        ]
    task = TaskType(model.task_type)
    is_text = task is TaskType.TEXT_EMBEDDING
    said = (
        f'"{LIST_OF_TASK[task]}": {EXAMPLES[task]}'
        if task in EXAMPLES
        else f'"embedding": [0.5] * {model.embedding_size}'
    )
    action = next(each for each in FIRST_ACTIONS if each in ACTIONS_OF_TASK[task])
    return "\n".join(
        [
            *lines,
            'data = "The words.".encode()' if is_text else 'data = open("picture.jpg", "rb").read()',
            f'istore.create_inference_storage_request({model.model_id!r}, "first", data, {{',
            f"    {said},",
            '    "metadata": {"standard_metadata": {',
            '        "data_hash": istore.get_data_hash(data), "data_size": len(data),',
            f'        "task_type": "{task.value}", "inference_action": "{action.value}"}}}},',
            "})",
        ]
    )
