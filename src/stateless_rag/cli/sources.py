"""Where commands work: in a root folder of their own, or on a server that runs. They are written once, for both."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol, cast

from stateless_rag.cli.engines import looking_engine, named_embedder, open_engine, open_store
from stateless_rag.errors import StoreError

if TYPE_CHECKING:
    from stateless_rag.client import Server
    from stateless_rag.engine import Engine
    from stateless_rag.protocols import Observer
    from stateless_rag.settings import Configuration, StoreSettings
    from stateless_rag.stores.duckdb.store import Store
    from stateless_rag.types import ReembedReport, WorkspaceInfo

__all__ = ["Source", "source_for"]


class Source(Protocol):
    """What commands need: an engine on the workspace, and the store or what stands for it.

    What is opened on a server has the names that the library's engine and store have, as far as commands use them.
    """

    @property
    def options(self) -> str:
        """How a command line says that it is here."""

    def engine(
        self, *, create: bool, observer: Observer | None = None
    ) -> AbstractAsyncContextManager[Engine]:
        """An engine with providers."""

    def looking(self) -> AbstractAsyncContextManager[Engine]:
        """An engine for what needs no provider."""

    def store(self, *, create: bool = False) -> AbstractAsyncContextManager[Store]:
        """All workspaces."""

    async def create(self, placement: Literal["root", "own"] | None) -> WorkspaceInfo:
        """Make the workspace. Raises StoreError or ServerError if it is there."""

    async def reembed(self, embedder: str, *, cut: bool, observer: Observer) -> ReembedReport:
        """Change the workspace to an embedder, by its name."""


def source_for(chosen: Configuration, note: Callable[[str], None]) -> Source:
    """What a configuration names; `note` is told what the user should know."""
    return _Local(chosen, note) if chosen.server is None else _Remote(chosen, chosen.server)


@dataclass(frozen=True, slots=True)
class _Local:
    """A root folder, which nobody else has open."""

    chosen: Configuration
    note: Callable[[str], None]

    @property
    def options(self) -> str:
        return shlex.join(["--root", self.chosen.root, "--workspace", self.chosen.workspace])

    def engine(
        self, *, create: bool, observer: Observer | None = None
    ) -> AbstractAsyncContextManager[Engine]:
        return open_engine(self.chosen, create=create, note=self.note, observer=observer)

    def looking(self) -> AbstractAsyncContextManager[Engine]:
        return looking_engine(self.chosen)

    def store(self, *, create: bool = False) -> AbstractAsyncContextManager[Store]:
        return open_store(self.chosen, create=create)

    async def create(self, placement: Literal["root", "own"] | None) -> WorkspaceInfo:
        from stateless_rag.settings import StoreSettings

        name = self.chosen.workspace
        async with open_store(self.chosen, create=True) as store:
            if name in await store.names():
                raise StoreError(f"there is a workspace {name!r} already; choose another name")
        settings: StoreSettings | None = None if placement is None else StoreSettings(placement=placement)
        opening = open_engine(self.chosen, create=True, note=self.note, settings=settings)
        async with opening as engine:
            return await engine.describe()

    async def reembed(self, embedder: str, *, cut: bool, observer: Observer) -> ReembedReport:
        wanted = named_embedder(replace(self.chosen, embed_model=embedder))
        try:
            async with looking_engine(self.chosen, observer=observer) as engine:
                return await engine.reembed(wanted, cut=cut)
        finally:
            close = getattr(wanted, "close", None)
            if close is not None:
                await close()


@dataclass(frozen=True, slots=True)
class _Remote:
    """A server, which has providers of its own."""

    chosen: Configuration
    url: str

    @property
    def options(self) -> str:
        return shlex.join(["--server", self.url, "--workspace", self.chosen.workspace])

    @asynccontextmanager
    async def engine(self, *, create: bool, observer: Observer | None = None) -> AsyncIterator[Engine]:  # noqa: ARG002
        async with self._open() as server:
            engine = server.workspace(self.chosen.workspace, observer=observer)
            yield cast("Engine", engine)  # a test compares what commands call of it

    def looking(self) -> AbstractAsyncContextManager[Engine]:
        return self.engine(create=False)

    @asynccontextmanager
    async def store(self, *, create: bool = False) -> AsyncIterator[Store]:  # noqa: ARG002
        async with self._open() as server:
            yield cast("Store", server)

    async def create(self, placement: Literal["root", "own"] | None) -> WorkspaceInfo:
        async with self._open() as server:
            return await server.create(self.chosen.workspace, placement=placement)

    async def reembed(self, embedder: str, *, cut: bool, observer: Observer) -> ReembedReport:
        async with self._open() as server:
            return await server.workspace(self.chosen.workspace, observer=observer).reembed(embedder, cut=cut)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Server]:
        from stateless_rag.client import Server

        async with Server.open(self.url, key=self.chosen.server_key) as server:
            yield server
