"""Small working folders of LightRAG and nano-graphrag, written as those engines write them."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b, md5
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from stateless_rag.protocols import Embeddings

SEP = "<SEP>"
DIMENSION = 8
GRAPH = "graph_chunk_entity_relation.graphml"

Vectors = NDArray[np.float32]
Entity = tuple[str, str, str]
Relation = tuple[str, str, str, str]


@dataclass(frozen=True)
class Piece:
    """A chunk, and what an LLM said of it in its first pass, and in the second."""

    text: str
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
    gleaned: tuple[Entity, ...] = ()


@dataclass(frozen=True)
class Doc:
    id: str
    pieces: tuple[Piece, ...]
    status: str = "processed"
    path: str = ""
    text: str | None = None

    @property
    def content(self) -> str:
        return "\n".join(piece.text for piece in self.pieces) if self.text is None else self.text

    def chunk_id(self, place: int) -> str:
        return f"{self.id}-chunk-{place:03}"


class SeededEmbedder:
    """Each text has a vector of its own, and each seed is another model."""

    max_tokens, max_batch, max_batch_tokens = None, 4, None

    def __init__(self, dimension: int = DIMENSION, seed: str = "one") -> None:
        self.dimension = dimension
        self.model = f"seeded-{seed}-{dimension}"
        self.seed = seed
        self.embedded: list[str] = []

    def vectors(self, texts: Sequence[str]) -> Vectors:
        rows = [
            np.random.default_rng(
                int.from_bytes(blake2b((self.seed + text).encode(), digest_size=8).digest())
            ).standard_normal(self.dimension)
            for text in texts
        ]
        return np.array(rows, dtype=np.float32).reshape(-1, self.dimension)

    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
        self.embedded.extend(texts)
        return Embeddings(vectors=self.vectors(texts))


# ---- what the engines keep -----------------------------------------------------------------------------


@dataclass
class Graph:
    """Nodes and edges, each with its descriptions and its chunks in order."""

    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    edges: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, documents: Sequence[Doc]) -> Graph:
        graph = cls()
        for document in documents:
            for place, piece in enumerate(document.pieces):
                graph.take(document.chunk_id(place), piece, document.path)
        return graph

    def take(self, chunk_id: str, piece: Piece, path: str) -> None:
        for name, type_, text in (*piece.entities, *piece.gleaned):
            self.node(name, type_, text, chunk_id, path)
        for source, target, words, text in piece.relations:
            for name in (source, target):
                if name in self.nodes:
                    self.node(name, "", "", chunk_id, path)
                else:
                    self.node(name, "UNKNOWN", text, chunk_id, path)
            one, other = sorted((source, target))
            edge = self.edges.setdefault((one, other), {"words": {}, "texts": {}, "chunks": {}, "path": path})
            edge["words"].update(dict.fromkeys(words.split(",")))
            edge["texts"][text] = edge["chunks"][chunk_id] = None

    def node(self, name: str, type_: str, text: str, chunk_id: str, path: str) -> None:
        node = self.nodes.setdefault(name, {"type": type_.lower(), "texts": {}, "chunks": {}, "path": path})
        if text:
            node["texts"][text] = None
        node["chunks"][chunk_id] = None


def reply(piece: Piece) -> str:
    rows = [f"entity<|#|>{name}<|#|>{type_}<|#|>{text}" for name, type_, text in piece.entities]
    rows += [f"relation<|#|>{'<|#|>'.join(relation)}" for relation in piece.relations]
    return "\n".join([*rows, "<|COMPLETE|>"])


def _id(prefix: str, text: str) -> str:
    return prefix + md5(text.encode()).hexdigest()


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2), encoding="utf-8")


# ---- LightRAG ------------------------------------------------------------------------------------------


def lightrag_folder(
    folder: Path,
    documents: Sequence[Doc],
    *,
    embedder: SeededEmbedder | None = None,
    store: Literal["json", "faiss"] = "json",
    replies: bool = True,
    edit: Callable[[Graph], None] | None = None,
) -> Path:
    """Write the folder of one workspace. Documents that are not processed are not in the graph."""
    folder.mkdir(parents=True, exist_ok=True)
    done = [document for document in documents if document.status == "processed"]
    graph = Graph.of(done)
    if edit is not None:
        edit(graph)
    chunks = {
        document.chunk_id(place): (document, place, piece)
        for document in documents
        for place, piece in enumerate(document.pieces)
    }
    cache = _cache(chunks) if replies else {}
    _write_stores(folder, documents, chunks, cache)
    write_json(
        folder / "kv_store_entity_chunks.json",
        {name: {"chunk_ids": list(node["chunks"])} for name, node in graph.nodes.items()},
    )
    write_json(
        folder / "kv_store_relation_chunks.json",
        {SEP.join(pair): {"chunk_ids": list(edge["chunks"])} for pair, edge in graph.edges.items()},
    )
    (folder / GRAPH).write_text(graphml(graph), encoding="utf-8")
    write = _write_vdb if store == "json" else _write_faiss
    for name, rows in _vector_rows(graph, chunks).items():
        write(folder, name, rows, embedder or SeededEmbedder())
    return folder


def _cache(chunks: dict[str, tuple[Doc, int, Piece]]) -> dict[str, dict[str, Any]]:
    cache = {}
    for chunk_id, (_, _, piece) in chunks.items():
        row = {"cache_type": "extract", "chunk_id": chunk_id, "original_prompt": "…", "queryparam": None}
        cache[_id("default:extract:", chunk_id)] = row | {"return": reply(piece), "create_time": 1}
        if piece.gleaned:
            more = reply(Piece("", piece.gleaned))
            cache[_id("default:extract:", f"{chunk_id} more")] = row | {"return": more, "create_time": 2}
    return cache


def _write_stores(
    folder: Path,
    documents: Sequence[Doc],
    chunks: dict[str, tuple[Doc, int, Piece]],
    cache: dict[str, dict[str, Any]],
) -> None:
    keys: dict[str, list[str]] = {}
    for key, row in cache.items():
        keys.setdefault(row["chunk_id"], []).append(key)
    write_json(folder / "kv_store_llm_response_cache.json", cache)
    write_json(
        folder / "kv_store_full_docs.json",
        {doc.id: {"content": doc.content, "file_path": doc.path, "_id": doc.id} for doc in documents},
    )
    write_json(
        folder / "kv_store_text_chunks.json",
        {
            chunk_id: {
                "tokens": 3,
                "content": piece.text,
                "chunk_order_index": place,
                "full_doc_id": doc.id,
                "file_path": doc.path,
                "llm_cache_list": keys.get(chunk_id, []),
            }
            for chunk_id, (doc, place, piece) in chunks.items()
        },
    )
    write_json(
        folder / "kv_store_doc_status.json",
        {
            doc.id: {
                "status": doc.status,
                "file_path": doc.path,
                "created_at": "2026-01-01T00:00:00+00:00",
                "track_id": "insert_1",
                "chunks_list": [doc.chunk_id(place) for place in range(len(doc.pieces))],
                "error_msg": "the LLM was down" if doc.status == "failed" else None,
                "metadata": {},
            }
            for doc in documents
        },
    )


def graphml(graph: Graph, *, nano: bool = False) -> str:
    names = ("entity_id", "entity_type", "description", "source_id") + (("clusters",) if nano else ())
    ends = ("weight", "description", "source_id") + (("order",) if nano else ("keywords",))
    keys = {("node", name): f"d{place}" for place, name in enumerate(names)}
    keys |= {("edge", name): f"d{place}" for place, name in enumerate(ends, len(names))}
    head = "".join(
        f'<key id="{key}" for="{kind}" attr.name="{name}" attr.type="string"/>\n'
        for (kind, name), key in reversed(keys.items())
    )

    def data(kind: str, values: dict[str, str]) -> str:
        return "".join(
            f'  <data key="{keys[kind, name]}">{escape(value)}</data>\n'
            for name, value in values.items()
            if (kind, name) in keys
        )

    body = ""
    for name, node in graph.nodes.items():
        values = {
            "entity_id": name,
            "entity_type": node["type"],
            "description": SEP.join(node["texts"]),
            "source_id": SEP.join(node["chunks"]) or "manual_creation",
            "clusters": "[]",
        }
        body += f"<node id={quoteattr(name)}>\n{data('node', values)}</node>\n"
    for (source, target), edge in graph.edges.items():
        values = {
            "weight": "1.0",
            "description": SEP.join(edge["texts"]),
            "keywords": ",".join(sorted(edge["words"])),
            "source_id": SEP.join(edge["chunks"]) or "manual_creation",
            "order": "1",
        }
        body += (
            f"<edge source={quoteattr(source)} target={quoteattr(target)}>\n{data('edge', values)}</edge>\n"
        )
    return (
        "<?xml version='1.0' encoding='utf-8'?>\n"
        '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
        f'{head}<graph edgedefault="undirected">{body}</graph></graphml>\n'
    )


def _vector_rows(graph: Graph, chunks: dict[str, tuple[Doc, int, Piece]]) -> dict[str, list[dict[str, Any]]]:
    return {
        "chunks": [
            {"__id__": id_, "content": piece.text, "full_doc_id": doc.id}
            for id_, (doc, _, piece) in chunks.items()
        ],
        "entities": [
            {
                "__id__": _id("ent-", name),
                "entity_name": name,
                "content": f"{name}\n{SEP.join(node['texts'])}",
                "source_id": SEP.join(node["chunks"]),
            }
            for name, node in graph.nodes.items()
        ],
        "relationships": [
            {
                "__id__": _id("rel-", source + target),
                "src_id": source,
                "tgt_id": target,
                "content": f"{','.join(sorted(edge['words']))}\t{source}\n{target}\n{SEP.join(edge['texts'])}",
                "source_id": SEP.join(edge["chunks"]),
            }
            for (source, target), edge in graph.edges.items()
        ],
    }


def _write_vdb(folder: Path, name: str, rows: list[dict[str, Any]], embedder: SeededEmbedder) -> None:
    raw = embedder.vectors([row["content"] for row in rows])
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    packed = [base64.b64encode(zlib.compress(row.astype("<f2").tobytes())).decode() for row in raw]
    data = [
        row | {"__created_at__": 1, "__write_seq__": place, "vector": vector}
        for place, (row, vector) in enumerate(zip(rows, packed, strict=True))
    ]
    matrix = base64.b64encode(unit.astype("<f4").tobytes()).decode()
    path = folder / f"vdb_{name}.json"
    path.write_text(
        json.dumps({"embedding_dim": embedder.dimension, "data": data, "matrix": matrix}), encoding="utf-8"
    )


def _write_faiss(folder: Path, name: str, rows: list[dict[str, Any]], embedder: SeededEmbedder) -> None:
    raw = embedder.vectors([row["content"] for row in rows])
    unit = (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype("<f4")
    filler = 1 << 20
    head = struct.pack("<4siqqqBiq", b"IxFI", embedder.dimension, len(rows), filler, filler, 1, 0, unit.size)
    path = folder / f"faiss_index_{name}.index"
    path.write_bytes(head + unit.tobytes())
    meta = {str(place): row | {"__write_seq__": place} for place, row in enumerate(rows)}
    path.with_name(f"{path.name}.meta.json").write_text(json.dumps(meta), encoding="utf-8")


# ---- nano-graphrag -------------------------------------------------------------------------------------


def nano_folder(folder: Path, documents: Sequence[Doc]) -> Path:
    """Write a folder of the predecessor: names in capitals and quotes, a cache that tells no chunk."""
    folder.mkdir(parents=True, exist_ok=True)
    graph = Graph.of([_shouted(document) for document in documents])
    (folder / GRAPH).write_text(graphml(graph, nano=True), encoding="utf-8")
    write_json(folder / "kv_store_full_docs.json", {doc.id: {"content": doc.content} for doc in documents})
    chunks = {
        doc.chunk_id(place): {
            "tokens": 3,
            "content": piece.text,
            "chunk_order_index": place,
            "full_doc_id": doc.id,
        }
        for doc in documents
        for place, piece in enumerate(doc.pieces)
    }
    write_json(folder / "kv_store_text_chunks.json", chunks)
    replies = [_old_reply(piece) for doc in documents for piece in doc.pieces]
    cache = {md5(text.encode()).hexdigest(): {"return": text, "model": "m"} for text in [*replies, "yes"]}
    write_json(folder / "kv_store_llm_response_cache.json", cache)
    write_json(folder / "kv_store_community_reports.json", {})
    return folder


def _shouted(document: Doc) -> Doc:
    def name(text: str) -> str:
        return f'"{text.upper()}"'

    return Doc(
        document.id,
        tuple(
            Piece(
                piece.text,
                tuple((name(n), name(t), f'"{text}"') for n, t, text in piece.entities),
                tuple((name(s), name(t), words, f'"{text}"') for s, t, words, text in piece.relations),
            )
            for piece in document.pieces
        ),
    )


def _old_reply(piece: Piece) -> str:
    rows = [f'("entity"<|>"{name}"<|>"{type_}"<|>"{text}")' for name, type_, text in piece.entities]
    rows += [
        f'("relationship"<|>"{source}"<|>"{target}"<|>"{text}"<|>9)'
        for source, target, _, text in piece.relations
    ]
    return "##\n".join(rows) + "<|COMPLETE|>"


# ---- damage --------------------------------------------------------------------------------------------


def damage(data: st.DataObject, path: Path) -> None:
    content = path.read_bytes()
    place = data.draw(st.integers(0, len(content)))
    match data.draw(st.sampled_from(["delete", "cut", "garble", "insert", "drop", "swap"])):
        case "delete":
            path.unlink()
        case "cut":
            path.write_bytes(content[:place])
        case "garble":
            garbled = data.draw(st.binary(min_size=1, max_size=20))
            path.write_bytes(content[:place] + garbled + content[place + len(garbled) :])
        case "insert":
            path.write_bytes(
                content[:place] + data.draw(st.binary(min_size=1, max_size=20)) + content[place:]
            )
        case "drop":
            path.write_bytes(content[:place] + content[place + data.draw(st.integers(1, 200)) :])
        case "swap":
            other = data.draw(st.sampled_from(sorted(path.parent.iterdir())))
            path.write_bytes(other.read_bytes())
