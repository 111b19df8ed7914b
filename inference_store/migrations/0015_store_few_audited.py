"""What a few inferences are stored by writes their audit records too: one each, in the one statement.

Otherwise as in 0010. Processes of the release before go the long way meanwhile, as at anything unusual.
"""

from django.db import migrations

COLUMNS = {
    "latitude": "float8",
    "longitude": "float8",
    "data_size": "bigint",
    "version": "smallint",
    "has_list": "boolean",
    "is_protected": "boolean",
    "inference_id": "text",
    "action": "text",
    "data_source": "text",
    "data_hash": "bytea",
    "content_digest": "bytea",
    "metadata": "jsonb",
    "data": "text",
    **{f"n{number}": "float8" for number in range(1, 9)},
    **{f"s{number}": "text" for number in range(1, 5)},
}
# The first statement is one of its own: see FilledSlots. So is each table's, in the order of the long way, in
# which triggers lock their counts.
CREATE = f"""
create function store_few(of_model int, filled text, few json, parts json, embedded json, vectors real[],
                          of_project text, named text, sent_by json)
returns json language plpgsql as $$
declare
    moment timestamptz;
    latest timestamptz;
    keys bigint[];
    names text[];
    told json;
    size int;
begin
    perform pg_advisory_xact_lock_shared(1936487540, of_model);
    if filled <> coalesce((select string_agg(id || '=' || slot, ',' order by id) from inference_store_searchslot
                            where registered_model_id = of_model and state in ('filling', 'ready')), '') then
        return null;
    end if;
    moment := clock_timestamp();
    with stored as (
        insert into inference_store_inference
               (registered_model_id, created_at, updated_at, {", ".join(COLUMNS)})
        select of_model, coalesce(created_at, moment), moment, {", ".join(COLUMNS)}
          from json_to_recordset(few)
            as new(created_at timestamptz, {", ".join(f"{name} {type_}" for name, type_ in COLUMNS.items())})
        on conflict (registered_model_id, inference_id) do nothing
        returning id, inference_id, created_at, metadata)
    select array_agg(id), array_agg(inference_id), max(created_at),
           json_object_agg(inference_id, json_build_array(created_at, metadata))
      into keys, names, latest, told from stored;
    if latest > moment then
        raise exception 'created_at lies in the future';
    end if;
    if parts is not null and keys is not null then
        insert into inference_store_entry
               (inference_id, score, registered_model_id, "position", label, geometry)
        select stored.id, score, of_model, place, label, geometry
          from json_to_recordset(parts) as part(name text, place int, label text, score float8, geometry jsonb)
          join unnest(keys, names) as stored(id, name) using (name);
    end if;
    if embedded is not null and keys is not null then
        size := array_length(vectors, 1) / json_array_length(embedded);
        insert into inference_store_embedding (inference_id, registered_model_id, vector)
        select stored.id, of_model, vectors[(place - 1) * size + 1 : place * size]::vector
          from json_array_elements_text(embedded) with ordinality as given(name, place)
          join unnest(keys, names) as stored(id, name) using (name);
    end if;
    insert into inference_store_auditrecord
           (recorded_at, action, outcome, project_id, model_id, inference_id, inference_count, ids_digest, filter,
            details, actor_id, actor, token, door, address, request_id)
    select clock_timestamp(), 'inference.create', 'done', of_project, named, name, 1, '', '', '',
           actor_id, actor, token, door, address, request_id
      from json_to_recordset(sent_by)
        as sent(name text, actor_id bigint, actor text, token text, door text, address text, request_id text)
     where name = any(names);
    return json_build_object('updated_at', moment, 'stored', coalesce(told, '{{}}'::json));
end $$
"""  # noqa: S608 # nosec B608


OLD = "store_few(int, text, json, json, json, real[])"


class Migration(migrations.Migration):
    dependencies = [("inference_store", "0014_audit")]

    operations = [
        migrations.RunSQL(
            [f"drop function {OLD}", CREATE],
            # What goes back goes the long way.
            [
                "drop function store_few(int, text, json, json, json, real[], text, text, json)",
                f"create function {OLD} returns json language sql as 'select null::json'",
            ],
        )
    ]
