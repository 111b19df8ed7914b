"""What was measured, as a table in Markdown."""

from typing import Any

from bench.compare.operations import OPERATIONS
from bench.compare.process import OURS

ENOUGH_RECALL = 0.99
Results = dict[str, Any]


def table(results: Results) -> str:
    """Medians in milliseconds, and in brackets how many times this store's each of the others' is."""
    systems = [name for name in results["systems"] if "error" not in results["systems"][name]["loaded"]]
    if not systems:
        return "No system could be loaded.\n"
    ours = next((system for system in systems if system in OURS), systems[0])
    lines = [
        "| | " + " | ".join(systems) + " |",
        "|---" * (len(systems) + 1) + "|",
        *(
            f"| {code} {OPERATIONS[code].title} | "
            + " | ".join(cell(results, system, ours, code) for system in systems)
            + " |"
            for code in results["operations"]
        ),
        *_ingest_lines(results, systems),
    ]
    return "\n".join(lines) + "\n" + _notes(results)


def cell(results: Results, system: str, ours: str, code: str) -> str:
    """`–` is impossible, `*` computed by the system's client from more than the answer."""
    measured = results["systems"][system]["operations"][code]
    if measured["impossible"]:
        return "–"
    if measured["error"]:
        return "error"
    text = _milliseconds(measured["median_ms"])
    if code in results["systems"][system]["loaded"]["emulated"]:
        text += "*"
    base = results["systems"][ours]["operations"][code]["median_ms"]
    if system != ours and base:
        text += f" ({_ratio(measured['median_ms'] / base)} ×)"
    if measured["recall"] is not None and measured["recall"] < ENOUGH_RECALL:
        text += f" recall {measured['recall']:.3f}"
    return text + " **wrong**" if measured["wrong"] else text


def _milliseconds(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def _ratio(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


def _ingest_lines(results: Results, systems: list[str]) -> list[str]:
    asked = {
        "single inserts /s": "singles_per_second",
        "single inserts /s, several clients": "singles_per_second_together",
        "batched inserts /s": "batched_per_second",
        "batched inserts /s, indexes built": "loaded_per_second",
    }
    lines = []
    for title, name in asked.items():
        rates = [results["systems"][system]["loaded"].get(name) for system in systems]
        if any(rates):
            texts = [f"{rate:,.0f}" if rate else "–" for rate in rates]
            lines.append(f"| {title} | " + " | ".join(texts) + " |")
    return lines


def _notes(results: Results) -> str:
    lines = [""]
    for name, system in results["systems"].items():
        loaded = system["loaded"]
        if "error" in loaded:
            lines.append(f"- {name}: not loaded: {loaded['error']}")
            continue
        lines.append(f"- {name}: {loaded['version']}, {loaded['kind']}")
        for code, measured in system["operations"].items():
            lines += [f"  - {code}: {measured['error']}"] if measured["error"] else []
            lines += [f"  - {code} wrong: {text}" for text in measured["wrong"]]
        if loaded.get("bytes_each"):
            parts = ", ".join(f"{part} {size:,.0f}" for part, size in loaded["bytes_each"].items())
            total = sum(loaded["bytes_each"].values())
            lines.append(f"  - bytes an inference: {total:,.0f} ({parts})")
    if results["skipped"]:
        lines.append(f"- skipped, as not installed: {', '.join(results['skipped'])}")
    return "\n".join(lines) + "\n"
