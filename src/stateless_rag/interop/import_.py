"""Bringing a working folder of LightRAG or nano-graphrag into a workspace, without asking an LLM."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from stateless_rag.checks import flag, instance, optional, text
from stateless_rag.checks import path as checked_path
from stateless_rag.context import Meter
from stateless_rag.curating import edit_entity, edit_relation, history
from stateless_rag.engine import Engine
from stateless_rag.errors import InvalidInput
from stateless_rag.ingest import Ingest, new_tracking_id, submit
from stateless_rag.interop.documents import Plan, plan_import
from stateless_rag.interop.folders import folder_of, read_folder
from stateless_rag.interop.problems import Problem, Problems
from stateless_rag.interop.taken_vectors import TakenVectors, fitting_vectors
from stateless_rag.limits import Priority
from stateless_rag.stages.chunk import document_id
from stateless_rag.text import entity_key
from stateless_rag.types import Document, GivenDocument, InsertReport, Status, UsageByPurpose

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.interop.evidence import Edit
    from stateless_rag.interop.folder import Folder
    from stateless_rag.protocols import Basis, Vectors, Workspace

__all__ = ["ImportReport", "import_lightrag"]

_DESCRIPTION_LIMIT = 10_000  # of a change by hand
_HISTORY = 1000  # changes that are looked through for one that was made here


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What was brought in, from what, and what could not be.

    `found` counts what could be read of the folder. `documents` counts by status what became of its documents;
    `present` were there already and were left alone. Of the chunks of documents that are done, `chunks_from_replies`
    say what the LLM's kept replies say, `chunks_from_graph` what the graph says of them, and `chunks_silent`
    nothing. `supplemented` chunks have replies, and the graph says more of them. `left_out` are names and pairs
    of replies that the graph does not have any more. `by_hand` values, which no chunk tells of, became a document
    whose source is the graph's file; `edited` values, which differ from what the replies say, became changes by hand
    (`Engine.history`). `vectors_taken` are the folder's, `vectors_embedded` were made anew; `vectors_refused` tells
    why none could be taken.
    """

    folder: str
    kind: Literal["lightrag", "nano-graphrag"]
    workspace: str
    tracking_id: str
    found: Mapping[str, int]
    documents: Mapping[Status, int]
    present: int
    chunks_from_replies: int
    chunks_from_graph: int
    chunks_silent: int
    supplemented: int
    left_out: tuple[str, ...]
    by_hand: int
    edited: int
    vectors_taken: int
    vectors_embedded: int
    vectors_refused: str | None = None
    problems: tuple[Problem, ...]
    usage: UsageByPurpose
    seconds: float
    revision: int


async def import_lightrag(
    engine: Engine, folder: str | Path, *, workspace: str | None = None, replace: bool = False
) -> ImportReport:
    """Bring a working folder of LightRAG or nano-graphrag into the engine's workspace.

    `folder` is that of one workspace; or the folder above, and `workspace` names it. Documents keep their ids,
    chunks, sources and statuses; those that were not done wait, or count as failed, and `Engine.resume` extracts
    them. No LLM is called, and nothing in the folder is written. What is damaged or lost is told of in the
    report, the rest is brought in. A document that is there already is left alone, unless `replace` is true;
    so an import that was interrupted is completed by repeating it.

    Raises InvalidInput if the folder holds none of their files, ProviderError if the embedder fails.
    """
    instance("engine", engine, kind=Engine)
    flag("replace", replace)
    root, name = Path(checked_path("folder", folder)), optional("workspace", workspace, text)
    source = await asyncio.to_thread(lambda: folder_of(root.expanduser().absolute(), name))
    problems = Problems()
    started = engine.context.clock.monotonic()
    read = await asyncio.to_thread(read_folder, source)
    policy = engine.context.settings.merging.key_policy
    plan = await asyncio.to_thread(plan_import, read, policy, problems)
    return await _Import(engine, read, plan, problems, started).run(replace)


class _Import:
    """One import; made for one call."""

    def __init__(
        self, engine: Engine, folder: Folder, plan: Plan, problems: Problems, started: float
    ) -> None:
        self._folder = folder
        self._plan = plan
        self._problems = problems
        self._started = started
        self._tracking_id = new_tracking_id()
        self._workspace: Workspace = engine.workspace
        # Without an LLM long lists of descriptions are joined: what the folder's owner paid for is enough.
        self._context: Context = engine.context.without_llm().derive(
            meter=Meter(), journal=self._workspace.journal, priority=Priority.INGEST
        )

    async def run(self, replace: bool) -> ImportReport:
        plan = self._plan
        unfinished = [*plan.pending, *(document for document, _ in plan.failed)]
        present = set() if replace else await self._present([*plan.done, *unfinished])
        done = [document for document in plan.done if document_id(document) not in present]
        pieces = chain.from_iterable(map(_pieces, done))
        brought = self._folder.vectors if done else MappingProxyType({})
        vectors, refused = await fitting_vectors(self._context, brought, pieces)
        journal = TakenVectors(self._workspace.journal, vectors, self._context.embedder.model)
        context = self._context.derive(journal=journal)
        await self._note_long(done, vectors)
        inserted = await Ingest(context, self._workspace, self._tracking_id).insert(done)
        waiting = await self._leave_waiting(present)
        edited = [edit for edit in plan.evidence.edits if await self._edit(edit)]
        report = self._report(inserted, waiting, journal, present=len(present), edited=len(edited))
        return dataclasses.replace(report, vectors_refused=refused)

    async def _present(self, documents: Sequence[Document]) -> set[str]:
        ids = [document_id(document) for document in documents]

        def look(basis: Basis) -> set[str]:
            return {row.id for row in basis.document_rows(ids).values()}

        return await self._workspace.read_basis(look)

    async def _note_long(self, documents: Sequence[GivenDocument], vectors: Mapping[str, Vectors]) -> None:
        """Chunks are kept as they were cut; an embedder may refuse, or read only the beginning of, a long one."""
        most = self._context.embedder.max_tokens
        if most is None:
            return

        def look() -> None:
            for piece in chain.from_iterable(map(_pieces, documents)):
                # A token is at least one byte: short texts need not be counted.
                if piece not in vectors and len(piece.encode()) > most < self._context.tokenizer.count(piece):
                    self._problems.add("chunks", f"a chunk has more than {most:,} tokens", piece[:40])

        await asyncio.to_thread(look)

    async def _leave_waiting(self, present: set[str]) -> Mapping[Status, int]:
        """Submit the documents that were not done, unless they wait already; those that failed fail here too."""
        known = {*present, *self._workspace.waiting()}
        pending = [document for document in self._plan.pending if document_id(document) not in known]
        await submit(self._workspace, pending, self._tracking_id, claimed=False)
        failed = {document_id(d): (d, why) for d, why in self._plan.failed if document_id(d) not in known}
        _, taken = await submit(
            self._workspace, [document for document, _ in failed.values()], self._tracking_id, claimed=True
        )
        for claim in taken:
            await self._workspace.fail(claim, [{"error": failed[claim.document_id][1]}])
        return {Status.PENDING: len(pending), Status.FAILED: len(failed)}

    async def _edit(self, edit: Edit) -> bool:
        """Edit what was edited in the folder, unless it was changed by hand here before."""
        context, workspace = self._context, self._workspace
        policy = context.settings.merging.key_policy
        keys = {entity_key(name, policy) for name in edit.names}
        if any(keys == {*entry.keys} for entry in await history(context, workspace, edit.names[0], _HISTORY)):
            return False
        description = None if edit.description is None else edit.description[:_DESCRIPTION_LIMIT]
        try:
            if len(edit.names) == 1:
                await edit_entity(context, workspace, edit.names[0], edit.type, description)
            else:
                values: dict[str, Any] = {"keywords": edit.keywords, "description": description}
                await edit_relation(context, workspace, edit.names[0], edit.names[1], **values, weight=None)
        except InvalidInput as error:
            self._problems.add("the graph", f"an edit could not be made ({error})", " – ".join(edit.names))
            return False
        return True

    def _report(
        self,
        inserted: InsertReport,
        waiting: Mapping[Status, int],
        journal: TakenVectors,
        *,
        present: int,
        edited: int,
    ) -> ImportReport:
        folder, evidence = self._folder, self._plan.evidence
        for document in inserted.failed:
            self._problems.add("documents", document.error or "failed", document.id)
        statuses = Counter(inserted.counts) + Counter(waiting)
        found = {
            "documents": len(folder.documents),
            "chunks": len(folder.chunks),
            "entities": len(folder.entities),
            "relations": len(folder.relations),
            "replies": len(folder.replies),
            "vectors": len(folder.vectors),
        }
        return ImportReport(
            folder=folder.path,
            kind=folder.kind,
            workspace=self._workspace.name,
            tracking_id=self._tracking_id,
            found=MappingProxyType(found),
            documents=MappingProxyType(statuses),
            present=present,
            chunks_from_replies=evidence.from_replies,
            chunks_from_graph=evidence.from_graph,
            chunks_silent=evidence.silent,
            supplemented=evidence.supplemented,
            left_out=evidence.left_out,
            by_hand=self._plan.by_hand,
            edited=edited,
            vectors_taken=len(journal.taken),
            vectors_embedded=len(journal.missing),
            problems=(*folder.problems, *self._problems.all()),
            usage=self._context.meter.totals(),
            seconds=self._context.clock.monotonic() - self._started,
            revision=self._workspace.revision,
        )


def _pieces(document: GivenDocument) -> Iterator[str]:
    """The chunks' texts."""
    for start, stop in () if document.given is None else document.given.spans:
        yield document.text[start:stop]
