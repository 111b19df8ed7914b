from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("inference_store", "0024_vector_codes"),
    ]

    operations = [
        # They are made anew, in the background, as those of other bits tell nothing.
        migrations.RunSQL("delete from inference_store_vectorcodes", migrations.RunSQL.noop),
        migrations.RemoveField(model_name="vectorindex", name="spread"),
        migrations.AddField(
            model_name="vectorindex",
            name="spreads",
            field=models.JSONField(
                help_text=(
                    "By how much codes may be off: the first signs, all signs, angles; empty: no codes yet."
                ),
                null=True,
            ),
        ),
    ]
