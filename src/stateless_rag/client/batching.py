"""Batches of a server's workspace: `RemoteEngine` submits, lists, collects and cancels them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from stateless_rag.checks import flag, identifiers, number
from stateless_rag.client.curating import RemoteCurating
from stateless_rag.client.sending import lines_of
from stateless_rag.errors import InvalidInput, ProviderError, ServerError
from stateless_rag.types import BatchInfo, BatchReport, Usage

if TYPE_CHECKING:
    from stateless_rag.ingest import Documents

__all__ = ["RemoteBatching"]


class RemoteBatching(RemoteCurating):
    """The extraction in files, by way of a server."""

    async def submit_batch(
        self, ids: Collection[str] | str | None = None, *, documents: Documents | None = None
    ) -> tuple[BatchInfo, ...]:
        """As `Engine.submit_batch`; documents are sent as they come, and handed over when all are there."""
        wanted = None if ids is None else list(identifiers("ids", ids))
        path = f"{self._at}/batches"
        if documents is None:
            told = await self._reported(path, {"ids": wanted})
        elif wanted is not None:
            raise InvalidInput("name pending documents by ids or give new documents, not both")
        else:
            async with aclosing(lines_of(documents)) as lines:
                told = await self._reported(f"{path}/lines", content=lines)
        return tuple(self._wire.value(list[BatchInfo], told))

    async def batches(self) -> list[BatchInfo]:
        """As `Engine.batches`."""
        return await self._wire.get(list[BatchInfo], f"{self._at}/batches")

    async def collect_batches(
        self,
        *,
        wait: bool = False,
        poll: float = 60.0,
        progress: Callable[[Sequence[BatchInfo]], None] | None = None,
    ) -> BatchReport:
        """As `Engine.collect_batches`: the server looks, again every `poll` seconds as long as this waits."""
        flag("wait", wait)
        number("poll", poll, above=0.0)
        whole = BatchReport()
        while True:
            failed = False
            try:
                told = await self._reported(f"{self._at}/batches/collect", {})
                whole = _together(whole, self._wire.value(BatchReport, told))
            except ProviderError as error:
                if not (wait and error.retryable):
                    raise
                failed = True
            if progress is not None:
                progress(whole.batches)
            if not wait or not (whole.waiting or failed):
                return whole
            await asyncio.sleep(poll)

    async def cancel_batch(self, batch_id: str, *, forget: bool = False) -> BatchInfo:
        """As `Engine.cancel_batch`."""
        body = {"id": batch_id, "forget": flag("forget", forget)}
        return await self._wire.post(BatchInfo, f"{self._at}/batches/cancel", body)

    async def _reported(
        self, path: str, body: Any = None, *, content: AsyncIterable[bytes] | None = None
    ) -> Any:
        """What came of work that the server tells of by events."""
        async with aclosing(self._wire.events(path, body, content=content)) as events:
            async for kind, told in events:
                if kind == "report":
                    return told
        raise ServerError(f"{self._wire.url} broke off before it was done; ask it again")


def _together(before: BatchReport, now: BatchReport) -> BatchReport:
    """Two looks, one after the other, as one."""
    batches = {batch.id: batch for batch in (*before.batches, *now.batches)}
    return replace(
        now,
        batches=tuple(batches.values()),
        replies=before.replies + now.replies,
        failed=before.failed + now.failed,
        usage=_sum(before.usage, now.usage),
    )


def _sum(one: Mapping[str, Usage], other: Mapping[str, Usage]) -> Mapping[str, Usage]:
    names = sorted({*one, *other})
    return MappingProxyType({name: one.get(name, Usage()) + other.get(name, Usage()) for name in names})
