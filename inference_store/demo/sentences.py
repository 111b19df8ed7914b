"""Text Embedding: sentences of real documentation, by latent semantic analysis (TF-IDF, then SVD).

The texts are scikit-learn's descriptions of its datasets and the chapters on Python that Python carries for
its own `help()`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, resources

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from inference_store.contract.enums import InferenceAction, TaskType
from inference_store.demo.base import DemoModel, Sample

EMBEDDING_SIZE = 96
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
MARKUP = re.compile(r":\w+:`~?([^`<]*)[^`]*`|[*`|]|\[[\d\w]+\]_?")
WORDS = range(8, 41)
PLAIN_SHARE = 0.93


@dataclass(frozen=True, slots=True)
class Sentence:
    text: str
    book: str
    chapter: str
    position: int


def _chapters() -> Iterator[tuple[str, str, str]]:
    """Book, chapter, text."""
    for file in sorted(resources.files("sklearn.datasets.descr").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".rst"):
            yield (
                "datasets",
                file.name.removesuffix(".rst").replace("_", " "),
                file.read_text(encoding="utf-8"),
            )
    topics: dict[str, str] = import_module("pydoc_data.topics").topics
    for topic in sorted(topics):
        yield "python", topic, topics[topic]


def sentences() -> list[Sentence]:
    """Every plain sentence of every chapter once, chapters taken in turn."""
    known: set[str] = set()
    found = []
    for book, chapter, text in _chapters():
        paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if _prose(part)]
        whole = [sentence for paragraph in paragraphs for sentence in SENTENCE.split(paragraph)]
        for position, spelt in enumerate(whole):
            plain = MARKUP.sub(r"\1", spelt).strip()
            if _plain(plain) and plain not in known:
                known.add(plain)
                found.append(Sentence(plain, book, chapter, position))
    turn: dict[str, int] = {}
    order = []
    for sentence in found:
        turn[sentence.chapter] = turn.get(sentence.chapter, -1) + 1
        order.append(turn[sentence.chapter])
    return [sentence for _, sentence in sorted(zip(order, found, strict=True), key=lambda pair: pair[0])]


def _prose(paragraph: str) -> bool:
    return not re.search(r">>>|::=|^\s*\.\. |^\s*:\w|[-=+]{4,}", paragraph, re.MULTILINE)


def _plain(sentence: str) -> bool:
    letters = sum(char.isalpha() or char in " ,." for char in sentence)
    return (
        sentence[:1].isupper()
        and sentence.endswith((".", "!", "?"))
        and len(sentence.split()) in WORDS
        and letters >= PLAIN_SHARE * len(sentence)
    )


def samples(count: int) -> Iterator[Sample]:
    everything = sentences()
    texts = [sentence.text for sentence in everything]
    terms = TfidfVectorizer(stop_words="english", sublinear_tf=True, min_df=2).fit_transform(texts)
    vectors = TruncatedSVD(EMBEDDING_SIZE, random_state=7).fit_transform(terms)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors / np.maximum(lengths, 1e-9)
    for number, sentence in enumerate(everything[:count]):
        yield Sample(
            number=number,
            blob=sentence.text.encode(),
            embedding=[round(float(value), 6) for value in vectors[number]],
            metadata={
                "book": sentence.book,
                "chapter": sentence.chapter,
                "words": len(sentence.text.split()),
                "explained": round(float(lengths[number, 0]), 5),
                "position": {"chapter": sentence.chapter, "sentence": sentence.position},
            },
        )


MODEL = DemoModel(
    "sentence-embedder",
    TaskType.TEXT_EMBEDDING,
    InferenceAction.EMBED,
    count=500,
    samples=samples,
    embedding_size=EMBEDDING_SIZE,
)
