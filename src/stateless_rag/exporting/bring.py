"""A JSON Lines file of ours into a workspace: by the write path that all documents take, without asking an LLM."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any

from stateless_rag.calls import vector_digest
from stateless_rag.checks import path as checked_path
from stateless_rag.commit import Batch, commit
from stateless_rag.errors import InvalidInput, WorkspaceMismatch
from stateless_rag.exporting.files import in_thread
from stateless_rag.exporting.lines import Brought, Described, Head, Line, read_lines
from stateless_rag.exporting.summaries import Summaries
from stateless_rag.ingest import Ingest, submit
from stateless_rag.stages.embed import entity_text, relation_text
from stateless_rag.types import Curation, Entity, GivenDocument, JsonlReport, Usage

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.curation_log import CurationLog
    from stateless_rag.protocols import Basis, Vectors, Workspace
    from stateless_rag.types import InsertReport

__all__ = ["bring_in"]

_LINES = 256  # lines, or documents, that are read at a time
_DOCUMENTS_CHARACTERS = 1_000_000


@dataclass(frozen=True, slots=True)
class _Checked:
    """What is known of a file once it has been read through."""

    head: Head
    curations: tuple[Curation, ...]


async def bring_in(context: Context, workspace: Workspace, path: Any, tracking_id: str) -> JsonlReport:
    """Bring in all that a file holds. It is read through before anything is changed."""
    source = checked_path("path", path).absolute()
    started = context.clock.monotonic()
    with await in_thread(partial(_opened, source)) as file:
        checked = await in_thread(partial(_check, file, source.name))
        policy = context.settings.merging.key_policy
        if checked.head.key_policy != policy:
            raise WorkspaceMismatch(
                f"{source.name!r} was written with key policy {checked.head.key_policy!r}, workspace "
                f"{workspace.name!r} has {policy!r}; open a new workspace with the file's"
            )
        # Without an LLM descriptions are joined: what was paid for once is in the file.
        bringing = _Bringing(context.without_llm(), workspace, file, source, tracking_id, checked)
        return await bringing.run(started)


def _opened(source: Path) -> IO[bytes]:
    if not source.is_file():
        raise InvalidInput(f"path is {str(source)!r}, but there is no such file")
    return source.open("rb")


def _check(file: IO[bytes], name: str) -> _Checked:
    head: Head | None = None
    curations: list[Curation] = []
    for line in read_lines(file, name):
        if isinstance(line, Head):
            head = line
        elif isinstance(line, Curation):
            curations.append(line)
    assert head is not None  # noqa: S101 -- no file without one is read to its end
    if missing := sorted({"curations", "documents", "chunks"}.difference(head.holds)):
        raise InvalidInput(
            f"{name!r} was written without {', '.join(missing)}, so no workspace can be made of it; export "
            "without `include`"
        )
    return _Checked(head, tuple(curations))


class _Bringing:
    """One file on its way in; made for one call."""

    def __init__(
        self,
        context: Context,
        workspace: Workspace,
        file: IO[bytes],
        source: Path,
        tracking_id: str,
        checked: _Checked,
    ) -> None:
        self._context = context
        self._workspace = workspace
        self._file = file
        self._source = source
        self._tracking_id = tracking_id
        self._checked = checked
        self._fitting = checked.head.embedder == context.embedder.model
        self._vectors: set[str] = set()
        self._partial: list[GivenDocument] = []

    async def run(self, started: float) -> JsonlReport:
        added, present = await self._add_curations()
        ingest = Ingest(self._context, self._workspace, self._tracking_id)
        inserted = await ingest.insert(self._documents())
        await self._leave_failed()
        summaries = await self._take_summaries()
        return self._report(inserted, added, present, summaries, self._context.clock.monotonic() - started)

    def _report(
        self, inserted: InsertReport, added: int, present: int, summaries: int, seconds: float
    ) -> JsonlReport:
        return JsonlReport(
            path=self._source,
            tracking_id=self._tracking_id,
            documents=MappingProxyType(Counter(document.status for document in inserted.documents)),
            unchanged=sum(document.unchanged for document in inserted.documents),
            failed=inserted.failed,
            curations=added,
            present=present,
            summaries=summaries,
            vectors=len(self._vectors),
            usage=self._context.meter.totals(),
            seconds=seconds,
            revision=self._workspace.revision,
        )

    def _lines(self) -> Iterator[Line]:
        """The file from its beginning; one use of it at a time."""
        self._file.seek(0)
        return read_lines(self._file, self._source.name)

    # ---- changes by hand -------------------------------------------------------------------------------

    async def _add_curations(self) -> tuple[int, int]:
        """Add the entries that are not in the log; how many are added, and how many there were."""
        entries = self._checked.curations
        log = await self._workspace.read_basis(lambda basis: basis.curations())
        known = await asyncio.to_thread(_known, entries, log)
        for entry in entries:
            if entry.number not in known:
                draft = partial(_next_entry, entry, known.get(entry.payload.get("number", 0)))
                committed = await commit(self._context, self._workspace, Batch(curation=draft))
                assert committed.curation is not None  # noqa: S101 -- the draft always makes one
                known[entry.number] = committed.curation.number
        added = len([n for n in known.values() if n >= log.next_number])
        return added, len(entries) - added

    # ---- documents -------------------------------------------------------------------------------------

    async def _documents(self) -> AsyncGenerator[GivenDocument]:
        """The documents, once the vectors that they need are in the journal."""
        lines = self._lines()
        while part := await in_thread(partial(_some, lines)):
            vectors: dict[str, Vectors] = {}
            for line in part:
                if isinstance(line, Described) and line.vector is not None:
                    vectors[self._text(line)] = line.vector
                elif isinstance(line, Brought):
                    vectors.update(line.vectors)
            await self._keep(vectors)
            for line in part:
                if isinstance(line, Brought):
                    given = line.document.given
                    if given is not None and any(r is not None and r.error for r in given.records):
                        self._partial.append(line.document)
                    yield line.document

    def _text(self, line: Described) -> str:
        """What is embedded of an entity or a relation."""
        if isinstance(line.shown, Entity):
            return entity_text(self._context, line.shown)
        return relation_text(self._context, line.shown)

    async def _keep(self, vectors: dict[str, Vectors]) -> None:
        """Put vectors where embedding looks for them first."""
        if not self._fitting or not vectors:
            return
        model = self._context.embedder.model
        named = {vector_digest(model, text): vector for text, vector in vectors.items()}
        await self._workspace.journal.put_vectors(named, Usage(), model)
        self._vectors.update(named)

    async def _leave_failed(self) -> None:
        """Of documents that are there in part, let the rest wait for `retry`, as it did where they come from."""
        for document in self._partial:
            errors = _errors(document)
            _, taken = await submit(self._workspace, [_to_retry(document)], self._tracking_id, claimed=True)
            for claim in taken:
                await self._workspace.fail(claim, errors)

    # ---- descriptions ----------------------------------------------------------------------------------

    async def _take_summaries(self) -> int:
        """Put what an LLM has written in place of what was joined here, where it is about the same texts."""
        summaries = Summaries(self._context, self._workspace)
        lines = _described(self._lines())
        while part := await in_thread(lambda: list(islice(lines, _LINES))):
            await summaries.take([line for line in part if line.summary_of is not None])
        return summaries.taken


def _some(lines: Iterator[Line]) -> Sequence[Line]:
    """Some lines more; few, if their documents are large."""
    found: list[Line] = []
    characters = 0
    for line in islice(lines, _LINES):
        found.append(line)
        if isinstance(line, Brought):
            characters += len(line.document.text)
            if characters >= _DOCUMENTS_CHARACTERS:
                break
    return found


def _described(lines: Iterator[Line]) -> Iterator[Described]:
    for line in lines:
        if isinstance(line, Described):
            yield line
        elif isinstance(line, Brought):
            return


def _errors(document: GivenDocument) -> list[dict[str, Any]]:
    records = () if document.given is None else document.given.records
    return [
        {"ordinal": place, "chunk_id": "", "error": one.error, "attempts": 1}
        for place, one in enumerate(records)
        if one is not None and one.error is not None
    ]


def _to_retry(document: GivenDocument) -> GivenDocument:
    """The document, with its chunks that failed left to an extractor."""
    given = document.given
    if given is None:
        return document
    records = tuple(None if one is None or one.error is not None else one for one in given.records)
    return replace(document, given=replace(given, records=records))


# ---- the log -------------------------------------------------------------------------------------------


def _known(entries: Sequence[Curation], log: CurationLog) -> dict[int, int]:
    """The numbers that entries of the file have in the log, for those that are there.

    Raises InvalidInput if with the others a name would stand for itself.
    """
    there: dict[Any, list[int]] = {}
    for identity, number in _identities(log.entries):
        there.setdefault(identity, []).insert(0, number)
    known = {
        number: there[identity].pop() for identity, number in _identities(entries) if there.get(identity)
    }
    following = log
    numbers = dict(known)
    for entry in entries:
        if entry.number not in numbers:
            new = _renumbered(entry, following.next_number, numbers.get(entry.payload.get("number", 0)))
            following = following.following(new)
            numbers[entry.number] = new.number
            if (key := following.circle) is not None:
                raise InvalidInput(
                    f"with change {entry.number} of the file, the name {key!r} would stand for itself by way of "
                    "others here; take an alias back, or bring the file into a new workspace"
                )
    return known


def _identities(entries: Sequence[Curation]) -> Iterator[tuple[Any, int]]:
    """What an entry says, whatever its number, and its number."""
    said: dict[int, Any] = {}
    for entry in entries:
        payload = (
            said[entry.payload["number"]] if entry.kind == "undo" else repr(sorted(entry.payload.items()))
        )
        said[entry.number] = identity = (entry.at, entry.kind, entry.keys, entry.names, payload)
        yield identity, entry.number


def _next_entry(entry: Curation, undone: int | None, basis: Basis) -> Curation:
    return _renumbered(entry, basis.curations().next_number, undone)


def _renumbered(entry: Curation, number: int, undone: int | None) -> Curation:
    payload = entry.payload if entry.kind != "undo" else MappingProxyType({"number": undone})
    return replace(entry, number=number, payload=payload, undone_by=None)
