"""Reads what the store holds, table by table and file by file, and holds it against the model."""

import json
from collections import Counter
from datetime import datetime

from django.conf import settings
from django.db import connection

SLOT_COLUMNS = {"n1": "int", "s1": "string"}

OF_NOBODY = (
    *("upload.write", "export.download"),  # by presigned URL
    *("inference.restore", "inference.purge", "export.expire"),  # by schedule, or by hand on the machine
)

LOOK = """
    select json_build_object(
        'rows', (select json_agg(json_build_array(m.model_id, i.inference_id, i.id, i.data_storage_key,
                                                  i.is_protected, i.created_at) order by i.created_at, i.id)
                   from inference_store_inference i join inference_store_registeredmodel m
                     on m.id = i.registered_model_id
                  where i.registered_model_id = any(%(models)s)),
        'entries', (select json_agg(json_build_array(inference_id, label, score, geometry)
                                    order by inference_id, position)
                      from inference_store_entry where registered_model_id = any(%(models)s)),
        'embeddings', (select json_agg(json_build_array(inference_id, vector::text))
                         from inference_store_embedding where registered_model_id = any(%(models)s)),
        'units', (select json_agg(inference_id)
                    from inference_store_unitembedding where registered_model_id = any(%(models)s)),
        'leftovers', (select count(*) from inference_store_leftover
                       where registered_model_id = any(%(models)s)),
        'blobs', (select json_agg(json_build_array(registered_model_id, key, kind, inference_id,
                                                   uploaded_at is not null, doomed_at is not null, size))
                    from inference_store_blob where registered_model_id = any(%(models)s)),
        'soft', (select json_agg(json_build_array(registered_model_id, inference_id, id, row->'metadata',
                                                  row->'data_storage_key', jsonb_array_length(entries),
                                                  vector::text))
                   from inference_store_softdeletedinference where registered_model_id = any(%(models)s)),
        'keys', (select json_agg(json_build_array(registered_model_id, key, type, n)) from (
                    select registered_model_id, key, type, sum(count) as n from inference_store_metadatakey
                     where registered_model_id = any(%(models)s) group by 1, 2, 3 having sum(count) <> 0) k),
        'counts', (select json_agg(json_build_array(registered_model_id, "column", bucket, value, n)) from (
                    select c.registered_model_id, c."column", bucket, value, sum(count) as n
                      from inference_store_catalogue c join inference_store_cataloguecount
                        on catalogue_id = c.id
                     where c.registered_model_id = any(%(models)s) and c.state = 'exact'
                     group by 1, 2, 3, 4 having sum(count) <> 0) k),
        'catalogues', (select json_agg(json_build_array(registered_model_id, "column"))
                         from inference_store_catalogue
                        where registered_model_id = any(%(models)s) and state = 'exact'),
        'audit', (select json_agg(json_build_array(r.id, r.action, r.model_id, r.inference_id,
                                                   r.inference_count, r.actor, r.request_id,
                                                   (select string_agg(ids, '' order by number)
                                                      from inference_store_auditedinferences
                                                     where record_id = r.id)) order by r.id)
                    from inference_store_auditrecord r
                   where r.project_id = any(%(projects)s) and r.recorded_at >= %(since)s
                     and r.id > %(last)s)
    )::text
"""


class Eye:
    """Sees the models of a run, by their primary keys."""

    def __init__(self, keys, projects, since):
        self.keys, self.projects, self.since, self.last_record = keys, projects, since, 0
        self.names = {key: name for name, key in keys.items()}
        self.serials = {}
        self.seen = {}

    def look(self):
        given = {
            "models": list(self.keys.values()),
            "projects": self.projects,
            "since": self.since,
            "last": self.last_record,
        }
        with connection.cursor() as cursor:
            cursor.execute(LOOK, given)
            seen = {
                name: [] if found is None else found
                for name, found in json.loads(cursor.fetchone()[0]).items()
            }
        if seen["audit"]:
            self.last_record = seen["audit"][-1][0]
        self.seen = seen
        return seen

    def check(self, world):
        """Everything but what is told by requests."""
        seen = self.look()
        keys = self._rows(world, seen)
        self._parts(world, seen, keys)
        self._blobs(world, seen, keys)
        self._soft(world, seen)
        self._catalogues(world, seen)
        self._audit(world, seen)

    def _rows(self, world, seen):
        """The primary key of each row by its serial, which must rise alike and never change."""
        found = {name: [] for name in world.models}
        for model_id, inference_id, key, data_key, protected, created_at in seen["rows"]:
            found[model_id].append((inference_id, data_key, protected))
            row = world.models[model_id].rows.get(inference_id)
            assert row is not None, f"{model_id} holds {inference_id!r}, which nobody stored or all deleted"
            moment = datetime.fromisoformat(created_at)
            if row.created_at is None:
                row.created_at = moment
            assert row.created_at == moment, f"{model_id}: {inference_id!r} changed its time"
            assert self.serials.setdefault(row.serial, key) == key, f"{inference_id!r} is another row"
        for model_id, model in world.models.items():
            missing = set(model.rows) - {row[0] for row in found[model_id]}
            assert not missing, f"{model_id} lost {missing}"
            wanted = [(row.inference_id, row.data_key, row.protected) for row in model.in_order()]
            assert found[model_id] == wanted, f"rows of {model_id}"
        in_order = [self.serials[serial] for serial in sorted(self.serials)]
        assert in_order == sorted(in_order), "keys do not rise as rows are stored"
        return self.serials

    def _parts(self, world, seen, keys):
        entries, vectors = [], {}
        for model in world.models.values():
            for row in model.rows.values():
                key = keys[row.serial]
                entries += [[key, label, score, row.geometry] for label, score in row.entries]
                if row.embedding is not None:
                    vectors[key] = [float(number) for number in row.embedding]
        assert seen["leftovers"] == 0
        assert sorted(seen["entries"], key=lambda each: each[0]) == sorted(entries, key=lambda each: each[0])
        assert {key: json.loads(text) for key, text in seen["embeddings"]} == vectors, "embeddings"
        assert set(seen["units"]) <= set(vectors), "unit embeddings of rows that are not there"

    def _blobs(self, world, seen, keys):
        for model_id, model in world.models.items():
            pk = self.keys[model_id]
            rows = [each[1:] for each in seen["blobs"] if each[0] == pk]
            uploads = {each[0]: each[1:] for each in rows if each[1] != "archive"}
            wanted = {
                each.key: [
                    each.kind,
                    None if each.owner is None else keys[each.owner],
                    each.content is not None,
                    each.doomed,
                    None if each.content is None else len(each.content),
                ]
                for each in model.uploads.values()
            }
            assert uploads == wanted, f"blobs of {model_id}"
            archives = Counter(each[4] for each in rows if each[1] == "archive")
            assert archives[False] == len(model.archives), f"archives of {model_id}"
            assert archives[True] == model.doomed_archives, f"doomed archives of {model_id}"
            on_disk = {each[0] for each in rows if each[3]}
            assert files_of(pk) == on_disk, f"files of {model_id}"

    def _soft(self, world, seen):
        found = Counter(
            (self.names[pk], inference_id, key, _by_key(metadata), data_key, count, vector)
            for pk, inference_id, key, metadata, data_key, count, vector in seen["soft"]
        )
        wanted = Counter(
            (
                model_id,
                each.row.inference_id,
                self.serials[each.row.serial],
                _typed(each.row),
                None,
                len(each.row.entries),
                None if each.row.embedding is None else _vector(each.row.embedding),
            )
            for model_id, model in world.models.items()
            for each in model.soft
        )
        assert found == wanted, "softly deleted"

    def _catalogues(self, world, seen):
        begun = {(self.names[pk], column) for pk, column in seen["catalogues"]}
        for model_id, model in world.models.items():
            pk, rows = self.keys[model_id], list(model.rows.values())
            keys = {(key, type_): n for at, key, type_, n in seen["keys"] if at == pk}
            wanted = Counter((key, held[0]) for row in rows for key, held in row.metadata.items())
            assert keys == dict(wanted), f"metadata keys of {model_id}"
            assert counted(seen, pk, "label") == (
                Counter(label for row in rows for label, _ in row.entries)
                if (model_id, "label") in begun
                else {}
            ), f"labels of {model_id}"
            assert counted(seen, pk, "data_source") == (
                Counter(row.source for row in rows if row.source is not None)
                if (model_id, "data_source") in begun
                else {}
            ), f"sources of {model_id}"
            hours = {int(key): n for key, n in counted(seen, pk, "created_at", at=2).items()}
            assert hours == (
                Counter(int(row.created_at.timestamp() // 3600) for row in rows)
                if (model_id, "created_at") in begun
                else {}
            ), f"hours of {model_id}"
            sites = Counter(row.metadata["site"][1] for row in rows if _is(row, "site", "string"))
            assert counted(seen, pk, "s1") == (sites if (model_id, "s1") in begun else {}), "sites"
            runs = sum(counted(seen, pk, "n1", at=2).values())
            assert runs == sum(_is(row, "run", "int") for row in rows) * ((model_id, "n1") in begun), "runs"

    def _audit(self, world, seen):
        found = Counter()
        for _, action, model_id, inference_id, count, actor, request_id, ids in seen["audit"]:
            named = [inference_id] if inference_id is not None else (ids or "").split("\n")[:-1]
            assert len(named) == count, f"{action} counts {count} of {named}"
            found[action, model_id, tuple(named)] += 1
            if action not in OF_NOBODY:
                assert "" not in (actor, request_id), f"{action} says not who did it"
        wanted = Counter((action, model_id, tuple(ids or ())) for action, model_id, ids in world.log)
        world.log.clear()
        assert found == wanted, "audit records"


def counted(seen, pk, column, at=3):
    return {each[at]: each[4] for each in seen["counts"] if each[0] == pk and each[1] == column}


def _is(row, key, type_):
    return row.metadata.get(key, ("",))[0] == type_


def _vector(numbers):
    return "[" + ",".join(f"{number:g}" for number in numbers) + "]"


def _by_key(metadata):
    return json.dumps(
        {key: [type_, value] for type_, held in metadata.items() for key, value in held.items()},
        sort_keys=True,
    )


def _typed(row):
    readers = {"int": int, "float": float, "string": str, "json": json.loads}
    return json.dumps(
        {key: [type_, readers[type_](value)] for key, (type_, value) in row.metadata.items()}, sort_keys=True
    )


def files_of(pk):
    """The keys of which bytes are there."""
    root = settings.BLOB_ROOT / str(pk)
    return {f"{pk}/{path.name}" for path in root.glob("*/*")} if root.is_dir() else set()


def told(row, model):
    """The row as a page of the API tells it, without `updated_at`; `data` parsed."""
    data = row.listed
    if data is None:
        data = row.embedding if row.embedding is not None else row.sent.get("inference")
    has_parts = row.listed is not None or row.embedding is not None
    return {
        "model_id": model.model_id,
        "inference_id": row.inference_id,
        "created_at": row.created_at,
        "inference_action": row.standard["inference_action"],
        "data": data,
        "metadata": [{"key": k, "type": t, "value": v} for k, (t, v) in sorted(row.metadata.items())],
        "data_hash": row.hash,
        "data_source": row.source,
        "data_coordinates": row.place and dict(zip(("latitude", "longitude"), row.place, strict=True)),
        "data_storage_key": row.data_key,
        "is_protected": row.protected,
        "version": "v2" if has_parts else "v1",
        "embedding": row.embedding if row.listed is not None else None,
    }


def read(inference):
    """An inference of an answer or an export, as `told` tells it."""
    found = {
        name: inference.get(name)
        for name in (
            *("model_id", "inference_id", "inference_action", "data_hash", "data_source"),
            *("data_coordinates", "data_storage_key", "is_protected", "version", "metadata", "embedding"),
        )
    }
    found["created_at"] = datetime.fromisoformat(inference["created_at"])
    found["data"] = None if inference["data"] is None else json.loads(inference["data"])
    return found
