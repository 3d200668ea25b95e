"""What every part of the façade rests on: the arguments, and the session that they open."""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from stateless_rag.checks import instance, path
from stateless_rag.interop.folders import find_workspaces
from stateless_rag.interop.lightrag.mapping import engine_arguments, with_chunking
from stateless_rag.interop.lightrag.options import Options
from stateless_rag.interop.lightrag.session import Place, Session
from stateless_rag.stores.duckdb.names import check_name
from stateless_rag.stores.duckdb.store import Store

if TYPE_CHECKING:
    from stateless_rag.engine import Engine

__all__ = ["Core"]

_CALLER = 4  # stack levels from `_tell_of_files` to who made the instance

_STORAGES = frozenset(
    {
        "chunk_entity_relation_graph",
        "chunks_vdb",
        "doc_status",
        "entities_vdb",
        "entity_chunks",
        "full_docs",
        "full_entities",
        "full_relations",
        "llm_response_cache",
        "relation_chunks",
        "relationships_vdb",
        "text_chunks",
    }
)


class Core(Options):
    """An instance: frozen, so that a setting which is changed too late is an error. It opens on first use."""

    _session: Session

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.store is not None:
            instance("store", self.store, kind=Store)
        if self.workspace:
            check_name(self.workspace)
        arguments = engine_arguments(self)
        place = Place.of(Path(path("working_dir", self.working_dir)).absolute(), self.workspace, self.store)
        session = Session(place, lambda: arguments)
        object.__setattr__(self, "_session", session)
        if self.store is None:
            place.root.mkdir(parents=True, exist_ok=True)
            _tell_of_files(place.root)

    def __del__(self) -> None:
        """Let others have the workspace when the instance is dropped: of a notebook's cell that is run again."""
        session = self.__dict__.get("_session")  # there is none if the arguments were refused
        if session is not None:
            session.forget()

    if not TYPE_CHECKING:  # else a misspelt name would pass

        def __getattr__(self, name: str) -> NoReturn:
            if name in _STORAGES:
                raise AttributeError(
                    f"LightRAG has no {name} here: there is one store for all. What it holds is told by the methods, "
                    "and by those of `await rag.engine()`"
                )
            raise AttributeError(f"LightRAG has no attribute {name!r} here")

    async def initialize_storages(self) -> None:
        """Open the workspace. Not needed: it opens on first use. After `finalize_storages` it opens it again."""
        await self._session.opened(again=True)

    async def finalize_storages(self) -> None:
        """Close the workspace, so that others may open it. May be called twice."""
        await self._session.close()

    async def engine(self) -> Engine:
        """The engine beneath, for all that LightRAG does not have. It closes with the instance."""
        return (await self._session.opened()).engine

    @property
    def embedding_token_limit(self) -> int | None:
        """The longest text that the embedder takes, in tokens; None if it tells none."""
        function = self.embedding_func
        found: int | None = getattr(function, "max_token_size", getattr(function, "max_tokens", None))
        return found

    @asynccontextmanager
    async def _cutting(self, separator: str | None, only: bool) -> AsyncGenerator[Engine]:
        """The engine, or one that splits documents on a separator."""
        opened = await self._session.opened()
        if separator is None and not only:
            yield opened.engine
            return
        changed: dict[str, Any] = dict(with_chunking(self, opened.arguments, separator, only=only))
        engine = await opened.another(**changed)
        try:
            yield engine
        finally:
            await engine.close()


def _tell_of_files(root: Path) -> None:
    """Warn where LightRAG's own files lie that nobody has imported: an empty workspace would be a riddle."""
    if not (root / "stateless_rag.duckdb").exists() and "" in find_workspaces(root):
        warnings.warn(
            f"LightRAG: the files of LightRAG in {root} are not read here; import them once, with "
            "stateless_rag.interop.import_lightrag or `stateless-rag import`",
            UserWarning,
            stacklevel=_CALLER,
        )
