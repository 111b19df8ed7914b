"""What schemathesis loads: names of things that are there, in place of made-up ones, for most of its calls.

What a call has used up (an inference that was deleted, a key that was written) is made anew before the next.
FUZZ_WORLD names a file of what is there from the start, which `tests/fuzz/test_schemathesis.py` makes, and
FUZZ_TOLD the file that tells in the end how often each operation answered with which status.
"""

import atexit
import json
import os
import random
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import requests
import schemathesis

WORLD = json.loads(Path(os.environ["FUZZ_WORLD"]).read_text())
SHARE = 0.6
"""Of the calls; the others keep what was made up."""
LISTS = ("image_classification", "object_detection", "oriented_object_detection", "image_segmentation")

_answers: dict[str, Counter[str]] = defaultdict(Counter)
_random = random.Random(int(os.environ["FUZZ_SEED"]))
_session = requests.Session()
_session.headers["Authorization"] = f"Bearer {WORLD['token']}"


@atexit.register
def tell():
    Path(os.environ["FUZZ_TOLD"]).write_text(json.dumps(_answers))


# --- What is made before a call -----------------------------------------------------------------------------
_kept = {}
"""What is there, by what made it, until a call's answer says that it is not, or not any more."""
_used = []
USED_UP = (200, 201, 204)
GONE = (403, 404, 409)


def ask(method, path, **given):
    """Below the model, as the project's admin."""
    answer = _session.request(
        method, f"{WORLD['url']}/models/{WORLD['model_id']}/{path}", timeout=60, **given
    )
    assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer.json()


def kept(make):
    _used.append(make)
    if make not in _kept:
        _kept[make] = make()
    return _kept[make]


def an_inference():
    inference_id = f"real-{_random.randrange(10**12)}"
    ask("POST", "inferences", json=WORLD["request"] | {"inference_id": inference_id})
    return inference_id


def an_upload(kind, content=None):
    """(key, URL), with that content where there is one."""
    told = ask("POST", f"uploads/{kind}")
    key, url = told[f"{kind}_storage_key"], told[f"{kind}_presigned_url"]
    if content is not None:
        assert requests.put(url, data=content, timeout=60).status_code == 204
    return key, url


def an_empty_place():
    return an_upload("data")[1]


def an_input():
    return an_upload("data", b"an input")[0]


def an_encoded_inference():
    return an_upload("metadata", json.dumps(WORLD["request"]["data"]))[0]


def an_address():
    """Where an input can be read."""
    inference_id = f"real-{_random.randrange(10**12)}"
    named = {"inference_id": inference_id, "data_storage_key": an_input()}
    ask("POST", "inferences", json=WORLD["request"] | named)
    return ask("GET", f"inferences/{inference_id}?presign=true")["presigned_url"]


def a_policy():
    """The model's, which is made where there is none."""
    answer = _session.get(f"{WORLD['url']}/models/{WORLD['model_id']}/retention-policy", timeout=60)
    if answer.status_code == 404:
        return ask("POST", "retention-policies", json=WORLD["policy"])["id"]
    return answer.json()["id"]


ONCE = (an_empty_place, an_input, an_encoded_inference)
"""What one call that succeeds uses up."""


# --- Addresses ----------------------------------------------------------------------------------------------
def inference_named(case):
    case.path_parameters["inference_id"] = kept(an_inference)


def metadata_deleted(case):
    inference_named(case)
    case.query = {"key": "run"}


def audited(case):
    case.path_parameters["project_id"] = WORLD["project_id"]
    if "record_id" in case.path_parameters:
        case.path_parameters["record_id"] = str(_random.choice(WORLD["records"]))


def exported(case):
    case.path_parameters["task_id"] = _random.choice(WORLD["exports"])


def previewed(case):
    case.path_parameters["task_id"] = _random.choice(WORLD["previews"])


def policy_named(case):
    case.path_parameters["policy_id"] = kept(a_policy)


def signed(case, url):
    """The very address that was signed."""
    parts = urlsplit(url)
    case.path_parameters["key"] = parts.path.partition("/blobs/")[2]
    case.query = {name: values[0] for name, values in parse_qs(parts.query).items()}


def blob_put(case):
    signed(case, kept(an_empty_place))


def blob_got(case):
    signed(case, kept(an_address))


# --- Bodies -------------------------------------------------------------------------------------------------
def fitted(request):
    """A made-up inference as one of the model: what the contract alone can't know is set right."""
    standard = request["data"]["metadata"]["standard_metadata"]
    standard |= {"task_type": WORLD["task_type"], "inference_action": "detect"}
    for name in LISTS:
        if name != "object_detection":
            request["data"].pop(name, None)
    request["data"].pop("embedding", None)
    if "data_storage_key" in request:
        request["data_storage_key"] = kept(an_input)
    if _random.random() < SHARE:  # else it meets what is stored under the same plain id
        request["inference_id"] = f"new-{_random.randrange(10**12)}"
    return request | {"model_id": WORLD["model_id"]}


def created(case):
    case.body = fitted(case.body)


def bulk_created(case):
    case.body = [fitted(each) for each in case.body] if isinstance(case.body, list) else fitted(case.body)


def uploaded(case):
    case.body["metadata_storage_key"] = kept(an_encoded_inference)
    if "data_storage_key" in case.body:
        case.body["data_storage_key"] = kept(an_input)


def registered(case):
    case.body["project_id"] = WORLD["project_id"]


def run_by_policy(case):
    case.body["retention_policy_id"] = kept(a_policy)
    if "preview_task_id" in case.body:
        case.body["preview_task_id"] = _random.choice(WORLD["previews"])


def included(case):
    for name in ("include_inference_ids", "exclude_inference_ids"):
        if name in case.body:
            case.body[name] = [*case.body[name], "with-input"]


REAL = {
    "get_inference": inference_named,
    "delete_inference": inference_named,
    "get_metadata": inference_named,
    "create_metadata": inference_named,
    "delete_metadata": metadata_deleted,
    "set_protection": inference_named,
    "list_audit_records": audited,
    "get_audit_record": audited,
    "list_audited_inferences": audited,
    "get_export_task": exported,
    "stop_export_task": exported,
    "get_retention_task": previewed,
    "stop_retention_task": previewed,
    "get_retention_preview": previewed,
    "download_retention_preview_as_csv": previewed,
    "download_retention_preview_as_jsonl": previewed,
    "delete_retention_policy": policy_named,
    "put_blob": blob_put,
    "get_blob": blob_got,
    "create_inference": created,
    "create_inferences": bulk_created,
    "create_inference_from_upload": uploaded,
    "register_model_for_inference_storage": registered,
    "create_retention_task": run_by_policy,
    "create_export_task": included,
}


@schemathesis.hook
def before_call(context, case, kwargs):
    _used.clear()
    real = REAL.get(context.operation.definition.raw["operationId"])
    if real is None or case.method.upper() != context.operation.method.upper() or _random.random() > SHARE:
        return
    # What was made up may be no such body at all.
    with suppress(KeyError, TypeError, AttributeError):
        real(case)


@schemathesis.hook
def after_call(context, case, response):
    status = response.status_code
    for make in _used:
        if status in GONE or (status in USED_UP and make in ONCE):
            _kept.pop(make, None)
    if case.method.upper() == context.operation.method.upper():
        _answers[context.operation.definition.raw["operationId"]][str(status)] += 1
