"""What the machine sends: few ids and few contents, so that they meet often."""

import copy
import io
import json
from dataclasses import dataclass

from PIL import Image

IDS = ("a", "b", "c", "d", "e", "f", "g", "ä ö", "=1+1")
DETECTION, CLASSIFICATION = "Object Detection", "Image Classification"
LISTS = {DETECTION: "object_detection", CLASSIFICATION: "image_classification"}
FORMATS = ("archive", "jsonl", "csv", "parquet", "coco", "yolo")
AGES_HOURS = (None, 30, 60, 100)
"""Of what is stored; None: by the store's clock."""
POLICIES = (
    {
        "automated_interval": 0,
        "maximum_record_age": 48,
        "maximum_blob_age": 24,
        "delete_action": "soft",
    },
    {
        "automated_interval": 0,
        "maximum_record_age": 24,
        "maximum_blob_age": 0,
        "delete_action": "soft",
    },
    {
        "automated_interval": 0,
        "maximum_record_age": 72,
        "maximum_blob_age": 24,
        "delete_action": "hard",
    },
    {
        "automated_interval": 0,
        "maximum_record_age": -1,
        "maximum_blob_age": 0,
        "delete_action": "soft",
    },
    {
        "automated_interval": 24,
        "maximum_record_age": 48,
        "maximum_blob_age": 48,
        "delete_action": "hard",
    },
)
VALUES = (("int", "7"), ("int", "-3"), ("float", "0.5"), ("string", "north"), ("json", '{"a":[1]}'))
KEYS = ("run", "site", "tags")
BOX = {"xmin": 1, "ymin": 1, "xmax": 3, "ymax": 4}
SIDE = 4
"""Of each picture, in pixels."""


def _picture(colour):
    file = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), colour).save(file, "PNG")
    return file.getvalue()


INPUTS = (_picture("red"), _picture("blue"), b"a text", b"")


@dataclass(frozen=True)
class Content:
    """An inference without its name: entries as (label, score), None where no list was given."""

    entries: tuple | None = None
    embedding: tuple | None = None
    native: object = None
    source: str | None = None
    place: tuple | None = None
    metadata: tuple = ()
    hash: str = "ab" * 32


CONTENTS = (
    Content(
        (("kestrel", 0.9),),
        (1.0, 0.0, 0.5),
        source="camera",
        metadata=(("run", "int", "7"), ("site", "string", "north")),
    ),
    Content(
        (("kestrel", 0.4), ("heron", None)),
        (0.0, 2.0, 0.0),
        source="phone",
        place=(47.5, 9.5),
        metadata=(("run", "int", "3"), ("site", "string", "south"), ("ratio", "float", "0.5")),
    ),
    Content((), source="camera", hash="cd" * 32),
    Content(None, None, {"told": [1, None]}, metadata=(("tags", "json", '{"a":[1]}'),)),
    Content(None, (0.5, 0.25, 0.0), source="phone", metadata=(("run", "string", "7"),)),
)


def action_of(task, content):
    if task == DETECTION:
        return "detect"
    return "predict_proba" if content.place else "predict"


def collection(task, content, embedding_size):
    """As it is sent, beside the inference's name."""
    data = {
        "metadata": {
            "standard_metadata": {
                "data_hash": content.hash,
                "data_size": 10,
                "task_type": task,
                "inference_action": action_of(task, content),
                "data_source": content.source,
                "latitude": content.place and content.place[0],
                "longitude": content.place and content.place[1],
            },
            "extended_metadata": [{"key": k, "type": t, "value": v} for k, t, v in content.metadata],
        }
    }
    if content.entries is not None:
        box = BOX if task == DETECTION else {}
        data[LISTS[task]] = [{"label": label, "score": score, **box} for label, score in content.entries]
    if content.embedding is not None and embedding_size:
        data["embedding"] = list(content.embedding)
    if content.native is not None:
        data["inference"] = content.native
    return data


def spelt(inference_id, data, is_protected, created_at):
    """What makes two requests the same one."""
    data = copy.deepcopy(data)
    data.pop("created_at", None)
    return json.dumps([inference_id, data, is_protected, created_at], sort_keys=True)
