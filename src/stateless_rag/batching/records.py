"""Batches as they are kept, and what is told of them; how the provider is called for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from stateless_rag.attempts import provider_time, until_answered
from stateless_rag.types import BatchInfo

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.protocols import BatchLLM
    from stateless_rag.stores.duckdb.batches import BatchRecord
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace

__all__ = ["TRANSFER", "asked", "info_of", "recover"]

Answer = TypeVar("Answer")

TRANSFER = 3600.0
"""Seconds that a file may take on its way up or down."""


def info_of(record: BatchRecord) -> BatchInfo:
    """What is told of a batch."""
    return BatchInfo(
        id=record.name,
        provider_id=record.provider,
        model=record.model,
        status=record.status,
        requests=record.requests,
        done=record.done,
        replies=record.replies,
        collected=not record.is_open,
        documents=len(record.documents),
        purposes=MappingProxyType(dict(sorted(Counter(h.purpose for h in record.holds.values()).items()))),
        error=record.error,
        submitted_at=record.made_at,
    )


async def asked(
    context: Context, model: str, call: Callable[[], Awaitable[Answer]], seconds: float | None = None
) -> Answer:
    """Call the provider, again while its error may pass; `seconds` for one attempt, else `llm_timeout`."""
    allowed = context.settings.calls.llm_timeout if seconds is None else seconds

    async def attempt() -> Answer:
        async with provider_time(context, allowed, model):
            return await call()

    return await until_answered(context, attempt)


async def recover(context: Context, workspace: DuckWorkspace, llm: BatchLLM) -> None:
    """Find out what became of batches that somebody was submitting when he was stopped.

    One that the provider has is paid for, and gone on with. Else what was uploaded is deleted, and the requests are
    free to be asked again.
    """
    for record in await workspace.batches.all():
        if record.stage != "prepared":
            continue
        known = await asked(context, llm.model, partial(llm.batches.find, record.name, record.made_at))
        if known is not None:
            await workspace.batches.change(record, provider=known, stage="submitted", status="validating")
            continue
        await asked(context, llm.model, partial(llm.batches.remove, record.name, None, record.made_at))
        await workspace.batches.remove(record)
