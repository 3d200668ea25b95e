"""Reading what came back: replies go into the journal, under the digests that the ingest asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

from stateless_rag.batching.gather import required_batch_llm
from stateless_rag.batching.records import TRANSFER, asked, info_of, recover
from stateless_rag.context import Meter
from stateless_rag.counting import count_usage
from stateless_rag.errors import InvalidInput, InvalidReply, ProviderError, ProviderRejected
from stateless_rag.protocols import JournalEntry, LLMRequest
from stateless_rag.replies import checked_reply, empty_reply, is_empty
from stateless_rag.stages.extract import require_usable
from stateless_rag.types import BatchReport, Usage

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.protocols import BatchLLM, BatchReply, BatchState, LLMReply
    from stateless_rag.stores.duckdb.batches import BatchRecord, Held
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace
    from stateless_rag.types import BatchInfo

__all__ = ["cancel_batch", "collect_batches"]

_TOGETHER = 256  # replies that are written together
_GONE = 404
_BYTES_PER_TOKEN = 4  # of a request whose tokens the provider does not tell


async def collect_batches(
    context: Context,
    workspace: DuckWorkspace,
    *,
    wait: bool = False,
    poll: float = 60.0,
    progress: Callable[[Sequence[BatchInfo]], None] | None = None,
) -> BatchReport:
    """Keep the replies of the batches that have ended, and delete their files; with `wait`, of all there are.

    `progress` is told of the batches after each look, every `poll` seconds. An error of the provider is raised once
    the other batches were looked at; while waiting, one that may pass is waited out.
    """
    llm = required_batch_llm(context)
    collecting = _Collecting(context, workspace, llm)
    sleep = context.clock.sleep or asyncio.sleep
    while True:
        errors = await collecting.look()
        report = await collecting.report()
        if progress is not None:
            progress(report.batches)
        lasting = [error for error in errors if not (wait and error.retryable)]
        if lasting:
            raise lasting[0]
        if not wait or not (report.waiting or errors):
            return report
        await sleep(poll)


async def cancel_batch(
    context: Context, workspace: DuckWorkspace, name: str, *, forget: bool = False
) -> BatchInfo:
    """Ask the provider to stop a batch, or `forget` it without asking. Raises InvalidInput if it is not open."""
    llm = None if forget else required_batch_llm(context)
    async with workspace.batches.alone():
        if llm is not None:
            await recover(context, workspace, llm)
        known = {record.name: record for record in await workspace.batches.all()}
        record = known.get(name)
        if record is None or not record.is_open:
            waiting = ", ".join(record.name for record in known.values() if record.is_open) or "none"
            raise InvalidInput(f"batch {name!r} is not with the provider; there are: {waiting}")
        if llm is None:
            told = {"stage": "done", "status": "cancelled", "error": "forgotten"}
        else:
            await asked(context, llm.model, partial(llm.batches.cancel, record.provider or ""))
            told = {"status": "cancelling"}
        return info_of(await workspace.batches.change(record, **told))


class _Collecting:
    """One collection: what it has kept so far, over however many looks."""

    def __init__(self, context: Context, workspace: DuckWorkspace, llm: BatchLLM) -> None:
        self._context = context
        self._workspace = workspace
        self._llm = llm
        self._meter = Meter(context.meter)
        self._looked_at: set[str] = set()
        self._replies = self._failed = 0

    async def look(self) -> list[ProviderError]:
        """Look at every batch that is not done; the errors of those that could not be looked at."""
        errors = []
        async with self._workspace.batches.alone():
            await recover(self._context, self._workspace, self._llm)
            for record in await self._workspace.batches.all():
                if record.stage == "done":
                    continue
                self._looked_at.add(record.name)
                try:
                    await self._look_at(record)
                except ProviderError as error:
                    errors.append(_of(record, error))
        return errors

    async def report(self) -> BatchReport:
        """What was found so far."""
        records = await self._workspace.batches.all()
        return BatchReport(
            batches=tuple(info_of(record) for record in records if record.name in self._looked_at),
            replies=self._replies,
            failed=self._failed,
            usage=self._meter.totals(),
        )

    async def _look_at(self, record: BatchRecord) -> None:
        batches, model = self._llm.batches, self._llm.model
        id_ = record.provider or ""
        if record.stage == "submitted":
            state = await asked(self._context, model, partial(batches.poll, id_))
            if state.ended:
                record = await self._read(record, state)
            elif (record.status, record.done) != (state.status, state.done):
                record = await self._workspace.batches.change(record, status=state.status, done=state.done)
        if record.stage == "collected":
            await asked(self._context, model, partial(batches.remove, record.name, id_, record.made_at))
            await self._workspace.batches.change(record, stage="done")

    async def _read(self, record: BatchRecord, state: BatchState) -> BatchRecord:
        reading = _Reading(self._context, self._workspace, record, self._meter)
        await reading.begin()

        async def read() -> None:
            answered = reading.unreadable = 0
            async with aclosing(self._llm.batches.replies(record.provider or "")) as replies:  # type: ignore[type-var]
                async for reply in replies:
                    answered += reply.reply is not None
                    await reading.take(reply)
            await reading.finish()
            if reading.unreadable or answered < state.done:
                raise InvalidReply(
                    f"{self._llm.model} says that {state.done} requests of batch {record.name} are answered, and gave "
                    f"{answered} replies, and {reading.unreadable} lines that cannot be read"
                )

        error = state.error
        try:
            await asked(self._context, self._llm.model, read, TRANSFER)
        except InvalidReply as incomplete:  # however often it is read; what is missing is asked again
            error = str(incomplete)
        failed = record.requests - len(reading.answered)
        self._replies += len(reading.answered)
        self._failed += failed
        return await self._workspace.batches.change(
            record,
            stage="collected",
            status=state.status,
            done=state.done,
            replies=len(reading.answered),
            error=error or (f"first of {failed}: {reading.error}" if failed and reading.error else None),
        )


def _of(record: BatchRecord, error: ProviderError) -> ProviderError:
    """The error of a batch. One that the provider does not know any more, or whose files are gone, can be given up."""
    if not isinstance(error, ProviderRejected) or error.status != _GONE:
        return error
    told = ProviderRejected(
        f"batch {record.name}: {error}. If it was collected elsewhere (by a copy, or before a restore) or is "
        "too old, give it up: `batch cancel --forget`, `cancel_batch(…, forget=True)`; what it holds is asked again",
        status=error.status,
    )
    told.__cause__ = error
    return told


class _Reading:
    """The replies of one batch on their way into the journal. May be read again: what is there stays as it is."""

    def __init__(self, context: Context, workspace: DuckWorkspace, record: BatchRecord, meter: Meter) -> None:
        self._context = context
        self._workspace = workspace
        self._record = record
        self._meter = meter
        self._gathered: dict[str, JournalEntry] = {}
        self._refused: dict[str, JournalEntry] = {}
        self._paid: set[str] = set()
        self.answered: set[str] = set()
        self.unreadable = 0
        self.error: str | None = None

    async def begin(self) -> None:
        """Find out what was kept before, by somebody who was stopped."""
        paid = await self._workspace.batches.paid(self._record)
        self._paid = set(paid)
        for digest, kept in paid.items():
            if kept or await self._workspace.journal.get(digest) is not None:
                self.answered.add(digest)

    async def take(self, told: BatchReply) -> None:
        """Keep one reply if it is of use."""
        held = self._record.holds.get(told.key)
        if not told.key:
            self.unreadable += 1
        if held is None or told.key in self._paid:
            return  # erased meanwhile, or known
        if told.reply is None:
            self.error = self.error or told.error
            return
        reply = checked_reply(self._record.model, told.reply)
        entry = await self._entry(told.key, held, reply)
        self._paid.add(told.key)
        try:
            if is_empty(reply):
                raise empty_reply(self._record.model)
            if held.purpose == "extract":
                require_usable(reply)
        except InvalidReply as error:
            self.error = self.error or f"{type(error).__name__}: {error}"
            self._refused[told.key] = entry
        else:
            self._gathered[told.key] = entry
        if len(self._gathered) + len(self._refused) >= _TOGETHER:
            await self.finish()

    async def finish(self) -> None:
        """Write what was gathered. Where a reply is of no use, or known from elsewhere, only the cost is."""
        journal, flights = self._workspace.journal, self._workspace.journal.flights
        refused, self._refused = self._refused, {}
        await self._workspace.batches.charge(list(refused.values()), self._context.clock.wall())
        for entry in refused.values():
            self._meter.add(entry.purpose, entry.usage)
        left, self._gathered = self._gathered, {}
        while left:
            with flights.lead(left) as led:
                mine = [left.pop(digest) for digest in sorted(led)]
                found = await asyncio.gather(*(journal.get(entry.digest) for entry in mine))
                known = [entry for entry, reply in zip(mine, found, strict=True) if reply is not None]
                new = [entry for entry, reply in zip(mine, found, strict=True) if reply is None]
                await asyncio.gather(*(journal.put(entry) for entry in new))
                await self._workspace.batches.charge(known, self._context.clock.wall())
            for entry in mine:
                self.answered.add(entry.digest)
                self._meter.add(entry.purpose, entry.usage)
            if left:
                await flights.wait(next(iter(left)))

    async def _entry(self, digest: str, held: Held, reply: LLMReply) -> JournalEntry:
        usage = await _usage(self._context, held, reply)
        return JournalEntry(
            digest=digest,
            purpose=held.purpose,
            model=self._record.model,
            reply=reply,
            usage=usage,
            document=held.documents[0],
            batch=self._record.name,
        )


async def _usage(context: Context, held: Held, reply: LLMReply) -> Usage:
    """What a reply cost. The request is not here any more: where the provider does not tell, its bytes are counted."""
    told = await count_usage(context, LLMRequest(prompt=""), reply)
    if reply.prompt_tokens is None:
        return Usage(1, held.bytes // _BYTES_PER_TOKEN, told.completion_tokens)
    return told
