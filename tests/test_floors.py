"""Imports go down the floors of the house, or sideways without a cycle; never up."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FLOORS = [
    # Ground first. Each entry: what stands on that floor.
    ["inference_store.contract", "inference_store.embedded"],
    [
        "inference_store.client",
        "inference_store.calling",
        "inference_store.counters",
        "inference_store.logs",
        "inference_store.sentry",
        "inference_store.sessions",
        "inference_store.settings",
        "inference_store.variables",
        "inference_store.statements",
        "inference_store.postgresql",
    ],
    ["inference_store.replica"],
    [
        "inference_store.models",
        "inference_store.role_mapping",
        "inference_store.openid_checks",
        "inference_store.checks",
        "inference_store.demo",
    ],
    ["inference_store.blobs", "inference_store.query"],
    ["inference_store.archive", "inference_store.services"],
    ["inference_store.audit_filterset", "inference_store.filtersets", "inference_store.tasks"],
    [
        "inference_store.api",
        "inference_store.draining",
        "inference_store.probes",
        "inference_store.admin",
        "inference_store.openid",
        "inference_store.management",
        "dashboard",
    ],
]
OUTSIDE = ["inference_store.apps", "inference_store.celery", "inference_store.urls", "inference_store.wsgi"]
OUTSIDE += ["inference_store.migrations"]
GROUND_KNOWS = {
    "inference_store.contract": ["pydantic", "pydantic_core"],
    "inference_store.client": ["httpx", "pydantic", "pydantic_core", "pandas", "pyarrow", "tqdm"],
}


def modules() -> list[tuple[str, Path]]:
    paths = [*ROOT.glob("inference_store/**/*.py"), *ROOT.glob("dashboard/**/*.py")]
    return [
        (".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path)
        for path in sorted(paths)
    ]


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def room(name: str) -> str | None:
    rooms = [room for floor in FLOORS for room in floor]
    return next((room for room in rooms if name == room or name.startswith(f"{room}.")), None)


def floor(name: str) -> int | None:
    return next((level for level, rooms in enumerate(FLOORS) if room(name) in rooms), None)


@pytest.mark.parametrize(
    ("name", "path"), modules(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_module_imports_only_downward(name: str, path: Path) -> None:
    if name == "inference_store" or any(name == each or name.startswith(f"{each}.") for each in OUTSIDE):
        return
    own = floor(name)
    assert own is not None, f"{name} stands on no floor: add it to FLOORS"
    above = {each for each in imports(path) if (level := floor(each)) is not None and level > own}
    assert not above, f"{name} imports upward: {sorted(above)}"


@pytest.mark.parametrize("ground", GROUND_KNOWS)
def test_the_ground_needs_little(ground: str) -> None:
    import sys

    for name, path in modules():
        if room(name) != ground:
            continue
        for each in imports(path):
            top = each.split(".")[0]
            allowed = top in sys.stdlib_module_names or top in GROUND_KNOWS[ground]
            ours = room(each) in {ground, "inference_store.contract"}
            assert allowed or ours or each == "inference_store", f"{name} imports {each}"


def test_rooms_on_one_floor_have_no_cycle() -> None:
    edges: dict[str, set[str]] = {}
    for name, path in modules():
        if here := room(name):
            edges.setdefault(here, set()).update(there for each in imports(path) if (there := room(each)))
    done: set[str] = set()

    def visit(here: str, trail: tuple[str, ...]) -> None:
        assert here not in trail, f"cycle: {' -> '.join((*trail, here))}"
        if here not in done:
            for there in sorted(edges.get(here, set()) - {here}):
                visit(there, (*trail, here))
            done.add(here)

    for each in edges:
        visit(each, ())
