"""Handing requests over: gathered, written into files within the provider's bounds, and kept before they go."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING

from stateless_rag.batching.gather import gather, required_batch_llm
from stateless_rag.batching.records import TRANSFER, asked, info_of, recover
from stateless_rag.errors import ProviderError
from stateless_rag.ingest.source import groups_of, new_tracking_id, require_converter, submit
from stateless_rag.stores.duckdb.batches import BatchRecord, Held

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.ingest import Documents
    from stateless_rag.protocols import BatchLLM, Claim, LLMRequest
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace
    from stateless_rag.types import BatchInfo

__all__ = ["submit_batches"]

_CLAIMS = 64


async def submit_batches(
    context: Context,
    workspace: DuckWorkspace,
    ids: Collection[str] | None,
    documents: Documents | None = None,
) -> list[BatchInfo]:
    """Hand over what extracting documents needs: those that are pending or have failed, or those of `ids`.

    `documents` become pending before, each group of them claimed until it is handed over.
    What is with the provider already, or known, is left out. Returns the batches that were made. Raises BudgetExhausted
    if the workspace's budget is used up.
    """
    llm = required_batch_llm(context)
    if context.allowance is not None:
        context.allowance.check()
    taken: set[int] = set()
    async with workspace.batches.alone():
        await recover(context, workspace, llm)
        there = {
            digest for record in await workspace.batches.all() if record.is_open for digest in record.holds
        }
        sending = _Sending(context, workspace, llm, there)
        try:
            async with aclosing(_submitted(context, workspace, documents)) as groups:
                async for claims in groups:
                    taken.update(claim.sequence for claim in claims)
                    await sending.take(claims)
            while claims := await workspace.claim(_CLAIMS, ids=ids, failed=True, tried=taken):
                taken.update(claim.sequence for claim in claims)
                await sending.take(claims)
            await sending.finish()
        finally:
            sending.close()
            await workspace.release(taken)
    return sending.sent


async def _submitted(
    context: Context, workspace: DuckWorkspace, documents: Documents | None
) -> AsyncGenerator[Sequence[Claim]]:
    """Make documents pending, and claim them: those that nobody works on already."""
    name = new_tracking_id()
    async with aclosing(groups_of(() if documents is None else documents)) as groups:
        async for group in groups:
            require_converter(context, group)
            _, claims = await submit(workspace, group, name, claimed=True)
            yield claims


@dataclass(slots=True)
class _Part:
    """One file: lines that are written and lines that are to be, and what each is for."""

    file: IO[bytes]
    lines: list[bytes] = field(default_factory=list)
    bytes: int = 0
    holds: dict[str, Held] = field(default_factory=dict)

    def write(self) -> None:
        """Write what was gathered. Blocks."""
        lines, self.lines = self.lines, []
        self.file.write(b"".join(lines))


class _Sending:
    """Requests on their way into files. `there` are digests of those that a provider has already."""

    def __init__(self, context: Context, workspace: DuckWorkspace, llm: BatchLLM, there: set[str]) -> None:
        self._context = context
        self._workspace = workspace
        self._llm = llm
        self._batches = llm.batches
        self._there = there
        self._parts: list[_Part] = []
        self._of: dict[str, _Part] = {}
        self._shared: dict[str, set[str]] = {}
        self.sent: list[BatchInfo] = []

    async def take(self, claims: Collection[Claim]) -> None:
        """Gather the requests of documents; hand over the files that are full."""
        texts = [claim for claim in claims if claim.file is None]  # files become texts when they are taken in
        await gather(self._context, self._workspace, texts, self._note)
        for part in self._parts:
            await self._workspace.compute(part.write)
        while len(self._parts) > 1:
            await self._send(self._parts[0])

    async def finish(self) -> None:
        """Hand over the last file, and let documents wait for what went with others."""
        while self._parts:
            await self._send(self._parts[0])
        await self._workspace.batches.share(self._shared)

    def close(self) -> None:
        """Remove what was not handed over."""
        for part in self._parts:
            part.file.close()

    def _note(self, digest: str, request: LLMRequest, document: str) -> None:
        if digest in self._there:
            self._shared.setdefault(digest, set()).add(document)
            return
        part = self._of.get(digest)
        if part is not None:  # another chunk says the same
            held = part.holds[digest]
            if document not in held.documents:
                part.holds[digest] = replace(held, documents=(*held.documents, document))
            return
        line = self._batches.line(digest, request)
        if len(line) > self._batches.max_bytes:
            return  # only a call of its own can carry it
        part = self._room(len(line))
        part.lines.append(line)
        part.bytes += len(line)
        part.holds[digest] = Held(request.purpose, (document,), len(line))
        self._of[digest] = part

    def _room(self, size: int) -> _Part:
        """The file that takes one more line."""
        last = self._parts[-1] if self._parts else None
        if (
            last is None
            or len(last.holds) >= self._batches.max_requests
            or last.bytes + size > self._batches.max_bytes
        ):
            # Without a name from the start: whatever happens, no text stays behind in it.
            last = _Part(tempfile.TemporaryFile())  # noqa: SIM115 -- closed when it was handed over
            self._parts.append(last)
        return last

    async def _send(self, part: _Part) -> None:
        record = BatchRecord(
            name=f"stateless-rag-{secrets.token_hex(8)}",
            model=self._llm.model,
            requests=len(part.holds),
            made_at=self._context.clock.wall(),
            holds=part.holds,
        )
        await self._workspace.batches.add(record)
        try:
            id_ = await asked(self._context, self._llm.model, self._submission(record, part.file), TRANSFER)
        except ProviderError as error:
            if not error.retryable:  # it is surely not there; of any other error `recover` finds that out
                await self._give_up(record)
            raise
        record = await self._workspace.batches.change(
            record, provider=id_, stage="submitted", status="validating"
        )
        part.file.close()
        self._parts.remove(part)
        self._there.update(part.holds)
        self.sent.append(info_of(record))

    def _submission(self, record: BatchRecord, file: IO[bytes]) -> Callable[[], Awaitable[str]]:
        tried = False

        async def submit() -> str:
            nonlocal tried
            known = await self._batches.find(record.name, record.made_at) if tried else None
            if known is not None:  # only the answer was lost
                return known
            tried = True
            file.seek(0)
            return await self._batches.submit(record.name, file)

        return submit

    async def _give_up(self, record: BatchRecord) -> None:
        await self._batches.remove(record.name, None, record.made_at)
        await self._workspace.batches.remove(record)
