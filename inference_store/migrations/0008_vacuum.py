"""How the tables that grow and the tables that change are kept.

Index-only scans need pages marked visible, which vacuum does: by default only once a fifth of the table is new.
Counts are updated in place where their pages have room.
"""

from django.db import migrations

GROWING = {
    "autovacuum_vacuum_insert_scale_factor": "0.02",
    "autovacuum_vacuum_insert_threshold": "5000",
    "autovacuum_vacuum_scale_factor": "0.02",
    "autovacuum_analyze_scale_factor": "0.02",
}
CHANGING = {"fillfactor": "50", "autovacuum_vacuum_scale_factor": "0.1"}
TABLES = {"inference": GROWING, "entry": GROWING, "metadatakey": CHANGING, "cataloguecount": CHANGING}


def _set(table: str, values: dict[str, str]) -> migrations.RunSQL:
    name = f"inference_store_{table}"
    return migrations.RunSQL(
        sql=[f"alter table {name} set ({', '.join(f'{key} = {value}' for key, value in values.items())})"],
        reverse_sql=[f"alter table {name} reset ({', '.join(values)})"],
    )


class Migration(migrations.Migration):
    dependencies = [("inference_store", "0007_catalogues")]

    operations = [_set(table, values) for table, values in TABLES.items()]
