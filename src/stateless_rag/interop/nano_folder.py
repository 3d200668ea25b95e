"""Reading a working folder of nano-graphrag, the predecessor: fewer files, names in quotes and capitals.

Its cache does not tell which chunk a reply is about: that follows from the names in it. Its vectors do not tell
which text they are of, and are not taken.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from stateless_rag.interop.folder import Folder, FolderDocument
from stateless_rag.interop.graph_values import entities_of, relations_of
from stateless_rag.interop.graphml import read_graph
from stateless_rag.interop.json_files import read_rows, string
from stateless_rag.interop.lightrag_folder import GRAPH_FILE, evidence_by_key, read_chunks, vectors_by_text
from stateless_rag.interop.problems import Problems
from stateless_rag.interop.replies import matched
from stateless_rag.interop.vector_files import read_vectors
from stateless_rag.types import Status

__all__ = ["read_nano_folder"]


def read_nano_folder(path: Path) -> Folder:
    """What the folder holds. Raises nothing. There are no statuses: a document with chunks is done."""
    problems = Problems()
    graph = read_graph(path / GRAPH_FILE, problems)
    entities = entities_of(graph, {}, (), problems)
    relations = relations_of(graph, {}, (), problems)
    texts = read_rows(path / "kv_store_full_docs.json", problems)
    chunks = read_chunks(read_rows(path / "kv_store_text_chunks.json", problems), {}, problems)
    cache = read_rows(path / "kv_store_llm_response_cache.json", problems)
    replies = [string(row, "return") for row in cache.values() if string(row, "return")]
    about = matched(replies, evidence_by_key(entities))
    cut = {chunk.document_id for chunk in chunks}
    documents = [
        FolderDocument(
            id=id_,
            text=string(row, "content"),
            status=Status.PROCESSED if id_ in cut else Status.PENDING,
        )
        for id_, row in texts.items()
    ]
    for id_ in dict.fromkeys(chunk.document_id for chunk in chunks):
        if id_ not in texts:
            documents.append(FolderDocument(id=id_, text=None))
            problems.add("kv_store_full_docs.json", "a document's text is put together from its chunks", id_)
    return Folder(
        kind="nano-graphrag",
        path=str(path),
        documents=tuple(documents),
        chunks=tuple(replace(chunk, replies=tuple(about.get(chunk.id, ()))) for chunk in chunks),
        entities=tuple(entities),
        relations=tuple(relations),
        graph_is_whole=graph.whole,
        replies=tuple(replies),
        summaries=frozenset(replies),
        vectors=MappingProxyType(vectors_by_text(read_vectors(path, "chunks", problems), chunks)),
        problems=problems.all(),
    )
