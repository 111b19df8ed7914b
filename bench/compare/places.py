"""Where the benchmark keeps its things: all of it under build/bench/ and free to be removed."""

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
REQUIREMENTS = Path(__file__).parent / "requirements"
BUILD = CHECKOUT / "build" / "bench"
VENVS = BUILD / "venvs"
WORKLOADS = BUILD / "workloads"
STORES = BUILD / "stores"
LOGS = BUILD / "logs"


def venv_python(system: str) -> Path:
    return VENVS / system / "bin" / "python"
