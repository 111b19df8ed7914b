"""The operations of this store by its contract's requests, whichever way those travel."""

from abc import abstractmethod

from bench.compare.stores import contract_objects as ours
from bench.compare.stores.base import Answer, Store
from bench.compare.workload import Array, Record
from inference_store.contract.filters import BaseInferenceFilter, NewGetInferencesRequest
from inference_store.contract.inferences import Inference
from inference_store.contract.metadata import MetadataStatistics, NewGetMetadataStatisticsRequest


class ContractStore(Store):
    @abstractmethod
    def page(self, request: NewGetInferencesRequest) -> list[Inference]: ...

    @abstractmethod
    def count(self, filters: BaseInferenceFilter) -> int: ...

    @abstractmethod
    def statistics(self, request: NewGetMetadataStatisticsRequest) -> MetadataStatistics: ...

    @abstractmethod
    def delete(self, filters: BaseInferenceFilter) -> int: ...

    def plain(self, found: Inference) -> Record:
        return ours.record_of(found)

    def day_page(self, start: float, end: float) -> Answer:
        return Answer(records=self.page(ours.newest(ours.in_window(start, end))))

    def sensor_page(self, sensor: str) -> Answer:
        return self._page_and_count(ours.of_sensor(sensor))

    def ranges_page(self, altitude: float, frame: int) -> Answer:
        return self._page_and_count(ours.in_ranges(altitude, frame))

    def wind_count(self, speed: float) -> Answer:
        return Answer(count=self.count(ours.windier(speed)))

    def circle_page(self, latitude: float, longitude: float, meters: float) -> Answer:
        return self._page_and_count(ours.in_circle(latitude, longitude, meters))

    def rectangle_count(self, south: float, north: float, west: float, east: float) -> Answer:
        return Answer(count=self.count(ours.in_rectangle(south, north, west, east)))

    def entry_page(self, labels: list[str], score: float) -> Answer:
        return self._page_and_count(ours.with_entry(labels, score))

    def nearest(self, vector: Array) -> Answer:
        return Answer(records=self.page(ours.nearest(vector, BaseInferenceFilter())))

    def nearest_filtered(self, vector: Array, sensor: str, start: float) -> Answer:
        return Answer(records=self.page(ours.nearest(vector, ours.of_sensor_since(sensor, start))))

    def altitude_histogram(self, start: float, end: float) -> Answer:
        found = self.statistics(ours.altitude_statistics(ours.in_window(start, end)))
        return Answer(histogram=ours.histogram_of(found))

    def sensor_values(self) -> Answer:
        return Answer(values=ours.values_of(self.statistics(ours.sensor_statistics())))

    def deep_page(self, offset: int) -> Answer:
        return Answer(records=self.page(ours.newest(BaseInferenceFilter(), offset)))

    def delete_sensor(self, sensor: str) -> Answer:
        return Answer(count=self.delete(ours.of_sensor(sensor)))

    def _page_and_count(self, filters: BaseInferenceFilter) -> Answer:
        return Answer(self.page(ours.newest(filters)), self.count(filters))
