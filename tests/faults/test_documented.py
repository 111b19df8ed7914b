"""docs/faults.md names each fault, and tests that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
ROW = re.compile(r"^\| (\d+) \|.*\| ([^|]*) \|$", re.MULTILINE)
FAULTS = range(1, 27)


def test_each_fault_names_its_tests() -> None:
    rows = dict(ROW.findall((ROOT / "docs/faults.md").read_text()))
    assert [int(number) for number in rows] == list(FAULTS)
    named = {path for tests in rows.values() for path in re.findall(r"`(tests/[^`]+)`", tests)}
    assert not [path for path in named if not (ROOT / path).is_file()]
    gathered = {f"tests/faults/{path.name}" for path in Path(__file__).parent.glob("test_row_*.py")}
    assert gathered <= named
