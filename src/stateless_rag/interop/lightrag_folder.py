"""Reading a working folder of LightRAG: its JSON files, its vectors, its graph. Pure but for reading files.

Any file may be missing, cut off, damaged, or of another generation than the others: what can be told is told, the
rest is noted. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from stateless_rag.interop.folder import Folder, FolderChunk, FolderDocument
from stateless_rag.interop.graph_values import entities_of, listed_evidence, listed_pairs, relations_of
from stateless_rag.interop.graphml import read_graph
from stateless_rag.interop.json_files import Row, read_rows, string, strings
from stateless_rag.interop.problems import Problems
from stateless_rag.interop.replies import matched
from stateless_rag.interop.vector_files import VectorRow, read_vectors
from stateless_rag.text import clean_text, entity_key
from stateless_rag.types import Status

if TYPE_CHECKING:
    from stateless_rag.interop.folder import FolderEntity
    from stateless_rag.protocols import Vectors

__all__ = ["GRAPH_FILE", "evidence_by_key", "read_chunks", "read_lightrag_folder", "vectors_by_text"]

GRAPH_FILE = "graph_chunk_entity_relation.graphml"

_NO_SOURCE = frozenset({"", "unknown_source", "no-file-path"})
_STATUSES = "kv_store_doc_status.json"
_CACHE = "kv_store_llm_response_cache.json"


def read_lightrag_folder(path: Path) -> Folder:
    """What the folder of one workspace holds. Raises nothing: a folder that is not there holds nothing."""
    problems = Problems()
    statuses = read_rows(path / _STATUSES, problems)
    chunk_vectors = read_vectors(path, "chunks", problems)
    entity_vectors = read_vectors(path, "entities", problems)
    relation_vectors = read_vectors(path, "relationships", problems)
    graph = read_graph(path / GRAPH_FILE, problems)
    entities = entities_of(
        graph,
        listed_evidence(read_rows(path / "kv_store_entity_chunks.json", problems)),
        entity_vectors,
        problems,
    )
    relations = relations_of(
        graph,
        listed_pairs(read_rows(path / "kv_store_relation_chunks.json", problems)),
        relation_vectors,
        problems,
    )
    cache = _cache(read_rows(path / _CACHE, problems), problems)
    rows = read_rows(path / "kv_store_text_chunks.json", problems)
    chunks = read_chunks(_with_lost(rows, chunk_vectors, problems), statuses, problems)
    replies = _replies(chunks, rows, cache, evidence_by_key(entities))
    return Folder(
        kind="lightrag",
        path=str(path),
        documents=tuple(
            _documents(read_rows(path / "kv_store_full_docs.json", problems), statuses, chunks, problems)
        ),
        chunks=tuple(
            FolderChunk(
                id=chunk.id,
                document_id=chunk.document_id,
                text=chunk.text,
                order=chunk.order,
                replies=replies.get(chunk.id, ()),
            )
            for chunk in chunks
        ),
        entities=tuple(entities),
        relations=tuple(relations),
        graph_is_whole=graph.whole,
        replies=tuple(string(row, "return") for key, row in cache.items() if _is_extraction(key)),
        summaries=frozenset(string(row, "return") for key, row in cache.items() if not _is_extraction(key)),
        vectors=vectors_by_text([*chunk_vectors, *entity_vectors, *relation_vectors], chunks),
        problems=problems.all(),
    )


# ---- chunks --------------------------------------------------------------------------------------------


def _with_lost(rows: Mapping[str, Row], vectors: Iterable[VectorRow], problems: Problems) -> dict[str, Row]:
    """The rows of chunks, with those that only the vectors' rows have."""
    found = dict(rows)
    for row in vectors:
        if row.id not in found and string(row.fields, "content"):
            found[row.id] = row.fields
            problems.add("kv_store_text_chunks.json", "a chunk is known from its vector's row only", row.id)
    return found


def read_chunks(
    rows: Mapping[str, Row], statuses: Mapping[str, Row], problems: Problems
) -> list[FolderChunk]:
    """The chunks that have a text, of the document that their row names, else of the one that lists them."""
    listed = {
        id_: (document, place)
        for document, status in statuses.items()
        for place, id_ in enumerate(strings(status, "chunks_list"))
    }
    missing = [
        id_ for id_, (document, _) in listed.items() if id_ not in rows and _is_done(statuses[document])
    ]
    for id_ in missing:
        problems.add("kv_store_text_chunks.json", "a chunk that a document lists is not there", id_)
    found = []
    for place, (id_, row) in enumerate(rows.items()):
        text = clean_text(string(row, "content"))
        if not text.strip():
            problems.add("kv_store_text_chunks.json", "a chunk without text", id_)
            continue
        owner, listed_at = listed.get(id_, ("", place))
        order = row.get("chunk_order_index")
        found.append(
            FolderChunk(
                id=id_,
                document_id=string(row, "full_doc_id") or owner or id_,
                text=text,
                order=order if isinstance(order, int) and abs(order) < 1 << 53 else listed_at,
            )
        )
    return found


# ---- documents -----------------------------------------------------------------------------------------


def _is_done(status: Row) -> bool:
    return string(status, "status").lower() == Status.PROCESSED


def _documents(
    texts: Mapping[str, Row], statuses: Mapping[str, Row], chunks: Sequence[FolderChunk], problems: Problems
) -> Iterator[FolderDocument]:
    """Every document that a text, a status or a chunk tells of, but for reports of duplicates."""
    cut = {chunk.document_id for chunk in chunks}
    paths = {id_: string(row, "file_path") for id_, row in (*statuses.items(), *texts.items())}
    for id_ in dict.fromkeys((*texts, *statuses, *(chunk.document_id for chunk in chunks))):
        row, status = texts.get(id_), statuses.get(id_, {})
        text = None if row is None or not isinstance(row.get("content"), str) else string(row, "content")
        if text is None and id_ not in cut:
            if not _is_duplicate(id_, status):
                problems.add(_STATUSES, "a document whose text is lost", id_)
            continue
        if text is None:
            problems.add("kv_store_full_docs.json", "a document's text is put together from its chunks", id_)
        source = paths.get(id_, "")
        yield FolderDocument(
            id=id_,
            text=text,
            source=None if source in _NO_SOURCE else source,
            status=_status(status, cut=id_ in cut),
            error=string(status, "error_msg") or None,
            metadata=MappingProxyType(
                {name: string(status, name) for name in ("created_at", "track_id") if string(status, name)}
            ),
        )


def _is_duplicate(id_: str, status: Row) -> bool:
    told = status.get("metadata")
    return id_.startswith(("dup-", "error-")) or (isinstance(told, dict) and bool(told.get("is_duplicate")))


def _status(status: Row, *, cut: bool) -> Status:
    """Older folders tell no status; then a document that was cut is done."""
    told = string(status, "status").lower()
    if not told:
        return Status.PROCESSED if cut else Status.PENDING
    return Status.PROCESSED if _is_done(status) else Status.FAILED if told == "failed" else Status.PENDING


# ---- replies -------------------------------------------------------------------------------------------


def _cache(rows: Mapping[str, Row], problems: Problems) -> dict[str, Row]:
    """The kept replies by key; in older files they are nested by mode."""
    found: dict[str, Row] = {}
    for key, row in rows.items():
        if "return" in row:
            found[key] = row
        else:
            nested = {
                f"{key}:{string(inner, 'cache_type') or 'extract'}:{hash_}": inner
                for hash_, inner in row.items()
                if isinstance(inner, dict)
            }
            found.update(nested)
    usable = {key: row for key, row in found.items() if isinstance(row.get("return"), str)}
    for key in found.keys() - usable.keys():
        problems.add(_CACHE, "a reply that is no text", key)
    return usable


def _is_extraction(key: str) -> bool:
    return ":extract:" in key


def _replies(
    chunks: Sequence[FolderChunk],
    rows: Mapping[str, Row],
    cache: Mapping[str, Row],
    evidence: Mapping[str, frozenset[str]],
) -> dict[str, tuple[str, ...]]:
    """The replies about each chunk: those that it lists, those that name it, and where none do, by their names."""
    extractions = {key: row for key, row in cache.items() if _is_extraction(key)}
    naming: dict[str, list[str]] = {}
    for key, row in extractions.items():
        naming.setdefault(string(row, "chunk_id"), []).append(key)
    keys: dict[str, list[str]] = {}
    for chunk in chunks:
        listed = (*strings(rows.get(chunk.id, {}), "llm_cache_list"), *naming.get(chunk.id, ()))
        if own := [key for key in dict.fromkeys(listed) if key in extractions]:
            keys[chunk.id] = sorted(own, key=lambda key: _created(extractions[key]))
    used = {key for own in keys.values() for key in own}
    found = {id_: tuple(string(extractions[key], "return") for key in own) for id_, own in keys.items()}
    loose = [string(extractions[key], "return") for key in naming.get("", ()) if key not in used]
    known = {chunk.id for chunk in chunks}
    for id_, replies in matched(loose, evidence).items():
        if id_ in known and id_ not in found:
            found[id_] = tuple(replies)
    return found


def _created(row: Row) -> float:
    at = row.get("create_time")
    return float(at) if isinstance(at, int | float) and abs(at) < 1 << 53 else 0.0


def evidence_by_key(entities: Iterable[FolderEntity]) -> dict[str, frozenset[str]]:
    """The chunks that the graph names for each entity."""
    found: dict[str, frozenset[str]] = {}
    for entity in entities:
        key = entity_key(entity.name)
        found[key] = found.get(key, frozenset()).union(entity.chunk_ids)
    return found


# ---- vectors -------------------------------------------------------------------------------------------


def vectors_by_text(rows: Iterable[VectorRow], chunks: Iterable[FolderChunk]) -> Mapping[str, Vectors]:
    """The vectors by the text that was embedded; for chunks that is the chunk's, for others their row tells it."""
    texts = {chunk.id: chunk.text for chunk in chunks}
    found: dict[str, Vectors] = {}
    for row in rows:
        text = clean_text(string(row.fields, "content")) or texts.get(row.id, "")
        if text and row.vector is not None:
            found[text] = row.vector
    return MappingProxyType(found)
