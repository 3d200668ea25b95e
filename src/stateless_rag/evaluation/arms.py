"""What is compared: the engine's modes, plain search by vectors and by words, and recorded rankings."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, get_args

from stateless_rag.errors import InvalidInput
from stateless_rag.evaluation.bm25 import BM25
from stateless_rag.evaluation.metrics import DEPTH
from stateless_rag.providers.cooccurrence import builtin_keywords
from stateless_rag.retrieval.render import context_text, references_of
from stateless_rag.settings import QueryOptions
from stateless_rag.types import Keywords, Mode, Passage

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
    from stateless_rag.evaluation.dataset import Dataset, Question
    from stateless_rag.evaluation.embedding import MeasuredEmbedder
    from stateless_rag.types import Retrieval

__all__ = [
    "YARDSTICKS",
    "Arm",
    "EngineArm",
    "Outcome",
    "RecordedArm",
    "WordsArm",
    "chosen_modes",
    "engine_arms",
    "keywords_of",
    "query_texts",
]

YARDSTICKS = ("dense", "bm25")
"""The arms that are always there: the nearest passages by cosine, and the best by BM25."""

_NOT_LLM = frozenset({"embed", "embed_query", "rerank"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an arm found for a question: ids of passages, best first, each once, at most `DEPTH`.

    `ms` is the time without that for embedding the question, `steps` the same for each step. None where it
    was not measured.
    """

    ranked: tuple[str, ...]
    ms: float | None = None
    steps: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    context_tokens: int | None = None
    llm_calls: int | None = None


class Arm(Protocol):
    """One way to find passages."""

    @property
    def name(self) -> str:
        """How results name it."""

    async def ask(self, question: Question) -> Outcome:
        """Find passages for one question."""


def keywords_of(question: Question) -> Keywords:
    """The question's keywords: those of its file, else those of the built-in reader. All arms get the same."""
    if question.high_level or question.low_level:
        return Keywords(high_level=question.high_level, low_level=question.low_level)
    return builtin_keywords(question.text)


def query_texts(questions: Sequence[Question]) -> list[str]:
    """What the engine embeds of the questions: themselves, and their keywords of each level."""
    found: list[str] = []
    for question in questions:
        words = keywords_of(question)
        found += [question.text, ", ".join(words.low_level), ", ".join(words.high_level)]
    return [text for text in dict.fromkeys(found) if text]


def chosen_modes(names: Sequence[str] = ()) -> tuple[str, ...]:
    """The modes of the engine to be compared: those named, or all. Raises InvalidInput for a name that is none.

    The yardsticks may be named too, but are there anyway.
    """
    modes = tuple(mode for mode in get_args(Mode) if mode != "bypass")
    unknown = [name for name in names if name not in (*modes, *YARDSTICKS)]
    if unknown:
        raise InvalidInput(
            f"there is no mode {', '.join(map(repr, unknown))} to compare; choose of {', '.join(modes)} "
            f"({' and '.join(YARDSTICKS)} are always there)"
        )
    wanted = tuple(mode for mode in modes if mode in names)
    return wanted if names else modes


def engine_arms(
    engine: Engine, embedder: MeasuredEmbedder, dataset: Dataset, modes: Sequence[str]
) -> list[Arm]:
    """The modes and the yardsticks on an engine that holds the dataset's corpus."""
    arms: list[Arm] = [EngineArm(engine, embedder, mode, {"mode": mode}) for mode in modes]
    arms.append(EngineArm(engine, embedder, "dense", {"mode": "naive", "min_similarity": -1.0}))
    arms.append(WordsArm(dataset, engine.context.tokenizer.count))
    return arms


class EngineArm:
    """`Engine.retrieve` with certain options. `waited` of the embedder is taken off its times."""

    def __init__(
        self, engine: Engine, embedder: MeasuredEmbedder, name: str, options: Mapping[str, Any]
    ) -> None:
        self._engine = engine
        self._embedder = embedder
        self._name = name
        self._options = QueryOptions(chunk_top_k=DEPTH, **options)

    @property
    def name(self) -> str:
        """The mode, or what the options make of it."""
        return self._name

    async def ask(self, question: Question) -> Outcome:
        """As the protocol says."""
        words = keywords_of(question)
        clock, waited = self._engine.context.clock.monotonic, self._embedder.waited
        started = clock()
        found = await self._engine.retrieve(
            question.text,
            options=self._options,
            high_level_keywords=words.high_level,
            low_level_keywords=words.low_level,
        )
        embedding = (self._embedder.waited - waited) * 1000
        ms = max(0.0, (clock() - started) * 1000 - embedding)
        return _outcome(found, ms, embedding, self._engine.context.tokenizer.count)


def _outcome(found: Retrieval, ms: float, embedding: float, count: Callable[[str], int]) -> Outcome:
    steps = dict(found.timings)
    if "embed" in steps:
        steps["embed"] = max(0.0, steps["embed"] - embedding)
    ranked = dict.fromkeys(passage.document_id for passage in found.passages)
    return Outcome(
        ranked=tuple(ranked)[:DEPTH],
        ms=ms,
        steps=steps,
        context_tokens=count(found.context),
        llm_calls=sum(usage.calls for purpose, usage in found.usage.items() if purpose not in _NOT_LLM),
    )


class WordsArm:
    """BM25 over the dataset's passages, in memory."""

    def __init__(
        self, dataset: Dataset, count: Callable[[str], int], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._corpus = dataset.corpus
        self._index = BM25([item.passage for item in dataset.corpus])
        self._count = count
        self._clock = clock

    @property
    def name(self) -> str:
        """Of the yardstick."""
        return "bm25"

    async def ask(self, question: Question) -> Outcome:
        """As the protocol says. The context is the one that the naive mode would make of its passages."""
        started = self._clock()
        hits = self._index.search(question.text, DEPTH)
        ms = (self._clock() - started) * 1000
        passages = [self._passage(place, score) for place, score in hits]
        context = context_text((), (), passages, references_of(passages), graph=False) if passages else ""
        return Outcome(
            ranked=tuple(passage.document_id for passage in passages),
            ms=ms,
            steps={"search": ms},
            context_tokens=self._count(context),
            llm_calls=0,
        )

    def _passage(self, place: int, score: float) -> Passage:
        item = self._corpus[place]
        return Passage(
            chunk_id=item.id,
            document_id=item.id,
            source=None,
            ordinal=0,
            start=0,
            stop=len(item.passage),
            text=item.passage,
            tokens=0,
            score=score,
        )


class RecordedArm:
    """Rankings that another program returned, by the questions' ids. Nothing else is known of it."""

    def __init__(self, name: str, ranked: Mapping[str, Sequence[str]]) -> None:
        self._name = name
        self._ranked = ranked

    @property
    def name(self) -> str:
        """The program and its mode."""
        return self._name

    async def ask(self, question: Question) -> Outcome:
        """As the protocol says."""
        return Outcome(ranked=tuple(dict.fromkeys(self._ranked[question.id]))[:DEPTH])
