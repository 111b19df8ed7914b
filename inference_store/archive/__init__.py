"""What an export can be: one writer a format, inferences in, bytes out."""

from inference_store.archive.base import Plan, Writer
from inference_store.archive.inference_archive import InferenceArchive
from inference_store.contract.enums import ExportFormat

__all__ = ["WRITERS", "Plan", "Writer"]

WRITERS: dict[str, type[Writer]] = {
    ExportFormat.ARCHIVE.value: InferenceArchive,
}
