"""Documents: in, out, and where they stand."""

from __future__ import annotations

import html
import secrets
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import md5
from typing import TYPE_CHECKING, Any, cast

from stateless_rag.checks import choice, identifier, iterable, optional, shown, text
from stateless_rag.errors import InvalidInput, StatelessRagError
from stateless_rag.interop.lightrag.core import Core
from stateless_rag.interop.lightrag.errors import NotSupported, PipelineBackpressureError
from stateless_rag.interop.lightrag.results import DeletionResult, DocProcessingStatus, DocStatus
from stateless_rag.interop.shapes import UNKNOWN_SOURCE
from stateless_rag.text import clean_text
from stateless_rag.types import Document, Status

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
    from stateless_rag.protocols import Basis, ChunkRow, DocumentRow
    from stateless_rag.types import DocumentStatus

__all__ = ["Documents", "document_id_of", "documents_of", "status_rows"]

_SUMMARY = 250  # characters
_NO_PATH = ("", "no-file-path", UNKNOWN_SOURCE)
_RETRY_AFTER = 1.0  # seconds


class Documents(Core):
    """Documents in and out."""

    async def ainsert(
        self,
        input: str | Sequence[str],  # noqa: A002 -- LightRAG's name
        split_by_character: str | None = None,
        split_by_character_only: bool = False,
        ids: str | Sequence[str] | None = None,
        file_paths: str | Sequence[str] | None = None,
        track_id: str | None = None,
    ) -> str:
        """Take texts in, and what waits; returns the tracking id when each is committed or has failed.

        A document that is there already is updated, and pays for changed chunks alone; one that failed is tried
        again. `aget_docs_by_track_id` tells what became of them.
        """
        documents = documents_of(input, ids, file_paths)
        name = await self._track("insert", track_id, len(documents))
        async with self._cutting(split_by_character, split_by_character_only) as engine:
            await engine.insert(documents, tracking_id=name)
        opened = await self._session.opened()
        if await opened.store.waiting(opened.engine.name):
            await opened.engine.work(until_empty=True)
        return name

    async def apipeline_enqueue_documents(
        self,
        input: str | Sequence[str],  # noqa: A002
        ids: str | Sequence[str] | None = None,
        file_paths: str | Sequence[str] | None = None,
        track_id: str | None = None,
    ) -> str:
        """Make texts durable as pending; returns the tracking id."""
        documents = documents_of(input, ids, file_paths)
        name = await self._track("enqueue", track_id, len(documents))
        return await (await self.engine()).submit(documents, tracking_id=name)

    async def apipeline_process_enqueue_documents(
        self, split_by_character: str | None = None, split_by_character_only: bool = False
    ) -> None:
        """Take in what waits, until nothing is left. What failed is left to `apipeline_reset_failed_for_scan`."""
        async with self._cutting(split_by_character, split_by_character_only) as engine:
            await engine.work(until_empty=True)

    async def apipeline_reset_failed_for_scan(self) -> int:
        """Try again what failed, at once; only what is missing is paid for. Returns how many there were."""
        return len((await (await self.engine()).retry()).documents)

    async def apipeline_enqueue_error_documents(self, *_: Any, **__: Any) -> None:
        """Not supported: files are read by their owner, who knows which could not be."""
        raise NotSupported(
            "apipeline_enqueue_error_documents: there is no record of files that could not be read"
        )

    async def ainsert_custom_chunks(
        self, full_text: str, text_chunks: Sequence[str], doc_id: str | None = None
    ) -> None:
        """Take in a document that the caller has cut. Chunks that are not in its text make the text themselves."""
        whole = text("full_text", full_text)
        pieces = [*iterable("text_chunks", text_chunks, wanted="a list of texts")]
        await (await self.engine()).insert_chunks(
            pieces,
            text=whole if _in_order(pieces, whole) else None,
            document_id=document_id_of(whole) if doc_id is None else doc_id,
        )

    async def arollback_failed_custom_chunk_patches(self) -> None:
        """There are none: a document's chunks are taken in as one, or wait to be tried again."""

    async def ainsert_custom_kg(self, custom_kg: Mapping[str, Any], full_doc_id: str | None = None) -> None:
        """Take in a graph: its records are evidence of documents, named by `full_doc_id`, else their `source_id`.

        They are merged with what is there; the same document again replaces what it said before. Relations of an
        entity with itself are left out.
        """
        await (await self.engine()).insert_graph(custom_kg, document_id=full_doc_id)

    # ---- statuses --------------------------------------------------------------------------------------

    async def get_processing_status(self) -> dict[str, int]:
        """How many documents there are of each status."""
        page = await (await self.engine()).list_documents(limit=1)
        counts = Counter({status.value: 0 for status in DocStatus})
        for status, count in page.counts.items():
            counts[_status(status).value] += count
        return dict(counts)

    async def aget_docs_by_ids(self, ids: str | Collection[str]) -> dict[str, DocProcessingStatus]:
        """Documents by id; those that there are not are left out."""
        wanted = [ids] if isinstance(ids, str) else [*iterable("ids", ids, wanted="ids")]
        engine = await self.engine()
        known = [await engine.document_status(id_) for id_ in wanted]
        return await status_rows(engine, [status for status in known if status is not None])

    async def aget_docs_by_track_id(self, track_id: str) -> dict[str, DocProcessingStatus]:
        """Documents by id, those that came in last under a tracking id."""
        engine = await self.engine()
        return await status_rows(
            engine, (await engine.list_documents(tracking_id=track_id, limit=None)).documents
        )

    async def get_docs_by_status(self, status: DocStatus | str) -> dict[str, DocProcessingStatus]:
        """Documents by id, those of a status."""
        wanted = choice("status", status, among=tuple(DocStatus))
        found = [own for own in Status if _status(own) == wanted]
        if not found:
            return {}
        engine = await self.engine()
        return await status_rows(engine, (await engine.list_documents(status=found, limit=None)).documents)

    # ---- deleting --------------------------------------------------------------------------------------

    async def adelete_by_doc_id(self, doc_id: str, delete_llm_cache: bool = False) -> DeletionResult:  # noqa: ARG002
        """Delete a document with all that rests on it alone; the rest is as if it had never been there.

        That needs no cache, so `delete_llm_cache` has no effect.
        """
        engine = await self.engine()
        status = await engine.document_status(identifier("doc_id", doc_id))
        try:
            report = await engine.delete(doc_id)
        except StatelessRagError as error:
            return DeletionResult("fail", doc_id, f"{type(error).__name__}: {error}", 500, _source(status))
        if report.missing:
            return DeletionResult("not_found", doc_id, f"there is no document {doc_id!r}", 404)
        told = (
            f"document {doc_id!r} was deleted; {report.entities_removed} entities and {report.relations_removed} "
            f"relations went with it, {report.entities_changed} and {report.relations_changed} changed"
        )
        return DeletionResult("success", doc_id, told, 200, _source(status))

    async def aclear_cache(self) -> None:
        """Drop the LLM's replies that are kept. Nothing else needs them: deleting stays exact."""
        await (await self.engine()).clear_cache()

    async def check_and_migrate_data(self) -> None:
        """Open the workspace, which brings it to the present format."""
        await self.engine()

    async def _track(self, prefix: str, given: str | None, more: int) -> str:
        """The tracking id. Raises PipelineBackpressureError if there is no room for so many documents."""
        engine = await self.engine()
        if self.max_pending_documents:
            page = await engine.list_documents(limit=1)
            waiting = sum(page.counts.get(s, 0) for s in (Status.PENDING, Status.EXTRACTING, Status.MERGING))
            if waiting + more > self.max_pending_documents:
                raise PipelineBackpressureError(
                    f"{waiting} documents wait, {more} more would be beyond max_pending_documents, "
                    f"{self.max_pending_documents}; try again later",
                    retry_after=_RETRY_AFTER,
                )
        now = datetime.fromtimestamp(engine.context.clock.wall(), UTC)
        return (
            optional("track_id", given, identifier) or f"{prefix}_{now:%Y%m%d_%H%M%S}_{secrets.token_hex(4)}"
        )


# ---- what is given -------------------------------------------------------------------------------------


def document_id_of(given: str) -> str:
    """The id that a text or a file path has in LightRAG, if it is its only name."""
    return f"doc-{md5(given.encode('utf-8', 'replace'), usedforsecurity=False).hexdigest()}"


def documents_of(
    texts: str | Sequence[str], ids: str | Sequence[str] | None, file_paths: str | Sequence[str] | None
) -> list[Document]:
    """Documents with their ids: the given ones, else those that follow from the paths, else from the texts.

    An id follows from the whole path: of a bare file name it is LightRAG's, and files of one name in different
    folders are different documents. Different texts under one path are told apart by their texts. A text that
    comes twice counts once. Raises InvalidInput for lists of different lengths, and ids that are not different.
    """
    given = _listed("input", texts, None) or []
    names = _listed("ids", ids, len(given))
    paths = _listed("file_paths", file_paths, len(given))
    if names is not None and len(set(names)) < len(names):
        (twice, _), *_ = Counter(names).most_common(1)
        raise InvalidInput(f"ids has {shown(twice)} more than once; each document needs an id of its own")
    sources = [None if path.strip() in _NO_PATH else path.strip() for path in paths or [""] * len(given)]
    versions = Counter(source for source, _ in set(zip(sources, given, strict=True)))
    documents: dict[str, Document] = {}
    for place, (content, source) in enumerate(zip(given, sources, strict=True)):
        named = source is not None and versions[source] == 1
        found = document_id_of(cast("str", source) if named else _as_hashed(content))
        id_ = found if names is None else names[place]
        documents.setdefault(id_, Document(content, id=id_, source=source))
    return list(documents.values())


def _listed(name: str, value: Any, length: int | None) -> list[str] | None:
    if value is None:
        return None
    given = (
        [value] if isinstance(value, str) else [*iterable(name, value, wanted="a text or a list of texts")]
    )
    if length is not None and len(given) != length:
        raise InvalidInput(f"{name} has {len(given)} entries and input {length}; give one for each document")
    return [text(f"{name}[{place}]", item) for place, item in enumerate(given)]


def _as_hashed(content: str) -> str:
    """A text as LightRAG cleans it before it makes an id of it."""
    return html.unescape(content.strip()).strip()


def _in_order(pieces: Sequence[Any], whole: str) -> bool:
    start = 0
    for piece in pieces:
        at = whole.find(clean_text(piece), start) if isinstance(piece, str) else 0
        if at < 0:
            return False
        start = at + 1
    return True


# ---- statuses ------------------------------------------------------------------------------------------


def _status(status: Status) -> DocStatus:
    if status in (Status.EXTRACTING, Status.MERGING):
        return DocStatus.PROCESSING
    return DocStatus(status.value)


def _source(status: DocumentStatus | None) -> str | None:
    return None if status is None else status.source or UNKNOWN_SOURCE


async def status_rows(engine: Engine, statuses: Sequence[DocumentStatus]) -> dict[str, DocProcessingStatus]:
    """Documents in LightRAG's shape, by id, in the order given."""
    ids = [status.id for status in statuses]

    def read(basis: Basis) -> tuple[Mapping[str, DocumentRow], Sequence[ChunkRow]]:
        return basis.document_rows(ids), basis.chunk_rows(ids)

    documents, rows = await engine.workspace.read_basis(read)
    chunks: dict[str, list[str]] = {}
    for row in rows:
        chunks.setdefault(row.chunk.document_id, []).append(row.chunk.id)
    return {
        status.id: _row(status, documents.get(status.id), chunks.get(status.id, [])) for status in statuses
    }


def _row(status: DocumentStatus, document: DocumentRow | None, chunks: list[str]) -> DocProcessingStatus:
    changed = datetime.fromtimestamp(status.updated_at, UTC).isoformat()
    content = "" if document is None else document.text
    told = [status.error] if status.error else []
    told += [f"chunk {error.ordinal} ({error.chunk_id}): {error.error}" for error in status.errors]
    return DocProcessingStatus(
        content_summary=content if len(content) <= _SUMMARY else f"{content[:_SUMMARY]}...",
        content_length=status.characters,
        file_path=status.source or UNKNOWN_SOURCE,
        status=_status(status.status),
        created_at=changed,
        updated_at=changed,
        track_id=status.tracking_id,
        chunks_count=status.chunks,
        chunks_list=chunks,
        error_msg="; ".join(told) or None,
        metadata=dict(status.metadata),
        content_hash=None if document is None else md5(content.encode(), usedforsecurity=False).hexdigest(),
    )
