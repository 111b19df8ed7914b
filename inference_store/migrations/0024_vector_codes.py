import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("inference_store", "0023_segments"),
    ]

    operations = [
        migrations.AddField(
            model_name="vectorindex",
            name="spread",
            field=models.FloatField(
                help_text="By how many bits codes may seem farther than embeddings are; empty: no codes yet.",
                null=True,
            ),
        ),
        migrations.CreateModel(
            name="VectorCodes",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("part", models.BigIntegerField()),
                ("keys", models.BinaryField()),
                ("codes", models.BinaryField()),
                (
                    "vector_index",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="codes",
                        to="inference_store.vectorindex",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("vector_index", "part"), name="vector_codes_part")
                ],
            },
        ),
        # Bits hardly compress.
        migrations.RunSQL(
            "alter table inference_store_vectorcodes alter column keys set storage external, "
            "alter column codes set storage external",
            migrations.RunSQL.noop,
        ),
    ]
