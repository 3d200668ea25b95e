"""What one application has open while it runs: the store, the pool, the work behind the requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stateless_rag.context import Clock
from stateless_rag.converting import Converter, ConvertLimits
from stateless_rag.limits import Limits
from stateless_rag.server.auth import Auth
from stateless_rag.server.board import Board
from stateless_rag.server.ingestion import Ingestion
from stateless_rag.server.keyed import Keyed
from stateless_rag.server.leases import EngineOptions, Leases
from stateless_rag.server.quotas import Quotas
from stateless_rag.server.scans import Scans
from stateless_rag.settings import StoreSettings
from stateless_rag.stores.duckdb.store import Store

if TYPE_CHECKING:
    from stateless_rag.server.metrics import Metrics
    from stateless_rag.server.settings import ServerSettings
    from stateless_rag.types import WorkspaceInfo

__all__ = ["Embedders", "Service", "open_service"]

Embedders = Callable[[str], Any]
"""The embedder of a name, to which workspaces can be changed; whoever gives it closes it. Raises InvalidInput."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """All that requests use. One for each application; nothing of it is shared with another."""

    settings: ServerSettings
    limits: Limits
    leases: Leases
    board: Board
    ingestion: Ingestion
    auth: Auth
    quotas: Quotas
    metrics: Metrics
    converter: Converter
    keyed: Keyed = field(default_factory=Keyed)
    scans: Scans = field(default_factory=Scans)
    embedders: Embedders
    about: Mapping[str, Any]
    wall: Callable[[], float] = time.time

    async def drop(self, name: str) -> None:
        """Remove a workspace for good."""
        async with self._changing(name):
            await self.leases.drop(name, lambda: self.ingestion.halt(name))
            self._is_gone(name)

    async def clear(self, name: str) -> None:
        """Remove all that a workspace holds."""
        async with self._changing(name):
            await self.leases.clear(name, lambda: self.ingestion.halt(name))
            self._is_gone(name)

    async def copy(self, name: str, target: str) -> WorkspaceInfo:
        """Make a workspace that holds the same as another; what waits there is taken in, too."""
        info = await self.leases.copy(name, target)
        self.ingestion.start(target)
        return info

    async def rename(self, name: str, target: str) -> WorkspaceInfo:
        """Give a workspace another name; what is being taken in goes on under it."""
        async with self._changing(name):
            info = await self.leases.rename(name, target, lambda: self.ingestion.halt(name))
            self._is_gone(name)
        self.ingestion.start(target)
        return info

    async def restore(self, path: Path, name: str | None, *, overwrite: bool) -> WorkspaceInfo:
        """Make a workspace of a backup, with `overwrite` in place of the one of that name."""
        async with self._changing(name):
            info = await self.leases.restore(path, name, self.ingestion.halt, overwrite=overwrite)
            self._is_gone(info.name)
        self.ingestion.start(info.name)
        return info

    @asynccontextmanager
    async def _changing(self, name: str | None) -> AsyncGenerator[None]:
        """What halts the work on a workspace: it may begin again after that, and goes on if nothing came of it."""
        done = False
        try:
            yield
            done = True
        finally:
            if name is not None:
                self.ingestion.allow(name)
                if not done:
                    self.ingestion.start(name)

    def _is_gone(self, name: str) -> None:
        self.board.forget(name)
        self.keyed.forget(name)


@asynccontextmanager
async def open_service(
    settings: ServerSettings,
    metrics: Metrics,
    engine_options: EngineOptions,
    store_settings: StoreSettings | None,
    clock: Clock,
    embedders: Embedders,
    about: Mapping[str, Any],
) -> AsyncGenerator[Service]:
    """Open all, begin with what waits, and close all at the end: what cannot be finished stays pending."""
    limits = Limits(
        llm=settings.llm_calls, embedder=settings.embedder_calls, reranker=settings.reranker_calls
    )
    board = Board(metrics, clock.wall)
    stored = store_settings or StoreSettings(placement=settings.placement)
    async with Store.open(settings.root, stored) as store:
        converter = Converter(_convert_limits(settings))
        leases = Leases(store, settings, limits, engine_options, board.observer, converter)
        ingestion = Ingestion(leases, board, min(settings.working, max(1, settings.max_open // 2)))
        service = Service(
            settings=settings,
            limits=limits,
            leases=leases,
            board=board,
            ingestion=ingestion,
            auth=Auth(settings, clock.wall),
            quotas=Quotas(settings, clock.wall),
            metrics=metrics,
            converter=converter,
            embedders=embedders,
            about=about,
            wall=clock.wall,
        )
        looking = asyncio.create_task(ingestion.look())
        try:
            yield service
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
            await service.scans.close()
            await ingestion.close(settings.grace)
            await converter.close()
            await leases.close()


def _convert_limits(settings: ServerSettings) -> ConvertLimits:
    return ConvertLimits(
        seconds=settings.convert_seconds,
        memory=settings.convert_memory,
        workers=settings.convert_workers,
        content=settings.max_upload or 2**40,
    )
