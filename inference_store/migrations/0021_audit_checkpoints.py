from django.db import migrations, models

# Rows may go once a checkpoint says that the chain was pruned beyond them. Whether that is a true one, the
# trigger can't tell: verify_audit can, by the key.
GUARD = """
create function audit_was_pruned() returns trigger language plpgsql as $$
declare
    number bigint;
begin
    if tg_table_name = 'inference_store_auditseal' then
        number := old.sequence;
    elsif tg_table_name = 'inference_store_auditrecord' then
        select sequence into number from inference_store_auditseal where record_id = old.id;
    else
        select sequence into number from inference_store_auditseal where record_id = old.record_id;
    end if;
    if number is null or number > coalesce((select max(sequence) from inference_store_auditcheckpoint), 0) then
        raise exception 'the audit log is only added to' using errcode = 'insufficient_privilege';
    end if;
    return old;
end $$
"""
TABLES = ("auditrecord", "auditedinferences", "auditseal")
GUARDS = [
    statement.format(table=f"inference_store_{table}")
    for table in TABLES
    for statement in (
        "drop trigger audit_no_change on {table}",
        "create trigger audit_no_change before update on {table} "
        "for each statement execute function audit_is_append_only()",
        "create trigger audit_no_removal before delete on {table} "
        "for each row execute function audit_was_pruned()",
    )
]
OWN = [
    f"create trigger {name} before {events} on inference_store_auditcheckpoint "
    "for each statement execute function audit_is_append_only()"
    for name, events in (("audit_no_change", "update or delete"), ("audit_no_truncation", "truncate"))
]
BACK = [
    statement.format(table=f"inference_store_{table}")
    for table in TABLES
    for statement in (
        "drop trigger audit_no_removal on {table}",
        "drop trigger audit_no_change on {table}",
        "create trigger audit_no_change before update or delete on {table} "
        "for each statement execute function audit_is_append_only()",
    )
]


class Migration(migrations.Migration):
    dependencies = [("inference_store", "0020_identities")]

    operations = [
        migrations.CreateModel(
            name="AuditCheckpoint",
            fields=[
                ("sequence", models.BigIntegerField(primary_key=True, serialize=False)),
                ("seal", models.TextField(db_collation="C")),
                ("sealed_before", models.DateTimeField()),
                ("made_at", models.DateTimeField()),
                ("key_id", models.TextField(db_collation="C")),
                ("mac", models.TextField(db_collation="C")),
            ],
            options={"ordering": ("-sequence",)},
        ),
        migrations.RunSQL([GUARD, *GUARDS, *OWN], [*BACK, "drop function audit_was_pruned()"]),
    ]
