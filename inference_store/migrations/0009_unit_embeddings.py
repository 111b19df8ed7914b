"""Embeddings again in halves. The background fills the table, and builds the indexes for cosines on it anew."""

import django.db.models.deletion
import pgvector.django.halfvec
from django.db import migrations, models

STORAGE = "toast_tuple_target = 4080, autovacuum_vacuum_insert_scale_factor = 0.02"


class Migration(migrations.Migration):
    dependencies = [
        ("inference_store", "0008_vacuum"),
    ]

    operations = [
        migrations.CreateModel(
            name="UnitEmbedding",
            fields=[
                ("inference_id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("half", pgvector.django.halfvec.HalfVectorField()),
                (
                    "registered_model",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="inference_store.registeredmodel",
                    ),
                ),
            ],
        ),
        migrations.RunSQL(
            f"alter table inference_store_unitembedding set ({STORAGE})", migrations.RunSQL.noop
        ),
        # Search is exact until they are there.
        migrations.RunSQL(
            "delete from inference_store_vectorindex where metric = 'cosine'", migrations.RunSQL.noop
        ),
    ]
