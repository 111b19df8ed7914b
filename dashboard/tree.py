"""JSON and embeddings, made ready to be looked at."""

import json
import math
from dataclasses import dataclass, field
from typing import Any

MOST_NODES = 1_500
DEEPEST = 30
LONGEST_SCALAR = 300
SPARK_BARS = 64


@dataclass
class Node:
    """A JSON value: a scalar in words, or its children. `name` is its key or position."""

    name: str
    kind: str
    words: str
    children: list["Node"] = field(default_factory=list)
    hidden: int = 0


@dataclass
class Budget:
    """How many more nodes a page can hold."""

    left: int = MOST_NODES


def _scalar(name: str, value: Any) -> Node:
    kind = {str: "string", bool: "literal", type(None): "literal"}.get(type(value), "number")
    words = json.dumps(value, ensure_ascii=False)
    return Node(name, kind, words if len(words) <= LONGEST_SCALAR else words[: LONGEST_SCALAR - 1] + "…")


def _node(name: str, value: Any, depth: int, budget: Budget) -> Node:
    if not isinstance(value, dict | list):
        return _scalar(name, value)
    pairs = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    noun = "keys" if isinstance(value, dict) else "items"
    node = Node(name, "branch", f"{len(pairs):,} {noun if len(pairs) != 1 else noun[:-1]}")
    for key, item in pairs:
        if budget.left <= 0 or depth >= DEEPEST:
            break
        budget.left -= 1
        node.children.append(_node(str(key), item, depth + 1, budget))
    node.hidden = len(pairs) - len(node.children)
    return node


def tree(text: str, budget: Budget) -> Node | None:
    """The JSON that `text` spells, as many nodes as are left and so deep; None where it spells none."""
    try:
        return _node("", json.loads(text), 0, budget)
    except (ValueError, RecursionError):
        return None


@dataclass(frozen=True)
class Bar:
    x: int
    y: float
    height: float


@dataclass(frozen=True)
class EmbeddingSummary:
    """What one can say of a vector at a glance; bars go up and down from the middle of 40 units."""

    size: int
    norm: str
    mean: str
    low: str
    high: str
    bars: list[Bar]
    first: str


def embedding_summary(vector: list[int | float]) -> EmbeddingSummary | None:
    if not vector:
        return None
    low, high = min(vector), max(vector)
    largest = max(abs(low), abs(high)) or 1
    step = max(1, math.ceil(len(vector) / SPARK_BARS))
    bars = []
    for x, at in enumerate(range(0, len(vector), step)):
        part = vector[at : at + step]
        height = max(0.5, abs(sum(part) / len(part)) / largest * 20)
        bars.append(Bar(x, round(20 - height if sum(part) > 0 else 20, 2), round(height, 2)))
    return EmbeddingSummary(
        size=len(vector),
        norm=f"{math.hypot(*vector):.4g}",
        mean=f"{math.fsum(vector) / len(vector):.4g}",
        low=f"{low:.4g}",
        high=f"{high:.4g}",
        bars=bars,
        first=", ".join(f"{number:.4g}" for number in vector[:8]) + (", …" if len(vector) > 8 else ""),
    )
