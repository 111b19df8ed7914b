"""CSV: one row an inference, safe to open in a spreadsheet."""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from inference_store.archive.base import Joined, Output, Piece, json_bytes
from inference_store.archive.table import ENTRIES, VECTOR, TableWriter
from inference_store.query.embeddings import spelled
from inference_store.query.whole import WholeInference

INFERENCES = "inferences.csv"
FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
"""What a spreadsheet takes for a formula, or would once the quotes before it were taken off."""


class CsvTable(TableWriter):
    """`inferences.csv`: UTF-8, commas, lines end in CR LF; what is not there is an empty cell."""

    def inference(self, whole: WholeInference) -> Iterator[Output]:
        row = self.row(whole)
        cells = (_cell(kind, row.get(name)) for name, kind in self.columns.items())
        yield Piece(INFERENCES, _line(cells))

    def closing(self) -> Iterator[Joined]:
        yield Joined(INFERENCES, [_line(self.columns), INFERENCES])


def _line(cells: Iterable[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()


def _cell(kind: str, value: Any) -> Any:
    """Numbers stay numbers; any text that is not ours to choose is made harmless."""
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if kind == ENTRIES:
        return json_bytes(value).decode()
    return spelled(value) if kind == VECTOR else neutral(value)


def neutral(text: str) -> str:
    """With a leading quote where a spreadsheet would compute; take one off to have it back."""
    return f"'{text}" if FORMULA.match(text) else text
