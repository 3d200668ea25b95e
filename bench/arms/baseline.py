"""The baseline, as its users call it: the names that its documentation gives, and nothing behind them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightrag import LightRAG, QueryParam
from lightrag.utils import EmbeddingFunc

from bench.corpus import Passage, Question
from bench.providers import DIMENSION, MAX_BATCH, Providers, complete_with, embed_with
from bench.runs import BASELINE_FAISS, Run

if TYPE_CHECKING:
    from bench.arms import Arm, Subject

__all__ = ["open_arm"]

_EMBEDDER_CALLS = 8  # as many as the other arm's limits allow
_GRAPH_FILE = "graph_chunk_entity_relation.graphml"


class _Subject:
    def __init__(self, rag: Any, folder: Path) -> None:
        self._rag = rag
        self._folder = folder

    async def insert(self, passages: Sequence[Passage]) -> None:
        """As the protocol says."""
        known = await self._rag.get_processing_status()
        await self._rag.ainsert(
            [passage.text for passage in passages],
            ids=[passage.id for passage in passages],
            file_paths=[f"{passage.id}.txt" for passage in passages],
        )
        counts = await self._rag.get_processing_status()
        done = counts.get("processed", 0) - known.get("processed", 0)
        if done != len(passages):
            raise RuntimeError(f"{done} of {len(passages)} documents were processed: {counts}")

    async def retrieve(self, question: Question, mode: str, *, tenth: int | None = None) -> int:
        """As the protocol says."""
        if tenth is not None:
            raise RuntimeError("the baseline has no filter by metadata")
        param = QueryParam(
            mode=mode, ll_keywords=list(question.low), hl_keywords=list(question.high), enable_rerank=False
        )
        found = await self._rag.aquery_data(question.text, param)
        return len(found.get("data", {}).get("chunks", ()))

    async def delete(self, ids: Sequence[str]) -> None:
        """As the protocol says."""
        for id_ in ids:
            result = await self._rag.adelete_by_doc_id(id_)
            if result.status != "success":
                raise RuntimeError(f"deleting {id_} gave {result.status}: {result.message}")

    async def sizes(self) -> Mapping[str, float]:
        """As the protocol says. It tells no number of relations; the graph's file does."""
        graph = next(self._folder.rglob(_GRAPH_FILE)).read_text(encoding="utf-8")
        return {"entities": len(await self._rag.get_graph_labels()), "relations": graph.count("<edge ")}


class _Arm:
    def __init__(self, run: Run, folder: Path, providers: Providers) -> None:
        self._run = run
        self._folder = folder
        self._providers = providers
        self._slots = asyncio.Semaphore(run.slots)

    @property
    def filters(self) -> bool:
        """As the protocol says."""
        return False

    @asynccontextmanager
    async def open(self, workspace: str = "bench") -> AsyncIterator[Subject]:
        """As the protocol says."""
        rag = LightRAG(
            working_dir=str(self._folder / "root"),
            workspace=workspace,
            llm_model_func=complete_with(self._providers.llm, self._slots),
            embedding_func=EmbeddingFunc(
                embedding_dim=DIMENSION, max_token_size=8191, func=embed_with(self._providers.embedder)
            ),
            **self._settings(),
        )
        await rag.initialize_storages()
        try:
            yield _Subject(rag, self._folder / "root" / workspace)
        finally:
            await rag.finalize_storages()

    def _settings(self) -> dict[str, Any]:
        """Its best with files: as many documents at once as there are slots, and batches as large as ours."""
        run = self._run
        stores = {"vector_storage": "FaissVectorDBStorage"} if run.arm == BASELINE_FAISS else {}
        if run.defaults:
            return stores
        return {
            **stores,
            "entity_extract_max_gleaning": 0,
            "llm_model_max_async": run.slots,
            "max_parallel_insert": run.slots,
            "embedding_func_max_async": _EMBEDDER_CALLS,
            "embedding_batch_num": MAX_BATCH,
        }


@asynccontextmanager
async def open_arm(run: Run, folder: Path, providers: Providers) -> AsyncIterator[Arm]:
    """The baseline on the folder, with its log turned down to warnings, which costs it less."""
    for name in ("lightrag", "nano-vectordb"):
        logging.getLogger(name).setLevel(logging.WARNING)
    yield _Arm(run, folder, providers)
