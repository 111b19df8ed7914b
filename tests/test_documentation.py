"""Documentation that cannot rot."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_variable_is_documented() -> None:
    settings = (ROOT / "inference_store/settings.py").read_text()
    read = set(re.findall(r'(?:env\.\w+|number|flag|choice)\(\s*"([A-Z_]+)"', settings))
    documented = set(re.findall(r"^\| `([A-Z_]+)`", (ROOT / "docs/settings.md").read_text(), re.MULTILINE))
    assert read
    assert read - documented == set()
    assert documented - read - {"INFERENCE_STORE_HOME"} == set()


def test_every_make_target_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in ("README.md", "CONTRIBUTING.md"):
        for line in re.findall(r"^    make ([a-z -]+)", (ROOT / name).read_text(), re.MULTILINE):
            assert set(line.split()) <= targets, name
