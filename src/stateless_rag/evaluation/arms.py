"""What is compared: the engine's modes, plain search by vectors and by words, and recorded rankings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, get_args

from stateless_rag.errors import InvalidInput
from stateless_rag.evaluation.corpus import WordsOnly
from stateless_rag.evaluation.metrics import DEPTH
from stateless_rag.providers.cooccurrence import builtin_keywords
from stateless_rag.settings import QueryOptions
from stateless_rag.types import Keywords, Mode

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from stateless_rag.engine import Engine
    from stateless_rag.evaluation.corpus import Corpus
    from stateless_rag.evaluation.dataset import Dataset, Question
    from stateless_rag.evaluation.embedding import MeasuredEmbedder
    from stateless_rag.types import Retrieval

__all__ = [
    "YARDSTICKS",
    "Arm",
    "EngineArm",
    "Outcome",
    "RecordedArm",
    "ask",
    "chosen_modes",
    "engine_arms",
    "keywords_of",
    "query_texts",
]

YARDSTICKS = ("dense", "bm25")
"""The arms that are always there: the nearest passages by cosine, and the best by the engine's own search by words."""

_ROOM = 10_000_000  # tokens: a ranking is measured to its end, also where ten passages fit no context
_FURTHER = 5
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
    """The question's keywords: those of its file, else those that the built-in reader finds, as the engine does."""
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
    modes = tuple(mode for mode in get_args(Mode) if mode not in ("bypass", "themes"))
    unknown = [name for name in names if name not in (*modes, *YARDSTICKS)]
    if unknown:
        raise InvalidInput(
            f"there is no mode {', '.join(map(repr, unknown))} to compare; choose of {', '.join(modes)} "
            f"({' and '.join(YARDSTICKS)} are always there)"
        )
    wanted = tuple(mode for mode in modes if mode in names)
    return wanted if names else modes


async def engine_arms(
    corpus: Corpus, engine: Engine, embedder: MeasuredEmbedder, modes: Sequence[str], stack: AsyncExitStack
) -> list[Arm]:
    """The modes and the yardsticks on the workspace that holds a corpus; `stack` closes what they need."""
    words = await stack.enter_async_context(corpus.engine(embedder=WordsOnly(embedder)))
    by_words = {"mode": "naive", "on_provider_error": "degrade"}
    return [
        *(EngineArm(engine, embedder, mode, {"mode": mode}) for mode in modes),
        EngineArm(engine, embedder, "dense", {"mode": "naive", "min_similarity": -1.0}),
        EngineArm(words, embedder, "bm25", by_words),
    ]


async def ask(arm: Arm, dataset: Dataset, tell: Callable[[str, int, int], None]) -> list[Outcome]:
    """Ask all questions of an arm, one after the other; `tell` is told the arm, how many are answered, of how many."""
    questions = dataset.questions
    await arm.ask(questions[0])  # what is built on first use is not part of any question's time
    outcomes = []
    for done, question in enumerate(questions, start=1):
        outcomes.append(await arm.ask(question))
        tell(arm.name, done, len(questions))
    return outcomes


class EngineArm:
    """`Engine.retrieve` with certain options. `waited` of the embedder is taken off its times."""

    def __init__(
        self, engine: Engine, embedder: MeasuredEmbedder, name: str, options: Mapping[str, Any]
    ) -> None:
        self._engine = engine
        self._embedder = embedder
        self._name = name
        self._options = QueryOptions(chunk_top_k=DEPTH, max_total_tokens=_ROOM, **options)

    @property
    def name(self) -> str:
        """The mode, or what the options make of it."""
        return self._name

    async def ask(self, question: Question) -> Outcome:
        """As the protocol says."""
        clock, waited = self._engine.context.clock.monotonic, self._embedder.waited
        started = clock()
        found = await self._retrieve(question, self._options)
        embedding = (self._embedder.waited - waited) * 1000
        ms = max(0.0, (clock() - started) * 1000 - embedding)
        outcome = _outcome(found, ms, embedding, self._engine.context.tokenizer.count)
        if len(outcome.ranked) == DEPTH or len(found.passages) < DEPTH:
            return outcome
        # Several passages are of one document: what comes after them counts, but not in time and tokens.
        more = await self._retrieve(question, replace(self._options, chunk_top_k=DEPTH * _FURTHER))
        ranked = dict.fromkeys((*outcome.ranked, *(passage.document_id for passage in more.passages)))
        return replace(outcome, ranked=tuple(ranked)[:DEPTH])

    async def _retrieve(self, question: Question, options: QueryOptions) -> Retrieval:
        return await self._engine.retrieve(
            question.text,
            options=options,
            high_level_keywords=question.high_level,
            low_level_keywords=question.low_level,
        )


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
