"""The store in plain Python: what each request should answer, record and leave behind.

Nothing here knows tables, statements or services. Each method answers with the status it expects; what should
be in the audit log goes into `log`, as (action, model, ids), ids None where a record names no inference.
"""

import json
from dataclasses import dataclass, field, replace
from datetime import datetime

from tests.fuzz.machine.contents import BOX, DETECTION, LISTS

DATA, METADATA = "data", "metadata"


@dataclass
class Row:
    """A stored inference. `serial` rises as rows are stored, and stays with one that comes back."""

    serial: int
    inference_id: str
    spelt: str
    request: dict
    task: str
    protected: bool
    created_at: datetime | None
    metadata: dict
    data_key: str | None
    metadata_key: str | None = None

    @property
    def sent(self):
        return self.request["data"]

    @property
    def listed(self):
        """The standardized list as it was sent, None where there was none."""
        return self.sent.get(LISTS[self.task])

    @property
    def entries(self):
        return [(each["label"], each["score"]) for each in self.listed or []]

    @property
    def embedding(self):
        return self.sent.get("embedding")

    @property
    def standard(self):
        return self.sent["metadata"]["standard_metadata"]

    @property
    def source(self):
        return self.standard["data_source"]

    @property
    def hash(self):
        return self.standard["data_hash"]

    @property
    def place(self):
        place = self.standard["latitude"], self.standard["longitude"]
        return None if None in place else place

    @property
    def geometry(self):
        return {"bbox": BOX} if self.task == DETECTION else None


@dataclass
class Upload:
    """A storage key: of a model, for an input or an encoded inference."""

    key: str
    kind: str
    model: str
    url: str
    content: bytes | None = None
    owner: int | None = None
    is_old: bool = False
    doomed: bool = False
    media_type: str = "application/octet-stream"


@dataclass
class Soft:
    row: Row
    task_id: str
    is_old: bool = False


@dataclass
class Preview:
    policy_id: str
    items: list  # (serial, inference id, reason, blobs, bytes)


@dataclass
class Model:
    model_id: str
    project_id: str
    task: str
    embedding_size: int
    rows: dict = field(default_factory=dict)
    soft: list = field(default_factory=list)
    uploads: dict = field(default_factory=dict)
    archives: dict = field(default_factory=dict)
    """By export: whether its archive ended with the model's blob age as soon as it was made."""
    doomed_archives: int = 0
    policy: dict | None = None
    policy_id: str | None = None
    previews: dict = field(default_factory=dict)

    def in_order(self):
        return sorted(self.rows.values(), key=lambda row: (row.created_at, row.serial))

    def matching(self, predicate):
        return [row for row in self.in_order() if predicate(row)]

    def owned(self, row, kinds=(DATA, METADATA)):
        return [each for each in self.uploads.values() if each.owner == row.serial and each.kind in kinds]


class Refused(Exception):  # noqa: N818  (an answer)
    def __init__(self, status):
        super().__init__(status)
        self.status = status


class World:
    """All models. `held`: a backup is being made, so that no bytes are removed."""

    def __init__(self, models):
        self.models = {model.model_id: model for model in models}
        self.held = False
        self.log = []
        self.serial = 0

    def record(self, action, model, ids=None):
        self.log.append((action, model.model_id, None if ids is None else sorted(ids)))

    def all_uploads(self):
        return [upload for model in self.models.values() for upload in model.uploads.values()]

    # --- Uploads ----------------------------------------------------------------------------------------
    def put(self, upload, content, media_type):
        """Bytes come for a key: once."""
        known = self.models[upload.model].uploads.get(upload.key)
        if known is None or known.doomed:
            return 404
        if known.content is not None:
            return 409
        known.content, known.media_type = content, media_type
        self.record("upload.write", self.models[upload.model])
        return 204

    def remove(self, model, uploads):
        """The bytes of what went: at once, or after the backup."""
        for upload in uploads:
            upload.owner = None
            if self.held:
                upload.doomed = True
            else:
                del model.uploads[upload.key]

    def _claimable(self, model, key, kind):
        upload = model.uploads.get(key)
        if upload is None or upload.kind != kind or upload.content is None:
            raise Refused(400)
        if upload.owner is not None or upload.doomed:
            raise Refused(409)
        return upload

    # --- Storing ----------------------------------------------------------------------------------------
    def create(self, model, requests, spelt, metadata_key=None):
        """(status, how many are new) of requests that go together."""
        try:
            rows = self._new_rows(model, requests, spelt)
            claimed = self._claims(model, rows, metadata_key)
        except Refused as refused:
            return refused.status, 0
        for row, upload in claimed:
            upload.owner = row.serial
        for row in rows:
            model.rows[row.inference_id] = row
        self.serial += len(rows)
        if rows:
            self.record("inference.create", model, [row.inference_id for row in rows])
        return (201 if rows else 200), len(rows)

    def _new_rows(self, model, requests, spelt):
        first = {}
        for request, text in zip(requests, spelt, strict=True):
            if first.setdefault(request["inference_id"], text) != text:
                raise Refused(409)
        for inference_id, text in first.items():
            if inference_id in model.rows and model.rows[inference_id].spelt != text:
                raise Refused(409)
        rows, seen = [], set(model.rows)
        for request, text in zip(requests, spelt, strict=True):
            if request["inference_id"] not in seen:
                seen.add(request["inference_id"])
                rows.append(self._row(model, request, text, self.serial + len(rows) + 1))
        return rows

    def _row(self, model, request, text, serial):
        held = request["data"]["metadata"]["extended_metadata"]
        created_at = request.get("created_at") or request["data"].get("created_at")
        return Row(
            serial=serial,
            inference_id=request["inference_id"],
            spelt=text,
            request=request,
            task=model.task,
            protected=request["is_protected"],
            created_at=created_at and datetime.fromisoformat(created_at),
            metadata={each["key"]: (each["type"], each["value"]) for each in held},
            data_key=request.get("data_storage_key"),
        )

    def _claims(self, model, rows, metadata_key):
        keys = [row.data_key for row in rows if row.data_key is not None]
        if len(keys) != len(set(keys)):
            raise Refused(409)
        claimed = [
            (row, self._claimable(model, row.data_key, DATA)) for row in rows if row.data_key is not None
        ]
        if metadata_key is not None and rows:
            claimed.append((rows[0], self._claimable(model, metadata_key, METADATA)))
            rows[0].metadata_key = metadata_key
        return claimed

    def uploaded_collection(self, model, key):
        """What was uploaded under the key, for `create` from it; Refused where that is nothing."""
        upload = model.uploads.get(key)
        if upload is None or upload.kind != METADATA or upload.content is None or upload.doomed:
            raise Refused(400)
        try:
            return json.loads(upload.content)
        except ValueError:
            raise Refused(400) from None

    # --- Metadata and protection ------------------------------------------------------------------------
    def set_metadata(self, model, inference_id, key, type_, value):
        row = model.rows.get(inference_id)
        if row is None:
            return 404
        row.metadata[key] = (type_, value)
        self.record("metadata.set", model, [inference_id])
        return 200

    def delete_metadata(self, model, inference_id, key):
        row = model.rows.get(inference_id)
        if row is None or row.metadata.pop(key, None) is None:
            return 404
        self.record("metadata.delete", model, [inference_id])
        return 200

    def protect(self, model, inference_id, wanted):
        row = model.rows.get(inference_id)
        if row is None:
            return 404
        row.protected = wanted
        self.record("inference.protect" if wanted else "inference.unprotect", model, [inference_id])
        return 200

    def protect_matching(self, model, predicate, wanted):
        """How many change."""
        changed = [row for row in model.matching(predicate) if row.protected != wanted]
        for row in changed:
            row.protected = wanted
        ids = [row.inference_id for row in changed]
        self.record("inference.protect" if wanted else "inference.unprotect", model, ids)
        return len(changed)

    # --- Deletion ---------------------------------------------------------------------------------------
    def delete(self, model, inference_id):
        softly = self._forget(model, {inference_id})
        row = model.rows.get(inference_id)
        if row is not None:
            self.drop(model, row)
        if row is not None or softly:
            self.record("inference.delete", model, [inference_id])
        return 404 if row is None else 200

    def delete_matching(self, model, predicate):
        """The ids that go."""
        rows = model.matching(predicate)
        ids = [row.inference_id for row in rows]
        self._forget(model, set(ids))
        for row in rows:
            self.drop(model, row)
        self.record("inference.delete", model, ids)
        return sorted(ids)

    def _forget(self, model, ids):
        gone = [each for each in model.soft if each.row.inference_id in ids]
        model.soft = [each for each in model.soft if each.row.inference_id not in ids]
        return gone

    def drop(self, model, row):
        """A row goes with its blobs: how many, and their bytes."""
        owned = model.owned(row)
        self.remove(model, owned)
        del model.rows[row.inference_id]
        return len(owned), sum(len(each.content) for each in owned)

    def put_away(self, model, row, task_id):
        kept = replace(row, metadata=dict(row.metadata), data_key=None, metadata_key=None)
        model.soft.append(Soft(kept, task_id))
