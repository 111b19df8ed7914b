"""This store's query layer, in process: filters as contract objects in, contract objects out."""

import os
import tomllib
from typing import Any

from bench.compare.places import CHECKOUT
from bench.compare.stores import contract_objects as ours
from bench.compare.stores.contract_store import ContractStore
from bench.compare.workload import DIMENSIONS, Array, Record
from inference_store.contract.enums import TaskType
from inference_store.contract.filters import BaseInferenceFilter, NewGetInferencesRequest
from inference_store.contract.inferences import Inference
from inference_store.contract.metadata import MetadataStatistics, NewGetMetadataStatisticsRequest

TABLES = ("inference", "entry", "embedding", "metadatakey")
SIZES = "select pg_table_size(%s::regclass), pg_indexes_size(%s::regclass)"


class QueryStore(ContractStore):
    """On whatever database Django is connected to; makes its own project and model there."""

    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    kind = "in process, on PostgreSQL"
    batch_size = 2_500

    def open(self, *, new: bool) -> None:
        from inference_store.models import Project, RegisteredModel

        project, _ = Project.objects.get_or_create(project_id=ours.PROJECT_ID, defaults={"name": "Benchmark"})
        self.model: Any
        self.model, _ = RegisteredModel.objects.get_or_create(
            model_id=ours.MODEL_ID,
            defaults={
                "project": project,
                "task_type": TaskType.OBJECT_DETECTION.value,
                "embedding_size": DIMENSIONS if self.embedded else 0,
            },
        )

    def insert(self, records: list[Record], vectors: Array | None) -> None:
        from inference_store.services import ingest

        ingest.store_inferences(model=self.model, requests=ours.storage_requests(records, vectors))

    def finish(self) -> None:
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("set statement_timeout = 0")
            cursor.execute("vacuum analyze")
            cursor.execute("reset statement_timeout")

    def bytes_held(self) -> dict[str, int]:
        """Rows and indexes of each table, in bytes."""
        from django.db import connection

        held = {}
        with connection.cursor() as cursor:
            for table in (f"inference_store_{name}" for name in TABLES):
                cursor.execute(SIZES, [table, table])
                held[f"{table} rows"], held[f"{table} indexes"] = cursor.fetchone()
        return held

    def page(self, request: NewGetInferencesRequest) -> list[Inference]:
        from inference_store.query import pages

        return pages.inference_page(self.model, request).inferences

    def count(self, filters: BaseInferenceFilter) -> int:
        from inference_store.query import pages

        return pages.count_inferences(self.model, NewGetInferencesRequest(filters=filters))

    def statistics(self, request: NewGetMetadataStatisticsRequest) -> MetadataStatistics:
        from inference_store.query import statistics

        return statistics.metadata_statistics(self.model, request)

    def delete(self, filters: BaseInferenceFilter) -> int:
        from inference_store.services import deletion

        return len(deletion.delete_matching(model=self.model, filters=filters))


class Adapter(QueryStore):
    """On a PostgreSQL of its own, in its directory."""

    def open(self, *, new: bool) -> None:
        os.environ["INFERENCE_STORE_HOME"] = str(self.directory / "home")
        os.environ["DJANGO_SETTINGS_MODULE"] = "inference_store.settings"
        os.environ.pop("DATABASE_URL", None)
        from inference_store.embedded.postgres import Postgres

        self.server = Postgres()
        self.server.start()
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        super().open(new=new)

    def close(self) -> None:
        from django.db import connections

        connections.close_all()
        self.server.stop()
