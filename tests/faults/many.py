"""Many inferences, quickly: copies of one, made by the database itself."""

from django.db import connection

from inference_store.models import Inference, RegisteredModel
from tests.making import make_request, store

TABLE = Inference._meta.db_table
CHANGED = {
    "inference_id": "'n-' || lpad(n::text, 7, '0')",
    "created_at": "created_at + n * interval '1 millisecond'",
}


def multiply(model: RegisteredModel, count: int, **fields: object) -> list[str]:
    """So many more inferences of the model like one that is stored with these fields; their ids by age."""
    store(model, make_request(model, "first", **fields))
    named = [
        each.column for each in Inference._meta.concrete_fields if not (each.primary_key or each.generated)
    ]
    picked = ", ".join(CHANGED.get(name, name) for name in named)
    with connection.cursor() as cursor:
        cursor.execute(
            f"insert into {TABLE} ({', '.join(named)}) "
            f"select {picked} from {TABLE}, generate_series(1, %s) n "
            "where registered_model_id = %s and inference_id = 'first'",
            [count, model.pk],
        )
        cursor.execute(f"analyze {TABLE}")
    return ["first", *(f"n-{number:07}" for number in range(1, count + 1))]
