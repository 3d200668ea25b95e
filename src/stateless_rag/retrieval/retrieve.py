"""Retrieval: a question becomes ranked entities, relations and passages, and the context made of them.

keywords → embed → search (seeds, expansion, fusion, budget of the graph) → rerank → budget → render
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from stateless_rag import calls
from stateless_rag.counting import counting
from stateless_rag.errors import InvalidInput, ProviderError
from stateless_rag.limits import Priority
from stateless_rag.retrieval.allowed import Folds
from stateless_rag.retrieval.budget import fit_passages, room
from stateless_rag.retrieval.keywords import keywords
from stateless_rag.retrieval.lost import outcome
from stateless_rag.retrieval.question import checked_question
from stateless_rag.retrieval.render import context_text, references_of, system_prompt
from stateless_rag.retrieval.rerank import reranked, reranks
from stateless_rag.retrieval.search import Found, Plan, search
from stateless_rag.retrieval.summaries import summaries
from stateless_rag.retrieval.unrelated import UNRELATED, floor_for
from stateless_rag.types import Dropped, Expected, Keywords, Retrieval, Trace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from stateless_rag.context import Context
    from stateless_rag.protocols import Journal, Snapshot
    from stateless_rag.retrieval.rerank import Reranked
    from stateless_rag.settings import QueryOptions
    from stateless_rag.types import Passage

__all__ = ["Found", "Plan", "Read", "begin", "retrieve", "search"]

Result = TypeVar("Result")
_BY_KEYWORDS = frozenset({"local", "global", "hybrid"})
_RERANKED = 5  # times chunk_top_k: how many passages a reranker is given


class Read(Protocol):
    """Runs a function on a snapshot of a workspace, in a thread of the store."""

    def __call__(self, query: Callable[[Snapshot], Result], /) -> Awaitable[Result]:
        """Run it and return what it returns."""


class _Laps:
    """Milliseconds per step."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = clock()
        self.timings: dict[str, float] = {}

    def lap(self, step: str) -> None:
        now = self._clock()
        self.timings[step] = (now - self._last) * 1000.0
        self._last = now


def begin(context: Context, options: QueryOptions) -> Context:
    """The context of one question: ahead of ingestion, with a meter of its own, and its deadline set."""
    deadline = context.deadline
    if options.deadline is not None:
        end = context.clock.monotonic() + options.deadline
        deadline = end if deadline is None else min(deadline, end)
    name = context.trace_id or f"trace-{secrets.token_hex(8)}"
    return context.derive(
        priority=Priority.QUERY, deadline=deadline, meter=context.meter.another(), trace_id=name
    )


def _with_threshold(context: Context, options: QueryOptions) -> QueryOptions:
    """The options with the embedder's own least similarity, if the caller wants no other."""
    least = getattr(context.embedder, "min_similarity", None)
    if options.min_similarity is not None or least is None:
        return options
    return replace(options, min_similarity=least)


async def retrieve(
    context: Context,
    read: Read,
    question: str,
    options: QueryOptions,
    *,
    expect: str | None = None,
    kept: Journal | None = None,
) -> Retrieval:
    """Find what answers a question. The only LLM calls are that for keywords, in the modes that use them, and in mode
    themes the `max_summaries` that are asked for; summaries are looked up, and kept, in the journal `kept`.

    `read` runs a function on a snapshot of the workspace. What becomes of the document `expect` is told in the
    trace. Raises InvalidInput, ProviderError (with `on_provider_error="degrade"` the steps fall back instead, and
    `degraded` says so), Overloaded, DeadlineExceeded.
    """
    question = checked_question(question, options)
    context = begin(context, options)
    floor, options = floor_for(context, options), _with_threshold(context, options)
    if options.mode == "bypass":
        return await _bypassed(context, read, question, options, expect)
    if len(question) > options.max_total_tokens:  # too long to be sure that it fits: look before paying
        await _require_prompt(context, question, options)
    laps = _Laps(context.clock.monotonic)
    words, notes = await _keywords(context, question, options, laps)
    context.emit("searching")
    plan, fallbacks = await _plan(context, question, options, words, expect=expect, floor=floor)
    notes.extend(fallbacks)
    laps.lap("embed")
    found = await read(lambda snapshot: search(snapshot, plan))
    notes.extend((UNRELATED,) if found.unrelated else ())
    laps.lap("search")
    said = await summaries(context, found.evidence, options, kept, found.room)
    notes.extend(said.notes)
    if found.evidence:
        laps.lap("themes")
    ranked = await reranked(context, question, options, found.passages)
    notes.extend(ranked.notes)
    laps.lap("rerank")
    shown = fit_passages(ranked.passages, options.chunk_top_k, found.room - said.tokens, plan.count)
    _require_room(found, ranked.passages, shown, options)
    laps.lap("budget")
    passages = [*shown, *said.resting_on(shown)]
    references = references_of(passages)
    themes = said.themes(passages, references)
    text = ""
    if passages or found.entities or found.relations:
        lines, graph = (found.entity_lines, found.relation_lines), options.mode != "naive"
        text = context_text(*lines, shown, references, graph=graph, themes=themes)
    laps.lap("render")
    retrieval = Retrieval(
        question=question,
        mode=options.mode,
        revision=found.revision,
        keywords=words,
        entities=found.entities,
        relations=found.relations,
        passages=tuple(passages),
        references=references,
        context=text,
        found={**found.counts, **said.counts},
        usage=context.meter.totals(),
        timings=laps.timings,
        degraded=tuple(notes),
        themes=themes,
        trace=_trace(context, found, ranked, shown),
    )
    context.emit("retrieved", report=retrieval)
    return retrieval


async def _keywords(
    context: Context, question: str, options: QueryOptions, laps: _Laps
) -> tuple[Keywords, list[str]]:
    """The keywords of a question, none in the modes that use none, and what was degraded."""
    if options.mode not in _BY_KEYWORDS:
        return Keywords(), []
    context.emit("keywords")
    words, fallbacks = await keywords(context, question, options)
    laps.lap("keywords")
    return words, [*fallbacks]


def _trace(context: Context, found: Found, ranked: Reranked, passages: Sequence[Passage]) -> Trace:
    """What search knew, and what was dropped after it and within it."""
    cut = Dropped(
        step="budget",
        entities=found.trace.entities[len(found.entities) :],
        relations=found.trace.relations[len(found.relations) :],
        passages=tuple(ranked.passages[len(passages) :]),
    )
    dropped = (*ranked.dropped, cut) if cut.entities or cut.relations or cut.passages else ranked.dropped
    trace = replace(found.trace, id=context.trace_id or "", models=_models(context), dropped=dropped)
    if trace.expected is None:
        return trace
    return replace(trace, expected=outcome(trace.expected, passages, dropped))


def _models(context: Context) -> Mapping[str, str]:
    """The providers by their role."""
    models = {"llm": context.llm, "embedder": context.embedder, "reranker": context.reranker, **context.roles}
    return {role: provider.model for role, provider in models.items() if provider is not None}


async def _bypassed(
    context: Context, read: Read, question: str, options: QueryOptions, expect: str | None
) -> Retrieval:
    """Nothing is looked up."""
    await _require_prompt(context, question, options)
    revision = await read(lambda snapshot: snapshot.revision)
    trace = Trace(id=context.trace_id or "", revision=revision, models=_models(context))
    if expect is not None:
        told = "mode 'bypass' looks nothing up"
        trace = replace(trace, expected=Expected(document_id=expect, lost="search", told=told))
    return Retrieval(
        question=question,
        mode=options.mode,
        revision=revision,
        keywords=Keywords(),
        entities=(),
        relations=(),
        passages=(),
        references=(),
        context="",
        found={},
        usage=context.meter.totals(),
        timings={},
        trace=trace,
    )


async def _require_prompt(context: Context, question: str, options: QueryOptions) -> None:
    """Raise InvalidInput if instructions and question alone are beyond `max_total_tokens`."""
    prompt, count = _instructions(context, options), context.tokenizer.count
    await counting(context.tokenizer, (prompt, question), lambda: room(prompt, question, options, count))


def _instructions(context: Context, options: QueryOptions) -> str:
    """The system prompt around an empty context."""
    empty = context_text((), (), (), (), graph=options.mode != "naive")
    return system_prompt(context.prompts, options, "" if options.mode == "bypass" else empty)


async def _plan(
    context: Context, question: str, options: QueryOptions, words: Keywords, **known: Any
) -> tuple[Plan, tuple[str, ...]]:
    """Embed what the mode needs, in one batch; a side without keywords uses the question itself. `known` are other
    fields of the plan.
    """
    low = ", ".join(words.low_level) or question if options.mode in ("local", "hybrid") else None
    high = ", ".join(words.high_level) or question if options.mode in ("global", "hybrid") else None
    plan = partial(
        Plan,
        question=question,
        options=options,
        prompt=_instructions(context, options),
        count=context.tokenizer.count,
        keywords=words,
        candidates=options.chunk_top_k * (_RERANKED if reranks(context, options) else 1),
        folds=Folds() if options.metadata_filter is None else Folds.of(context),
        walk=context.settings.walk,
        communities=context.settings.communities,
        **known,
    )
    texts = list(dict.fromkeys(text for text in (question, low, high) if text is not None))
    try:
        cut = await counting(context.tokenizer, texts, lambda: [_cut(context, text) for text in texts])
        rows = await calls.embed_texts(context, cut, role="query")
    except ProviderError as error:
        if options.on_provider_error == "raise":
            raise
        return plan(lexical=True), (f"search: words instead of vectors ({_reason(error)})",)
    vectors = dict(zip(texts, rows, strict=True))
    return plan(
        vector=vectors[question],
        low=None if low is None else vectors[low],
        high=None if high is None else vectors[high],
    ), ()


def _cut(context: Context, text: str) -> str:
    """As much of the text as the embedder takes."""
    most = context.embedder.max_tokens
    if most is None or len(text) <= most:
        return text
    offsets = context.tokenizer.offsets(text)
    return text if len(offsets) <= most else text[: offsets[most]]


def _require_room(
    found: Found, candidates: Sequence[Passage], passages: Sequence[Passage], options: QueryOptions
) -> None:
    """Something found of which nothing fits must not look like nothing found."""
    if passages or found.entities or found.relations:
        return
    counts = {kind: found.counts[kind] for kind in ("entities", "relations")} | {"passages": len(candidates)}
    if any(counts.values()):
        least = f", the first passage has {candidates[0].tokens:,}" if candidates else ""
        told = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        raise InvalidInput(
            f"{told} were found and none fits: of max_total_tokens {options.max_total_tokens:,}, "
            f"{found.room:,} are left for passages{least}; raise it, or the budgets of entities and relations"
        )


def _reason(error: ProviderError) -> str:
    return f"{type(error).__name__}: {error}"
