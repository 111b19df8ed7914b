"""The rest of the model: retention, soft deletion, exports' sets, and what is swept."""

import hashlib

from tests.fuzz.machine.world import DATA, Preview

RECORD, BLOB = "record", "blob"
NOTHING = "0" * 64


# --- Policies -----------------------------------------------------------------------------------------------
def create_policy(world, model, wanted):
    """The status; the caller notes the id that the store gave."""
    if model.policy is None:
        model.policy = wanted
        world.record("retention_policy.create", model)
        return 201
    return 200 if model.policy == wanted else 409


def delete_policy(world, model):
    if model.policy is None:
        return 404
    model.policy = model.policy_id = None
    world.record("retention_policy.delete", model)
    return 200


# --- Tasks --------------------------------------------------------------------------------------------------
def due(model, policy, record_limit, blob_limit):
    """(row, reason) of what is past its age and not protected, in the order in which it goes."""
    for_ever = policy["maximum_record_age"] == -1
    records, inputs = [], []
    for row in model.in_order():
        if row.protected:
            continue
        if not for_ever and row.created_at < record_limit:
            records.append((row, RECORD))
        elif row.created_at < blob_limit and row.data_key is not None:
            inputs.append((row, BLOB))
    return records + inputs


def preview(model, policy_id, found):
    """What a dry run lists."""

    items = []
    for row, reason in found:
        owned = model.owned(row) if reason == RECORD else model.owned(row, (DATA,))
        size = sum(len(each.content) for each in owned)
        items.append((row.serial, row.inference_id, reason, len(owned), size))
    return Preview(policy_id, items)


def still_due(model, listed):
    """What of a dry run's list may be taken still: the same rows, not protected since, their inputs there."""
    by_serial = {row.serial: row for row in model.rows.values()}
    found = []
    for serial, _, reason, _, _ in listed.items:
        row = by_serial.get(serial)
        if row is not None and not row.protected and (reason == RECORD or row.data_key is not None):
            found.append((row, reason))
    return found


def run(world, model, found, task_id, action):
    """Take it: what the task should tell of it."""
    told = {"deleted_record_count": 0, "deleted_blob_count": 0, "deleted_bytes": 0, "deleted_digest": NOTHING}
    for reason, recorded in ((RECORD, "inference.expire"), (BLOB, "input.expire")):
        rows = [row for row, why in found if why == reason]
        for row in rows:
            if reason == RECORD:
                if action == "soft":
                    world.put_away(model, row, task_id)
                count, size = world.drop(model, row)
                told["deleted_record_count"] += 1
            else:
                owned = model.owned(row, (DATA,))
                count, size = len(owned), sum(len(each.content) for each in owned)
                world.remove(model, owned)
                row.data_key = None
            told["deleted_blob_count"] += count
            told["deleted_bytes"] += size
            link = f"{told['deleted_digest']} {reason} {row.inference_id}"
            told["deleted_digest"] = hashlib.sha256(link.encode()).hexdigest()
        if rows:
            world.record(recorded, model, [row.inference_id for row in rows])
    return told


# --- Soft deletion ------------------------------------------------------------------------------------------
def restore(world, model, ids=None, task_id=None):
    """(ids that come back, ids that can't): of each id the one that went last."""
    last = {}
    for each in model.soft:
        if (ids is None or each.row.inference_id in ids) and (task_id is None or each.task_id == task_id):
            last[each.row.inference_id] = each
    back, refused = [], []
    for inference_id, each in sorted(last.items()):
        if inference_id in model.rows:
            refused.append(inference_id)
            continue
        back.append(inference_id)
        model.rows[inference_id] = each.row
        model.soft.remove(each)
    if back:
        world.record("inference.restore", model, back)
    return back, refused


def purge(world):
    """What was put away long ago goes for good; how many."""
    purged = 0
    for model in world.models.values():
        old = [each for each in model.soft if each.is_old]
        if old:
            purged += len(old)
            model.soft = [each for each in model.soft if not each.is_old]
            world.record("inference.purge", model, [each.row.inference_id for each in old])
    return purged


# --- Sweeping and exports -----------------------------------------------------------------------------------
def sweep(world):
    """Doomed keys, and old ones that nobody claimed; how many go."""
    if world.held:
        return 0
    swept = 0
    for model in world.models.values():
        gone = [
            each.key for each in model.uploads.values() if each.doomed or (each.is_old and each.owner is None)
        ]
        for key in gone:
            del model.uploads[key]
        swept += len(gone) + model.doomed_archives
        model.doomed_archives = 0
    return swept


def export_set(model, predicate, include, exclude):
    """(filters and included ids) less the excluded, in the order in which rows were stored."""
    rows = [
        row
        for row in model.rows.values()
        if (predicate(row) or row.inference_id in include) and row.inference_id not in exclude
    ]
    return sorted(rows, key=lambda row: row.serial)


def expire_archives(world):
    """Archives that outlive the model's blob age go; how many."""
    gone = 0
    for model in world.models.values():
        if model.policy is None or model.policy["maximum_blob_age"] != 0:
            continue
        for export_id in list(model.archives):
            del model.archives[export_id]
            gone += 1
            model.doomed_archives += world.held
            world.record("export.expire", model)
    return gone
