"""Segments, and the triggers that write down which of their rows have changed since.

Up to 500 rows of a statement one by one, of more only in which segments some are. A function that is volatile sees
what was committed until then: who builds a segment commits that first, and waits for those who may not have seen it.
"""

import uuid

import django.db.models.deletion
from django.db import migrations, models

WITHOUT_SEGMENTS = "if not exists (select from inference_store_segment) then return null; end if;"
IN_SOME = """
        insert into inference_store_segmentchange (registered_model_id, segment_id)
        select s.registered_model_id, s.id from inference_store_segment s
         where (select true from old_rows o where o.registered_model_id = s.registered_model_id
                   and o.id > s.after and o.id <= s.watermark limit 1);
"""
ONE_BY_ONE = """
        insert into inference_store_segmentchange (registered_model_id, inference_id)
        select o.registered_model_id, o.id from old_rows o
         where {which}exists (select from inference_store_segment s
                        where s.registered_model_id = o.registered_model_id and o.id <= s.watermark);
"""
NUMBERS = ("created_at", "latitude", "longitude", *(f"n{number}" for number in range(1, 9)))
ON_DELETE = f"""
create function inference_segments_delete() returns trigger language plpgsql as $$ begin
    {WITHOUT_SEGMENTS}
    if (select count(*) from (select from old_rows limit 501) counted) > 500 then{IN_SOME}
    else{ONE_BY_ONE.format(which="")}
    end if;
    return null;
end $$;
create trigger inference_segments_delete after delete on inference_store_inference
    referencing old table as old_rows for each statement execute function inference_segments_delete();
"""  # noqa: S608 # nosec B608
ON_UPDATE = f"""
create function inference_segments_update() returns trigger language plpgsql as $$
declare changed bigint[];
begin
    {WITHOUT_SEGMENTS}
    changed := array(select o.id from old_rows o join new_rows n using (id)
                      where ({", ".join(f"o.{each}" for each in NUMBERS)})
           is distinct from ({", ".join(f"n.{each}" for each in NUMBERS)}) limit 501);
    if cardinality(changed) > 500 then{IN_SOME}
    elsif cardinality(changed) > 0 then{ONE_BY_ONE.format(which="o.id = any(changed) and ")}
    end if;
    return null;
end $$;
create trigger inference_segments_update after update on inference_store_inference
    referencing old table as old_rows new table as new_rows
    for each statement execute function inference_segments_update();
"""  # noqa: S608 # nosec B608
AWAY = """
drop trigger inference_segments_delete on inference_store_inference;
drop trigger inference_segments_update on inference_store_inference;
drop function inference_segments_delete();
drop function inference_segments_update();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("inference_store", "0022_vector_index_reach"),
    ]

    operations = [
        migrations.CreateModel(
            name="Segment",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False)),
                ("after", models.BigIntegerField()),
                ("watermark", models.BigIntegerField()),
                (
                    "state",
                    models.CharField(
                        choices=[("building", "building"), ("ready", "ready: read")],
                        default="building",
                        max_length=8,
                    ),
                ),
                ("row_count", models.BigIntegerField(default=0)),
                (
                    "columns",
                    models.JSONField(
                        default=list, help_text="Of the numbers of inferences, those that it has."
                    ),
                ),
                ("seconds", models.FloatField(default=0, help_text="For which it was being built.")),
                ("built_at", models.DateTimeField(null=True)),
                (
                    "registered_model",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="segments",
                        to="inference_store.registeredmodel",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="SegmentChange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("registered_model_id", models.BigIntegerField()),
                ("segment_id", models.UUIDField(null=True)),
                ("inference_id", models.BigIntegerField(null=True)),
            ],
            options={
                "indexes": [models.Index(fields=["registered_model_id"], name="segment_change_of_model")],
            },
        ),
        migrations.CreateModel(
            name="SegmentColumn",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=10)),
                ("content", models.BinaryField()),
                ("sample", models.BinaryField()),
                (
                    "segment",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="contents",
                        to="inference_store.segment",
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="segment",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "building")),
                fields=("registered_model",),
                name="segment_one_builds",
            ),
        ),
        migrations.AddConstraint(
            model_name="segmentcolumn",
            constraint=models.UniqueConstraint(fields=("segment", "name"), name="segment_column"),
        ),
        # Numbers of eight bytes hardly compress.
        migrations.RunSQL(
            "alter table inference_store_segmentcolumn alter column content set storage external",
            migrations.RunSQL.noop,
        ),
        migrations.RunSQL([ON_DELETE, ON_UPDATE], AWAY),
    ]
