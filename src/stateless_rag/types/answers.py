"""The read path: what is asked, what is found for it, and the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from stateless_rag.checks import choice, each_field, text
from stateless_rag.types.citations import Citation, Quote, Reference, Unsupported
from stateless_rag.types.communities import Theme
from stateless_rag.types.evidence import Entity, Relation
from stateless_rag.types.reports import UsageByPurpose
from stateless_rag.types.traces import Trace

__all__ = [
    "Answer",
    "Keywords",
    "Message",
    "Mode",
    "Passage",
    "Retrieval",
]

Mode = Literal["naive", "local", "global", "hybrid", "walk", "mix", "themes", "bypass"]
_ROLES = ("user", "assistant", "system")


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. `role` is "user", "assistant" or "system"."""

    role: str
    content: str

    def __post_init__(self) -> None:
        each_field(self, choice, "role", among=_ROLES)
        each_field(self, text, "content")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keywords:
    """What a question is about: themes (`high_level`) and concrete names and terms (`low_level`)."""

    high_level: tuple[str, ...] = ()
    low_level: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A chunk that was found. `found_by` names what led to it.

    In mode mix, `parts` tells what each kind of evidence added to the sum that ranks it, in mode walk the share of
    the walk that ended there.

    `score` follows the rank, higher for better: the reranker's score, and without a reranker 1 for the first
    passage, 1/2 for the second, and so on. `similarity` is the cosine of question and passage; it does not
    follow the rank where entities and relations lead to passages too, and is None where no vectors were
    compared.
    """

    chunk_id: str
    document_id: str
    source: str | None
    ordinal: int
    start: int
    stop: int
    text: str
    tokens: int
    score: float
    similarity: float | None = None
    found_by: tuple[str, ...] = ()
    parts: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    metadata: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """What was found for a question, without an LLM having answered it.

    `entities` and `relations` are ranked, best first, and cut to their budgets; `passages` are ranked and cut
    to theirs, and `references` cite them in the same order. `context` is the text an LLM would be given.
    `found` counts what each step had before the budgets cut it. `degraded` names steps that fell back. `themes` are the
    communities that mode themes picked, heaviest first; behind the passages in `context`, `passages` has those that
    their summaries rest on. `trace` is the record of it.
    """

    question: str
    mode: Mode
    revision: int
    keywords: Keywords
    entities: tuple[Entity, ...]
    relations: tuple[Relation, ...]
    passages: tuple[Passage, ...]
    references: tuple[Reference, ...]
    context: str
    found: Mapping[str, int]
    usage: UsageByPurpose
    timings: Mapping[str, float]
    degraded: tuple[str, ...] = ()
    themes: tuple[Theme, ...] = ()
    trace: Trace | None = field(default=None, compare=False, repr=False)

    @property
    def empty(self) -> bool:
        """Whether nothing at all was found."""
        return not (self.entities or self.relations or self.passages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer and what it rests on.

    `text` is the LLM's; without an LLM it is the best passages, cited; with `only_context` the context; with
    `only_prompt` the prompt; with nothing found, a sentence that says so, and `no_context` is true. `timings`
    are milliseconds per step.

    Where the LLM answers from a context, what it names is checked: `citations` are its marks like [1], `quotes`
    what it quotes and a passage has, `unsupported` references that there are not, which are taken out of the text,
    and quotes of four words or more that no passage has.
    """

    text: str
    references: tuple[Reference, ...]
    context: str
    retrieval: Retrieval
    usage: UsageByPurpose
    timings: Mapping[str, float]
    no_context: bool = False
    truncated: bool = False
    degraded: tuple[str, ...] = ()
    citations: tuple[Citation, ...] = ()
    quotes: tuple[Quote, ...] = ()
    unsupported: tuple[Unsupported, ...] = ()

    @property
    def trace(self) -> Trace | None:
        """The record of how it came about: that of the retrieval, with the prompt that was sent."""
        return self.retrieval.trace

    def replace(self, **changes: Any) -> Answer:
        """A copy with some fields changed."""
        return replace(self, **changes)
