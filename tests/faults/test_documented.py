"""docs/faults.md says of each fault what happens and what is seen, and names tests that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
FAULTS = range(1, 27)
FOUND = {int(number): rest for number, *rest in ROW.findall((ROOT / "docs/faults.md").read_text())}


def test_each_fault_is_told_once() -> None:
    numbers = [int(number) for number, *_ in ROW.findall((ROOT / "docs/faults.md").read_text())]
    assert numbers == list(FAULTS)


@pytest.mark.parametrize("number", FAULTS)
def test_each_is_tried_by_a_file_of_its_own(number: int) -> None:
    fault, seen, tests = FOUND[number]
    named = re.findall(r"`(tests/[^`]+)`", tests)
    assert len(fault) > 10, "it says what the fault is"
    assert len(seen) > 10, "it says what happens"
    assert not [path for path in named if not (ROOT / path).is_file()]
    own = [f"tests/faults/{path.name}" for path in (ROOT / "tests/faults").glob(f"test_row_{number:02}_*.py")]
    assert own, "there is no tests/faults/test_row_… of it"
    assert set(own) <= set(named)
    for path in own:
        assert "\ndef test_" in (ROOT / path).read_text(), f"{path} has no test"
