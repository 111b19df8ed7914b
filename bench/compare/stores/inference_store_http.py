"""This store as `make up` runs it, asked over HTTP by its SDK."""

import sys

import httpx

import inference_store.client as istore
from bench.compare.places import CHECKOUT
from bench.compare.stores import contract_objects as ours
from bench.compare.stores import database, servers
from bench.compare.stores.contract_store import ContractStore
from bench.compare.stores.inference_store_query import QueryStore
from bench.compare.workload import DIMENSIONS, Array, Record
from inference_store.client import inference, metadata, register
from inference_store.contract.enums import TaskType
from inference_store.contract.filters import BaseInferenceFilter, NewGetInferencesRequest
from inference_store.contract.inferences import Inference, NewRegisterModelRequest
from inference_store.contract.metadata import MetadataStatistics, NewGetMetadataStatisticsRequest

SECONDS_AN_ANSWER = 600.0


class Adapter(ContractStore):
    version = QueryStore.version
    kind = "server, over HTTP by its SDK"
    batch_size = 20_000
    clients = 8

    def open(self, *, new: bool) -> None:
        home, port = self.directory / "home", servers.free_port()
        environment = {"INFERENCE_STORE_HOME": str(home), "DATABASE_URL": "", "REDIS_URL": ""}
        up = [sys.executable, str(CHECKOUT / "manage.py"), "up", "--no-demo", "--port", str(port)]
        self.server = servers.start(up, environment)
        servers.wait_for(port, self._is_alive)
        self.url, self.token = f"http://127.0.0.1:{port}", (home / "first_token").read_text().strip()
        # A worker that still loads would take its share of what is measured.
        servers.wait_until(self._has_worker, self._is_alive)
        istore.connect(self.url, self.token, timeout=SECONDS_AN_ANSWER)
        if new:
            register.create_project(ours.PROJECT_ID)
            register.register_model_for_inference_storage(
                NewRegisterModelRequest(
                    model_id=ours.MODEL_ID,
                    project_id=ours.PROJECT_ID,
                    task_type=TaskType.OBJECT_DETECTION,
                    embedding_size=DIMENSIONS if self.embedded else 0,
                )
            )
        database.use(home)
        if new:
            database.expect_searches(ours.MODEL_ID)

    def _is_alive(self) -> bool:
        return self.server.poll() is None

    def _has_worker(self) -> bool:
        answer = httpx.get(f"{self.url}/readyz", timeout=servers.PATIENCE_SECONDS)
        return bool(answer.json()["parts"]["jobs"] == "ok")

    def insert(self, records: list[Record], vectors: Array | None) -> None:
        inference.create_inferences(ours.MODEL_ID, ours.each_storage_request(records, vectors))

    def insert_one(self, record: Record, vector: Array | None) -> None:
        inference.create_inference(ours.MODEL_ID, ours.storage_request(record, vector))

    def finish(self) -> None:
        database.settle()

    def bytes_held(self) -> dict[str, int]:
        return database.bytes_held()

    def close(self) -> None:
        istore.disconnect()
        database.disconnect()
        servers.stop(self.server)

    def page(self, request: NewGetInferencesRequest) -> list[Inference]:
        return inference.filter_inferences(ours.MODEL_ID, request)

    def count(self, filters: BaseInferenceFilter) -> int:
        return inference.count_inferences(ours.MODEL_ID, NewGetInferencesRequest(filters=filters))

    def statistics(self, request: NewGetMetadataStatisticsRequest) -> MetadataStatistics:
        found = metadata.get_metadata_statistics(ours.MODEL_ID, request)
        assert found is not None
        return found

    def delete(self, filters: BaseInferenceFilter) -> int:
        return len(inference.bulk_delete_inferences(ours.MODEL_ID, filters))
