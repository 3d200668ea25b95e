"""What an ingest would cost: the write path itself, with stand-ins that answer for nothing and are paid nothing.

Cutting, comparing with what is there, looking into the journal, folding and batching are those of an ingest, so
what is known already counts as known, and prompts are counted as they would be sent. What is not known is what the
LLM would say: for what a chunk mentions the built-in extractor stands in, and for how long replies are, what was paid
in the workspace before, or fixed ratios.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from stateless_rag.commit import Batch, Ready, commit
from stateless_rag.context import Meter
from stateless_rag.counting import count_tokens
from stateless_rag.flights import Flights
from stateless_rag.ingest.chunks import Chunks
from stateless_rag.ingest.source import claims_of, groups_of, require_texts
from stateless_rag.limits import Limits, Priority
from stateless_rag.pricing import checked_prices, price_of
from stateless_rag.protocols import Embeddings, LLMReply, StreamPart
from stateless_rag.providers.cooccurrence import CooccurrenceExtractor
from stateless_rag.providers.hashing import HashingEmbedder
from stateless_rag.stages.extract import LLMExtractor
from stateless_rag.stages.records import COMPLETE, DELIMITER
from stateless_rag.types import Estimate, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from stateless_rag.context import Context
    from stateless_rag.ingest import Documents
    from stateless_rag.ingest.work import Work
    from stateless_rag.protocols import (
        LLM,
        Basis,
        Change,
        Embedder,
        Extractor,
        Journal,
        JournalEntry,
        LLMRequest,
        Vectors,
        Workspace,
    )
    from stateless_rag.stores.duckdb.ledger import DuckLedger
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace
    from stateless_rag.types import Chunk, Extraction, Prices

__all__ = ["estimate_ingest"]

Result = TypeVar("Result")

_AT_ONCE = 64
_ENOUGH = 8  # calls after which the ledger tells more than the ratios do
_SAMPLE = 64
_BATCHED = ("extract", "glean")


async def estimate_ingest(
    context: Context,
    workspace: DuckWorkspace,
    documents: Documents,
    prices: Prices | None,
    *,
    batch: bool = False,
) -> Estimate:
    """What `insert` of the documents would cost now; with `batch`, if their extraction went in batch files.

    Nothing is paid and nothing changes.
    """
    prices = None if prices is None else checked_prices(prices)
    rates = await _rates(context, workspace.ledger)
    run = _Run(context, workspace, rates)
    async with aclosing(groups_of(documents)) as groups:
        async for group in groups:
            require_texts(group)
            await run.take(await asyncio.to_thread(claims_of, group, "estimate"))
    await run.commit()
    usage = rates.scaled(run.meter.totals(), run.journal.read, context.settings.extraction.gleaning)
    return Estimate(
        documents=run.documents,
        unchanged=run.unchanged,
        chunks=run.chunks,
        new_chunks=run.journal.new_chunks,
        usage=MappingProxyType(usage),
        embeddings=run.journal.embedded,
        money=None
        if prices is None
        else sum(
            price_of(prices, context.model_for(p)).of(used, batch=batch and p in _BATCHED)
            for p, used in usage.items()
            if used.calls
        ),
        basis=rates.basis,
        notes=() if _is_known(context.extractor) else (_UNKNOWN_EXTRACTOR,),
    )


_UNKNOWN_EXTRACTOR = "the extractor is not of this library: what it asks for is not in the estimate"


def _is_known(extractor: Extractor) -> bool:
    return isinstance(extractor, LLMExtractor | CooccurrenceExtractor)


# ---- what replies are like -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rates:
    """What replies are like, for each token of a chunk that is read; `calls` is from how many that is known.

    `factor` is how many tokens the provider counts where the tokenizer counts one.
    """

    basis: Literal["ledger", "ratios"] = "ratios"
    factor: float = 1.0
    reply: float = 0.0
    gleaned: float = 0.0
    gleans: float | None = None
    summaries: Usage | None = None
    embedded: float | None = None
    calls: int = 0

    def scaled(self, usage: Mapping[str, Usage], read: int, gleaning: int) -> dict[str, Usage]:
        """The usage of a run in which `read` tokens of chunks were new, where the ledger knows better."""
        found = dict(usage)
        asked = found.get("extract", Usage()).calls
        if self.basis == "ratios" or not asked:
            return found
        if "glean" in found and self.gleans is not None and gleaning > 1:
            found["glean"] = _times(found["glean"], self.gleans * asked / max(1, found["glean"].calls))
        if self.summaries is not None and self.calls:
            # Names come again the more often, the more there are: what was paid tells too little of what comes.
            folded = found.get("summarize", Usage())
            calls = max(folded.calls, round(self.summaries.calls * asked / self.calls))
            each = self.summaries if self.summaries.calls else folded
            found["summarize"] = replace(_times(each, calls / max(1, each.calls)), cached=folded.cached)
        if self.embedded is not None and "embed" in found:
            found["embed"] = replace(found["embed"], prompt_tokens=round(self.embedded * read))
        return {purpose: used for purpose, used in found.items() if used != Usage()}


def _times(usage: Usage, factor: float) -> Usage:
    return Usage(
        round(usage.calls * factor),
        round(usage.prompt_tokens * factor),
        round(usage.completion_tokens * factor),
        usage.cached,
    )


async def _rates(context: Context, ledger: DuckLedger) -> _Rates:
    llm = context.llm_for("extract")
    if llm is None:
        return _Rates()
    models = {context.model_for(purpose) for purpose in ("extract", "summarize", "embed")} - {""}
    paid = {
        purpose: Usage(calls, asked, said)
        for purpose, model, calls, asked, said in await ledger.paid(models)
        if model == context.model_for(purpose)
    }
    factor = await _factor(context, await ledger.replies(llm.model, _SAMPLE))
    chunks, tokens = await ledger.extracted(context.extractor.generation(context))
    extract = paid.get("extract", Usage())
    if extract.calls < _ENOUGH or chunks < _ENOUGH:
        return _Rates(factor=factor)
    glean = paid.get("glean", Usage())
    read = extract.calls * tokens / chunks  # of chunks, in all that was paid for
    return _Rates(
        basis="ledger",
        factor=factor,
        reply=extract.completion_tokens / read,
        gleaned=glean.completion_tokens / (read * glean.calls / extract.calls) if glean.calls else 0.0,
        gleans=glean.calls / extract.calls,
        summaries=paid.get("summarize", Usage()),
        embedded=paid["embed"].prompt_tokens / read if "embed" in paid else None,
        calls=extract.calls,
    )


async def _factor(context: Context, replies: Sequence[tuple[str, int]]) -> float:
    counted = sum(await count_tokens(context.tokenizer, [text for text, _ in replies]))
    told = sum(tokens for _, tokens in replies)
    return told / counted if counted and told and len(replies) >= _ENOUGH else 1.0


# ---- one run -------------------------------------------------------------------------------------------


class _Run:
    """The write path over documents, group after group, up to commits that are not carried out."""

    def __init__(self, context: Context, workspace: DuckWorkspace, rates: _Rates) -> None:
        self.meter = Meter()
        self.journal = _NoJournal(workspace.journal)
        self.documents = self.unchanged = self.chunks = 0
        self._workspace = cast("Workspace", _NoWorkspace(workspace))
        self._ready: list[Work] = []
        self._size = context.settings.ingest.commit_chunks
        summarizer = context.llm_for("summarize")
        roles = dict(context.roles)
        if summarizer is not None:
            roles["summarize"] = _Summarizer(summarizer.model, context, rates)
        self._context = context.derive(
            roles=MappingProxyType(roles),
            extractor=_StandInExtractor(context, rates),
            embedder=context.embedder
            if isinstance(context.embedder, HashingEmbedder)  # free, and counts in a way of its own
            else _StandInEmbedder(context, workspace.dimension, rates),
            journal=self.journal,
            limits=Limits(llm=_AT_ONCE, embedder=context.limits.capacity("embedder")),
            meter=self.meter,
            observer=None,
            deadline=None,
            cancelled=None,
            priority=Priority.INGEST,
        )

    async def take(self, claims: Sequence[Any]) -> None:
        """Cut and extract documents; commit once there are enough."""
        chunks = Chunks(self._context, self._workspace, self._ready.append)
        before = len(self._ready)

        async def unchanged(works: Sequence[Work]) -> None:
            self.unchanged += len(works)
            self.chunks += sum(len(work.chunks) for work in works)

        async def failed(work: Work, _: str) -> None:
            """One that cannot be cut costs nothing."""

        await chunks.prepare(claims, unchanged, failed)
        chunks.end()
        await asyncio.gather(*(chunks.extract() for _ in range(chunks.workers)))
        self.documents += len(claims)
        self.chunks += sum(len(work.chunks) for work in self._ready[before:])
        if sum(len(work.chunks) for work in self._ready) >= self._size:
            await self.commit()

    async def commit(self) -> None:
        """Fold and embed what is ready, as one commit."""
        ready, self._ready = self._ready, []
        newest = {work.claim.document_id: work for work in ready}
        if not newest:
            return
        batch = Batch(
            ready=tuple(
                Ready(claim=work.claim, chunks=work.chunks, extractions=work.extractions)
                for work in newest.values()
            )
        )
        await commit(self._context, self._workspace, batch)


class _NoWorkspace:
    """As much of a workspace as the write path needs that is not to change one."""

    def __init__(self, workspace: DuckWorkspace) -> None:
        self._workspace = workspace
        self.reembedding = self

    def following(self, embedder: Embedder) -> Embedder:
        """The embedder stays."""
        return embedder

    def is_cancelled(self, sequence: int) -> bool:  # noqa: ARG002 -- the protocol's
        """Nobody cancels an estimate."""
        return False

    def is_pending(self, sequence: int) -> bool:  # noqa: ARG002 -- the protocol's
        """What is estimated counts as submitted."""
        return True

    async def read_basis(self, query: Callable[[Basis], Result]) -> Result:
        """What is there."""
        return await self._workspace.read_basis(query)

    async def commit(self, change: Change) -> int:
        """Carries nothing out."""
        return change.base


class _NoJournal:
    """Implements `Journal` on another one, into which nothing is written.

    `read` counts the tokens of chunks that were new to it, `embedded` the texts.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._replies: dict[str, LLMReply] = {}
        self._vectors: dict[str, Vectors] = {}
        self.flights = Flights()
        self.new_chunks = self.read = self.embedded = 0

    async def get(self, digest: str) -> LLMReply | None:
        """What would be known by then."""
        return self._replies.get(digest) or await self._journal.get(digest)

    async def put(self, entry: JournalEntry) -> None:
        """Keep what would be paid for, for as long as the estimate takes."""
        self._replies[entry.digest] = entry.reply
        self.new_chunks += entry.purpose == "extract"

    async def get_vectors(self, digests: Collection[str]) -> Mapping[str, Vectors]:
        """As `get`."""
        rest = [key for key in digests if key not in self._vectors]
        found = dict(await self._journal.get_vectors(rest)) if rest else {}
        return {**found, **{key: self._vectors[key] for key in digests if key in self._vectors}}

    async def put_vectors(self, vectors: Mapping[str, Vectors], entry_usage: Usage, model: str) -> None:  # noqa: ARG002
        """As `put`."""
        one = next(iter(vectors.values())).copy()  # all are the same; one row is to keep no batch in memory
        self._vectors.update(dict.fromkeys(vectors, one))
        self.embedded += len(vectors)


# ---- stand-ins -----------------------------------------------------------------------------------------


class _StandIn(ABC):
    """Implements `LLM` under the name of another one; what it says costs what the other's reply would."""

    def __init__(self, model: str, context: Context, rates: _Rates) -> None:
        self.model = model
        self._tokenizer = context.tokenizer
        self._factor = rates.factor

    @abstractmethod
    async def complete(self, request: LLMRequest) -> LLMReply:
        """Answer at once."""

    async def stream(self, request: LLMRequest) -> AsyncIterator[StreamPart]:
        """As `complete`."""
        yield StreamPart(reply=await self.complete(request))

    async def _counted(self, *texts: str) -> float:
        return self._factor * sum(await count_tokens(self._tokenizer, texts))


class _Summarizer(_StandIn):
    """Says the beginning of what it is to summarise."""

    def __init__(self, model: str, context: Context, rates: _Rates) -> None:
        super().__init__(model, context, rates)
        self._length = context.settings.merging.summary_length

    async def complete(self, request: LLMRequest) -> LLMReply:
        """A text of the length that is asked for, or of that of the prompt if that is shorter."""
        asked = await self._counted(request.system or "", request.prompt)
        said = request.prompt[-4 * self._length :]
        told = min(self._factor * self._length, asked)
        return LLMReply(text=said, prompt_tokens=round(asked), completion_tokens=round(told))


class _Reader(_StandIn):
    """Says of one chunk what the built-in extractor finds in it, and that nothing is missing."""

    def __init__(
        self,
        model: str,
        context: Context,
        rates: _Rates,
        chunk: Chunk,
        found: Extraction,
        journal: _NoJournal,
    ) -> None:
        super().__init__(model, context, rates)
        self._rates = rates
        self._chunk = chunk
        self._found = found
        self._journal = journal
        self._said: dict[str, float] = {}

    async def complete(self, request: LLMRequest) -> LLMReply:
        """Records in the form that is asked for."""
        first = not request.history
        text = _records(self._found if first else None, as_json=request.json)
        if self._rates.basis == "ledger":
            told = (self._rates.reply if first else self._rates.gleaned) * self._chunk.tokens
        else:
            told = await self._counted(text)
        if request.max_tokens is not None:
            told = min(told, request.max_tokens)
        if first:
            self._journal.read += self._chunk.tokens
        self._said[text] = told
        own = [turn.content for turn in request.history if turn.content in self._said]
        others = [turn.content for turn in request.history if turn.content not in self._said]
        asked = await self._counted(request.system or "", request.prompt, *others)
        asked += sum(self._said[each] for each in own)
        return LLMReply(text=text, prompt_tokens=round(asked), completion_tokens=max(1, round(told)))


def _records(found: Extraction | None, *, as_json: bool) -> str:
    """An extraction as an LLM's reply, of which another extraction is made again."""
    entities = [] if found is None else [(m.name, m.type, m.description) for m in found.entities]
    relations = (
        []
        if found is None
        else [(m.source, m.target, ", ".join(m.keywords), m.description) for m in found.relations]
    )
    if as_json:
        named = [dict(zip(("name", "type", "description"), e, strict=True)) for e in entities]
        related = [
            dict(zip(("source", "target", "keywords", "description"), r, strict=True)) for r in relations
        ]
        return json.dumps({"entities": named, "relationships": related}, ensure_ascii=False)
    lines = [DELIMITER.join(("entity", *record)) for record in entities]
    lines += [DELIMITER.join(("relation", *record)) for record in relations]
    return "\n".join([*lines, COMPLETE])


class _StandInExtractor:
    """Implements `Extractor`: the context's own, with a stand-in for the LLM that it asks."""

    def __init__(self, context: Context, rates: _Rates) -> None:
        self._own = context.extractor
        self._built_in = CooccurrenceExtractor(context.settings.extraction.max_entities)
        self._rates = rates

    def generation(self, context: Context) -> str:
        """That of the context's own."""
        return self._own.generation(context)

    async def extract(self, context: Context, chunk: Chunk) -> Extraction:
        """What would be extracted, as far as it is known."""
        llm: LLM | None = context.llm_for("extract")
        if isinstance(self._own, CooccurrenceExtractor):
            return await self._own.extract(context, chunk)
        found = await self._built_in.extract(context, chunk)
        if llm is None or not _is_known(self._own):
            return found
        journal = cast("_NoJournal", context.journal)
        reader = _Reader(llm.model, context, self._rates, chunk, found, journal)
        roles = MappingProxyType({**context.roles, "extract": reader})
        return await self._own.extract(context.derive(roles=roles), chunk)


class _StandInEmbedder:
    """Implements `Embedder` with vectors that mean nothing."""

    def __init__(self, context: Context, dimension: int | None, rates: _Rates) -> None:
        embedder = context.embedder
        self.model = embedder.model
        self.dimension = dimension or embedder.dimension
        self.max_tokens = embedder.max_tokens
        self.max_batch = embedder.max_batch
        self.max_batch_tokens = embedder.max_batch_tokens
        self._tokenizer = context.tokenizer
        self._factor = rates.factor

    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:  # noqa: ARG002
        """Vectors of zeros."""
        import numpy as np

        tokens = sum(await count_tokens(self._tokenizer, texts))
        vectors = np.zeros((len(texts), self.dimension or 1), dtype=np.float32)
        return Embeddings(vectors=vectors, tokens=round(self._factor * tokens))
