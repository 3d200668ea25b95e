"""A dataset's corpus in a store: the workspace that holds it, and engines on that workspace."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from stateless_rag.context import Context
from stateless_rag.engine import Engine
from stateless_rag.errors import ProviderRejected, StatelessRagError
from stateless_rag.evaluation.cutting import Cut, cut_for
from stateless_rag.limits import Limits
from stateless_rag.providers.within import EmbedderAround
from stateless_rag.settings import ExtractSettings, Settings, WalkSettings
from stateless_rag.stores.duckdb.store import Store
from stateless_rag.testing.recorded import RecordedLLM
from stateless_rag.text import digest
from stateless_rag.types import Document, Status

if TYPE_CHECKING:
    from pathlib import Path

    from stateless_rag.evaluation.dataset import Dataset
    from stateless_rag.opening import Opening
    from stateless_rag.protocols import Embedder, Embeddings, Observer
    from stateless_rag.types import InsertReport

__all__ = ["Corpus", "Ingested", "WordsOnly", "ingest", "open_corpus"]

_EMBEDDER_CALLS = 2  # a model in this process takes gigabytes when it works on many batches at once
_NAME = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """How the corpus was taken in. `llm_calls` counts those that were paid for in this run."""

    workspace: str
    embedder: str
    extraction: str
    seconds: float
    llm_calls: int
    entities: int
    relations: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Corpus:
    """An open store, and the workspace in it that holds the corpus extracted and embedded as `context` says.

    Its engines share what is in memory of it.
    """

    store: Store
    workspace: str
    context: Context

    def engine(
        self,
        *,
        walk: WalkSettings | None = None,
        embedder: Embedder | None = None,
        observer: Observer | None = None,
    ) -> Opening[Engine]:
        """Another engine on the workspace, with other settings of the walk or another way to embed questions."""
        settings = self.context.settings
        return Engine.open(
            self.store,
            self.workspace,
            settings=settings if walk is None else replace(settings, walk=walk),
            llm=self.context.llm,
            embedder=embedder or self.context.embedder,
            tokenizer=self.context.tokenizer,
            limits=self.context.limits,
            observer=observer,
        )


@asynccontextmanager
async def open_corpus(dataset: Dataset, root: str | Path, embedder: Embedder) -> AsyncIterator[Corpus]:
    """The workspace for a dataset's corpus in the store at `root`, which is closed in the end. Recorded extractions,
    if any, stand in for the LLM.
    """
    llm = None if dataset.openie is None else RecordedLLM(dataset.openie)
    settings = Settings(extraction=ExtractSettings(gleaning=0, max_input_tokens=0))
    limits = Limits(embedder=_EMBEDDER_CALLS)
    context = Context.create(llm=llm, embedder=embedder, settings=settings, limits=limits)
    cut = cut_for(dataset, context.tokenizer, getattr(embedder, "reads", None))
    context = context.derive(settings=replace(settings, chunking=cut))
    async with Store.open(root) as store:
        yield Corpus(store=store, workspace=_workspace(dataset, context), context=context)


def _workspace(dataset: Dataset, context: Context) -> str:
    """The name of a workspace that holds this corpus and nothing else, extracted and embedded this way."""
    texts = [part for item in dataset.corpus for part in (item.id, item.passage)]
    cut = context.settings.chunking.function
    limit = [f"cut {cut.limit}"] if isinstance(cut, Cut) else []
    made = digest(context.extractor.generation(context), context.embedder.model, *texts, *limit)
    name = _NAME.sub("-", dataset.name).strip("-")[:40]
    return f"{name or 'corpus'}-{made[:12]}"


async def ingest(engine: Engine, dataset: Dataset) -> Ingested:
    """Take the corpus in, a document for each passage, under the passage's id."""
    report = await engine.insert([Document(item.passage, id=item.id) for item in dataset.corpus])
    _require_all(report, len(dataset.corpus))
    info = await engine.describe()
    context = engine.context
    return Ingested(
        workspace=engine.name,
        embedder=context.embedder.model,
        extraction="built-in" if context.llm is None else context.llm.model,
        seconds=report.seconds,
        llm_calls=sum(usage.calls for purpose, usage in report.usage.items() if purpose != "embed"),
        entities=info.entities,
        relations=info.relations,
    )


def _require_all(report: InsertReport, passages: int) -> None:
    done = report.counts.get(Status.PROCESSED, 0)
    if done != passages:
        first = next((document.error for document in report.failed if document.error), "no reason was given")
        raise StatelessRagError(
            f"{passages - done} of {passages} passages could not be ingested, so nothing was measured; the "
            f"first: {first}"
        )


class WordsOnly(EmbedderAround):
    """An embedder for documents alone: to whoever asks for a question's vector, it is as one that is down.

    An engine that may degrade answers by its search by words then.
    """

    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
        """Embed documents; ProviderRejected, which is not tried again, for questions."""
        if role == "query":
            raise ProviderRejected("this arm searches by words alone")
        return await super().embed(texts, role=role)
