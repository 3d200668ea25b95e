"""An evaluation: ingest a dataset's corpus, ask its questions of every arm, and keep what each found."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from stateless_rag.context import Context
from stateless_rag.engine import Engine
from stateless_rag.errors import StatelessRagError
from stateless_rag.evaluation.arms import Arm, Outcome, engine_arms, query_texts
from stateless_rag.evaluation.embedding import MeasuredEmbedder
from stateless_rag.limits import Limits
from stateless_rag.settings import ChunkSettings, ExtractSettings, Settings
from stateless_rag.testing.recorded import RecordedLLM
from stateless_rag.text import digest
from stateless_rag.types import Document, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stateless_rag.evaluation.dataset import Dataset
    from stateless_rag.protocols import Embedder, Observer
    from stateless_rag.types import InsertReport

__all__ = ["Evaluation", "Ingested", "Tell", "ask", "corpus_workspace", "evaluate", "ingest", "open_corpus"]

Tell = Callable[[str, int, int], None]
"""Is told of progress: the arm, how many questions it has answered, and of how many."""

_WHOLE = 1_000_000  # tokens: a passage is one chunk, as all arms rank passages
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What each arm found: one outcome for each question, in the dataset's order."""

    dataset: Dataset
    ingested: Ingested
    outcomes: Mapping[str, Sequence[Outcome]] = field(repr=False)


async def evaluate(
    dataset: Dataset,
    root: str | Path,
    embedder: Embedder,
    modes: Sequence[str],
    *,
    recorded: Sequence[Arm] = (),
    observer: Observer | None = None,
    tell: Tell = lambda _arm, _done, _total: None,
) -> Evaluation:
    """Ingest the corpus into a store in the folder `root` and ask all questions of all arms.

    The arms are the `modes`, the yardsticks and `recorded`. The workspace is named after all that decides what
    is in it, so a folder can be used again, also for other datasets and embedders. Questions are embedded
    before they are asked. `observer` is told of the ingest. Raises StatelessRagError if a passage cannot be
    ingested.
    """
    measured = MeasuredEmbedder(embedder)
    await measured.prepare(query_texts(dataset.questions))
    async with open_corpus(dataset, root, measured, observer) as engine:
        ingested = await ingest(engine, dataset)
        outcomes: dict[str, list[Outcome]] = {}
        for arm in (*engine_arms(engine, measured, dataset, modes), *recorded):
            outcomes[arm.name] = await ask(arm, dataset, tell)
    return Evaluation(dataset=dataset, ingested=ingested, outcomes=outcomes)


@asynccontextmanager
async def open_corpus(
    dataset: Dataset, root: str | Path, embedder: Embedder, observer: Observer | None = None
) -> AsyncIterator[Engine]:
    """An engine on the workspace for a dataset's corpus. Recorded extractions, if any, stand in for the LLM."""
    llm = None if dataset.openie is None else RecordedLLM(dataset.openie)
    settings = Settings(
        chunking=ChunkSettings(max_tokens=_WHOLE), extraction=ExtractSettings(gleaning=0, max_input_tokens=0)
    )
    context = Context.create(llm=llm, embedder=embedder, settings=settings)
    async with Engine.open(
        root,
        corpus_workspace(dataset, context),
        settings=settings,
        llm=llm,
        embedder=embedder,
        tokenizer=context.tokenizer,
        limits=Limits(embedder=_EMBEDDER_CALLS),
        observer=observer,
    ) as engine:
        yield engine


def corpus_workspace(dataset: Dataset, context: Context) -> str:
    """The name of a workspace that holds this corpus and nothing else, extracted and embedded this way."""
    texts = [part for item in dataset.corpus for part in (item.id, item.passage)]
    made = digest(context.extractor.generation(context), context.embedder.model, *texts)
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


async def ask(arm: Arm, dataset: Dataset, tell: Tell) -> list[Outcome]:
    """Ask all questions of an arm, one after the other."""
    questions = dataset.questions
    await arm.ask(questions[0])  # what is built on first use is not part of any question's time
    outcomes = []
    for done, question in enumerate(questions, start=1):
        outcomes.append(await arm.ask(question))
        tell(arm.name, done, len(questions))
    return outcomes
