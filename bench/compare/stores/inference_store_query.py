"""This store's query layer, in process: filters as contract objects in, contract objects out."""

import math
import tomllib
from typing import Any

from bench.compare.places import CHECKOUT
from bench.compare.stores import contract_objects as ours
from bench.compare.stores import database, filling
from bench.compare.stores.contract_store import ContractStore
from bench.compare.workload import DIMENSIONS, Array, Record, Workload
from inference_store.contract.enums import TaskType
from inference_store.contract.filters import BaseInferenceFilter, NewGetInferencesRequest
from inference_store.contract.inferences import Inference
from inference_store.contract.map_cells import NewMapCellsRequest, Viewport
from inference_store.contract.metadata import MetadataStatistics, NewGetMetadataStatisticsRequest

FILLED_FROM = 10_000_000
LARGEST_CELL_DEGREES, ZOOM_OF_A_MAP = 90.0, 3
"""A map that is as high as one cell of its zoom shows eight rows of cells."""


class QueryStore(ContractStore):
    """On whatever database Django is connected to; makes its own project and model there."""

    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    kind = "in process, on PostgreSQL"
    batch_size = 2_500

    def open(self, *, new: bool) -> None:
        # All at once, so that a run measures one state of the code.
        from inference_store.models import Project, RegisteredModel
        from inference_store.query import cells, pages, statistics
        from inference_store.services import deletion, ingest

        self.pages, self.statistics_, self.cells = pages, statistics, cells
        self.deletion, self.ingest = deletion, ingest
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
        if new:
            database.expect_searches(ours.MODEL_ID)

    def insert(self, records: list[Record], vectors: Array | None) -> None:
        self.ingest.store_inferences(model=self.model, requests=ours.storage_requests(records, vectors))

    def fills_at(self, workload: Workload) -> bool:
        return workload.embeddings is None and workload.size >= FILLED_FROM

    def fill(self, workload: Workload) -> None:
        filling.fill(self.model, workload)

    def finish(self) -> None:
        database.settle()

    def bytes_held(self) -> dict[str, int]:
        return database.bytes_held()

    def page(self, request: NewGetInferencesRequest) -> list[Inference]:
        return self.pages.inference_page(self.model, request).inferences

    def count(self, filters: BaseInferenceFilter) -> int:
        return self.pages.count_inferences(self.model, NewGetInferencesRequest(filters=filters))

    def statistics(self, request: NewGetMetadataStatisticsRequest) -> MetadataStatistics:
        return self.statistics_.metadata_statistics(self.model, request)

    def one(self, identity: str) -> Inference | None:
        return self.pages.one_inference(self.model, identity)

    def map_of(self, south: float, west: float, north: float, east: float) -> int:
        """How many inferences a map of that viewport shows."""
        viewport = Viewport(south=south, west=west, north=north, east=east)
        zoom = math.floor(math.log2(LARGEST_CELL_DEGREES / (north - south))) + ZOOM_OF_A_MAP
        return self.cells.map_cells(self.model, NewMapCellsRequest(viewport=viewport, zoom=zoom)).count

    def next_cursor(self, request: NewGetInferencesRequest) -> str | None:
        return self.pages.inference_page(self.model, request).next_cursor

    def delete(self, filters: BaseInferenceFilter) -> int:
        return len(self.deletion.delete_matching(model=self.model, filters=filters))


class Adapter(QueryStore):
    """On a PostgreSQL of its own, in its directory."""

    def open(self, *, new: bool) -> None:
        database.use(self.directory / "home")
        from django.core.management import call_command

        from inference_store.embedded.postgres import Postgres

        self.server = Postgres()
        self.server.start()
        call_command("migrate", verbosity=0)
        super().open(new=new)

    def close(self) -> None:
        database.disconnect()
        self.server.stop()
