"""The engine of this project."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.corpus import Passage, Question
from bench.providers import Providers
from bench.runs import Run
from stateless_rag import Document, Engine, Limits, O200kTokenizer, Settings, Store
from stateless_rag.settings import ExtractSettings, QueryOptions, StoreSettings

if TYPE_CHECKING:
    from bench.arms import Arm, Subject

__all__ = ["open_arm"]

_FILTER = "metadata_filter"


class _Subject:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def insert(self, passages: Sequence[Passage]) -> None:
        """As the protocol says."""
        report = await self._engine.insert(
            Document(passage.text, id=passage.id, source=f"{passage.id}.txt", metadata=passage.metadata)
            for passage in passages
        )
        if report.failed or len(report.documents) != len(passages):
            raise RuntimeError(
                f"{len(report.failed)} of {len(passages)} documents failed: {report.failed[:1]}"
            )

    async def retrieve(self, question: Question, mode: str, *, tenth: int | None = None) -> int:
        """As the protocol says."""
        changes: dict[str, Any] = {} if tenth is None else {_FILTER: {"tenth": tenth}}
        found = await self._engine.retrieve(
            question.text,
            mode=mode,
            low_level_keywords=question.low,
            high_level_keywords=question.high,
            **changes,
        )
        return len(found.passages)

    async def delete(self, ids: Sequence[str]) -> None:
        """As the protocol says."""
        report = await self._engine.delete(ids)
        if report.missing:
            raise RuntimeError(f"{len(report.missing)} documents to delete were not there")

    async def sizes(self) -> Mapping[str, float]:
        """As the protocol says."""
        info = await self._engine.describe()
        return {"entities": info.entities, "relations": info.relations}


class _Arm:
    def __init__(self, store: Store, run: Run, providers: Providers) -> None:
        self._store = store
        self._providers = providers
        self._settings = Settings() if run.defaults else Settings(extraction=ExtractSettings(gleaning=0))
        self._tokenizer = O200kTokenizer()  # shared, as its documentation advises
        self._limits = Limits() if run.defaults else Limits(llm=run.slots)

    @property
    def filters(self) -> bool:
        """As the protocol says."""
        return _FILTER in QueryOptions.__dataclass_fields__

    @asynccontextmanager
    async def open(self, workspace: str = "bench") -> AsyncIterator[Subject]:
        """As the protocol says."""
        async with Engine.open(
            self._store,
            workspace,
            llm=self._providers.llm,
            embedder=self._providers.embedder,
            settings=self._settings,
            tokenizer=self._tokenizer,
            limits=self._limits,
        ) as engine:
            yield _Subject(engine)


@asynccontextmanager
async def open_arm(run: Run, folder: Path, providers: Providers) -> AsyncIterator[Arm]:
    """A store on the folder."""
    async with Store.open(folder / "root", StoreSettings(placement=run.placement)) as store:
        yield _Arm(store, run, providers)
