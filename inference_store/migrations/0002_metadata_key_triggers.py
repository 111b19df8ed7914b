"""The statement triggers that keep the metadata key catalogue exact, whichever door writes.

Every statement orders its upserts, so that two writers never wait for each other in a circle.
"""

from django.db import migrations

UPSERT = """
    insert into inference_store_metadatakey as catalogue (registered_model_id, key, type, shard, count)
    select registered_model_id, key, type, pg_backend_pid() %% 16, sum(n)
      from ({changes}) changes
     group by 1, 2, 3 having sum(n) <> 0 order by 1, 2, 3
    on conflict (registered_model_id, key, type, shard)
      do update set count = catalogue.count + excluded.count;
    return null;
"""
KEYS_OF = """
    select registered_model_id, held.key, types.key as type, {sign} as n
      from {rows} rows, jsonb_each(rows.metadata) types, jsonb_object_keys(types.value) held(key)
"""
ADDED = KEYS_OF.format(sign=1, rows="new_rows")
REMOVED = KEYS_OF.format(sign=-1, rows="old_rows")
CHANGED_ONLY = """
      where not exists (select from {others} others
                         where others.id = rows.id and others.metadata = rows.metadata)
"""
CHANGES = {
    "insert": ADDED,
    "delete": REMOVED,
    "update": ADDED
    + CHANGED_ONLY.format(others="old_rows")
    + " union all "
    + REMOVED
    + CHANGED_ONLY.format(others="new_rows"),
}
TABLES = {
    "insert": "new table as new_rows",
    "delete": "old table as old_rows",
    "update": "old table as old_rows new table as new_rows",
}


def _trigger(event: str) -> migrations.RunSQL:
    name = f"inference_metadata_keys_{event}"
    body = UPSERT.format(changes=CHANGES[event]).replace("%%", "%")
    return migrations.RunSQL(
        sql=[
            f"create function {name}() returns trigger language plpgsql as $$ begin {body} end $$",
            f"create trigger {name} after {event} on inference_store_inference "
            f"referencing {TABLES[event]} for each statement execute function {name}()",
        ],
        reverse_sql=[f"drop trigger {name} on inference_store_inference", f"drop function {name}()"],
    )


class Migration(migrations.Migration):
    dependencies = [("inference_store", "0001_initial")]

    operations = [_trigger(event) for event in CHANGES]
