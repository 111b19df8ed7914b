"""What an export can be: one writer a format, inferences in, bytes out."""

from inference_store.archive.base import Plan, Writer
from inference_store.archive.coco import Coco
from inference_store.archive.csv_table import CsvTable
from inference_store.archive.inference_archive import InferenceArchive
from inference_store.archive.jsonl import Jsonl
from inference_store.archive.parquet import Parquet
from inference_store.archive.yolo import Yolo
from inference_store.contract.enums import ExportFormat

__all__ = ["WRITERS", "Plan", "Writer"]

WRITERS: dict[str, type[Writer]] = {
    ExportFormat.ARCHIVE.value: InferenceArchive,
    ExportFormat.COCO.value: Coco,
    ExportFormat.YOLO.value: Yolo,
    ExportFormat.PARQUET.value: Parquet,
    ExportFormat.JSONL.value: Jsonl,
    ExportFormat.CSV.value: CsvTable,
}
