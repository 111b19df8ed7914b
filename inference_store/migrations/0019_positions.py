from django.db import migrations

# Unlogged: what it holds is worth nothing once the server that it speaks of has crashed, and replicas need not
# have it. A user has many rows, the newest of which counts: one that is updated a thousand times a second
# would grow with every long snapshot.
TABLE = """
create unlogged table inference_store_position (
    user_id bigint not null,
    lsn pg_lsn not null,
    noted_at timestamptz not null
)
"""
INDEXES = [
    "create index position_of_user on inference_store_position (user_id, lsn)",
    "create index position_age on inference_store_position (noted_at)",
]


class Migration(migrations.Migration):
    dependencies = [("inference_store", "0018_token_scopes")]

    operations = [migrations.RunSQL([TABLE, *INDEXES], ["drop table inference_store_position"])]
