"""The explicit object that carries settings, providers, limits and observer to the stages."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from stateless_rag.checks import callback, choice, each_field, instance, optional, provider
from stateless_rag.limits import Limits, Priority
from stateless_rag.prompts import Prompts
from stateless_rag.right_of_way import RightOfWay
from stateless_rag.settings import Settings
from stateless_rag.types import Event, Usage

if TYPE_CHECKING:
    from stateless_rag.budgets import Allowance
    from stateless_rag.protocols import (
        LLM,
        Embedder,
        Extractor,
        FileReader,
        Journal,
        Observer,
        Reranker,
        Tokenizer,
    )

__all__ = ["Clock", "Context", "Meter"]

_ROLES = ("extract", "summarize", "keywords", "answer")


@dataclass(frozen=True, slots=True)
class Clock:
    """Where the time comes from: `wall` in seconds since 1970, `monotonic` for durations, `sleep` to wait."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] | None = None


class Meter:
    """Adds up what the calls of one operation cost, by purpose."""

    def __init__(self, into: Meter | None = None) -> None:
        """What is counted here, and in what `another` makes of it, is counted in `into` as well."""
        self._usage: dict[str, Usage] = {}
        self.into = into

    def add(self, purpose: str, usage: Usage) -> None:
        """Count usage under a purpose."""
        self._usage[purpose] = self._usage.get(purpose, Usage()) + usage
        if self.into is not None:
            self.into.add(purpose, usage)

    def another(self) -> Meter:
        """An empty one for a part of the operation."""
        return Meter(self.into)

    def totals(self) -> Mapping[str, Usage]:
        """What was used so far, by purpose."""
        return MappingProxyType(dict(sorted(self._usage.items())))


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a stage needs besides its values. Frozen; derive a changed one with `derive`.

    A stage calls providers through `stateless_rag.calls`, which applies limits, time-outs, retries, the
    journal and the meter that are named here. `workspace` is the name under which waiting for limits is
    fair; `way` is the right of way that questions on its store have. `deadline` is a reading of `clock.monotonic`.
    `roles` has the LLMs for some kinds of work, `llm` does the rest. `cancelled` is asked when a call's turn has
    come, and keeps it from being made; `allowance`, where there is one, knows whether it may be paid for. `trace_id`
    names the question that is being answered, `document` the one that is being extracted. `renew_truncated`: what the
    journal has of replies that the token limit cut off does not count, they are asked for again.
    """

    settings: Settings = field(default_factory=Settings)
    tokenizer: Tokenizer
    llm: LLM | None = None
    roles: Mapping[str, LLM] = field(default_factory=lambda: MappingProxyType({}))
    embedder: Embedder
    reranker: Reranker | None = None
    extractor: Extractor
    converter: FileReader | None = None
    prompts: Prompts = field(default_factory=Prompts)
    limits: Limits = field(default_factory=Limits)
    way: RightOfWay = field(default_factory=RightOfWay)
    journal: Journal | None = None
    observer: Observer | None = None
    clock: Clock = field(default_factory=Clock)
    meter: Meter = field(default_factory=Meter)
    workspace: str = "default"
    priority: Priority = Priority.INGEST
    deadline: float | None = None
    cancelled: Callable[[], bool] | None = None
    allowance: Allowance | None = None
    trace_id: str | None = None
    document: str | None = None
    renew_truncated: bool = False

    def __post_init__(self) -> None:
        each_field(self, instance, "settings", kind=Settings)
        each_field(self, instance, "prompts", kind=Prompts)
        each_field(self, instance, "limits", kind=Limits)
        each_field(self, instance, "clock", kind=Clock)
        each_field(self, instance, "meter", kind=Meter)
        each_field(self, optional, "observer", check=callback)

    @classmethod
    def create(
        cls,
        *,
        llm: LLM | Callable[..., Any] | None = None,
        roles: Mapping[str, LLM | Callable[..., Any]] | None = None,
        embedder: Embedder | Callable[..., Any] | None = None,
        tokenizer: Tokenizer | None = None,
        extractor: Extractor | None = None,
        reranker: Reranker | Callable[..., Any] | None = None,
        **others: Any,
    ) -> Context:
        """A context with the built-in parts where none is given.

        Without an LLM the built-in extractor works; without an embedder, the built-in hashing embedder; the
        tokenizer is o200k_base. Any async callable is accepted as LLM, embedder or reranker
        (see `stateless_rag.providers.as_llm`, `as_embedder` and `as_reranker`). `roles` names the LLMs for
        extract, summarize, keywords and answer where they are not `llm`. Raises InvalidInput for other roles.
        """
        from stateless_rag.providers import HashingEmbedder, O200kTokenizer, as_embedder, as_llm, as_reranker
        from stateless_rag.stages.extract import CooccurrenceExtractor, LLMExtractor

        optional("tokenizer", tokenizer, provider, members=("name", "count", "offsets"))
        optional("extractor", extractor, provider, members=("generation", "extract"))
        optional("converter", others.get("converter"), provider, members=("convert",))
        model = None if llm is None else as_llm(llm)
        others_by_role = _by_role(roles or {})
        reads = model is not None or "extract" in others_by_role
        built_in: Extractor = LLMExtractor() if reads else CooccurrenceExtractor()
        return cls(
            llm=model,
            roles=others_by_role,
            embedder=HashingEmbedder() if embedder is None else as_embedder(embedder),
            tokenizer=O200kTokenizer() if tokenizer is None else tokenizer,
            extractor=built_in if extractor is None else extractor,
            reranker=None if reranker is None else as_reranker(reranker),
            **others,
        )

    def derive(self, **changes: Any) -> Context:
        """A copy with some fields changed; what is dear to build is shared."""
        return replace(self, **changes)

    def llm_for(self, purpose: str) -> LLM | None:
        """The LLM for requests of a purpose: that of its role, else the one for all."""
        role = {"glean": "extract", "themes": "summarize"}.get(purpose, purpose)
        return self.roles.get(role, self.llm)

    def model_for(self, purpose: str) -> str:
        """The model that calls of a purpose go to; empty if there is none."""
        if purpose in ("embed", "embed_query"):
            return self.embedder.model
        asked = self.reranker if purpose == "rerank" else self.llm_for(purpose)
        return "" if asked is None else asked.model

    def without_llm(self) -> Context:
        """A copy in which nothing can call an LLM."""
        return self.derive(llm=None, roles=MappingProxyType({}))

    def emit(
        self,
        kind: Literal[
            "accepted",
            "unchanged",
            "chunked",
            "extracted",
            "merging",
            "committed",
            "failed",
            "paused",
            "deleted",
            "finished",
            "embedding",
            "reembedded",
            "enabled",
            "disabled",
            "keywords",
            "searching",
            "reranking",
            "summarizing",
            "answering",
            "retrieved",
            "answered",
        ],
        **fields: Any,
    ) -> None:
        """Tell the observer, if there is one."""
        if self.observer is not None:
            self.observer(Event(kind=kind, workspace=self.workspace, trace_id=self.trace_id, **fields))


def _by_role(roles: Mapping[str, LLM | Callable[..., Any]]) -> Mapping[str, LLM]:
    from stateless_rag.providers import as_llm

    return MappingProxyType(
        {choice("a role", role, among=_ROLES): as_llm(llm) for role, llm in roles.items()}
    )
