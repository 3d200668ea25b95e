"""A script as users of LightRAG write them; only the import differs. Writes what it saw as JSON.

python -m bench.script.script lightrag|facade FOLDER SEEN.json CHUNK_TOKENS
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.providers import RuledLLM, complete_with, embed_with
from stateless_rag.providers.hashing import HashingEmbedder

__all__ = ["DIMENSION", "MODES", "QUESTIONS", "play", "texts_of_corpus"]

_CORPUS = Path(__file__).parents[2] / "examples" / "corpus"
DIMENSION = 384
MODES = ("naive", "local", "global", "hybrid", "mix")
QUESTIONS = (
    ("Who designed the Analytical Engine?", ("Analytical Engine",), ("design of machines",)),
    ("Where did Alan Turing work during the war?", ("Alan Turing",), ("work during the war",)),
    ("What was programmed in COBOL?", ("COBOL", "Grace Hopper"), ("programming languages",)),
    ("Who built the Manchester Baby?", ("Manchester Baby",), ("first computers",)),
    ("What came out of Bell Labs?", ("Bell Labs",), ("inventions",)),
)
_GRAPH = {
    "chunks": [{"content": "Zuse's niece Erika drew the Plankalkuel poster.", "source_id": "poster"}],
    "entities": [
        {"entity_name": "Erika Zuse", "entity_type": "person", "description": "drew", "source_id": "poster"},
        {
            "entity_name": "Plankalkuel",
            "entity_type": "artifact",
            "description": "drawn",
            "source_id": "poster",
        },
    ],
    "relationships": [
        {
            "src_id": "Erika Zuse",
            "tgt_id": "Plankalkuel",
            "description": "drew it",
            "keywords": "drawing",
            "weight": 2.5,
            "source_id": "poster",
        }
    ],
}


def _names(package: str) -> tuple[Any, Any, Any]:
    if package == "lightrag":
        from lightrag import LightRAG, QueryParam
        from lightrag.utils import EmbeddingFunc
    else:
        from stateless_rag.interop.lightrag import EmbeddingFunc, LightRAG, QueryParam
    return LightRAG, QueryParam, EmbeddingFunc


def _files() -> list[Path]:
    return sorted(_CORPUS.glob("*.md"))


def texts_of_corpus() -> list[str]:
    """The articles of the examples."""
    return [file.read_text(encoding="utf-8") for file in _files()]


async def play(package: str, folder: Path, chunk_tokens: int) -> dict[str, Any]:
    """Run the script in a folder, with chunks of so many tokens; what it saw, by step."""
    LightRAG, QueryParam, EmbeddingFunc = _names(package)  # noqa: N806 -- they are classes
    rag = LightRAG(
        working_dir=str(folder),
        llm_model_func=complete_with(RuledLLM()),
        embedding_func=EmbeddingFunc(
            embedding_dim=DIMENSION,
            max_token_size=8191,
            func=embed_with(HashingEmbedder(dimension=DIMENSION)),
        ),
        entity_extract_max_gleaning=0,
        chunk_token_size=chunk_tokens,
        chunk_overlap_token_size=chunk_tokens // 10,
    )
    await rag.initialize_storages()
    seen: dict[str, Any] = {}
    files, texts = _files(), texts_of_corpus()
    ids = [file.stem for file in files]
    track = await rag.ainsert(texts, ids=ids, file_paths=[file.name for file in files])
    seen["statuses"] = _statuses(await rag.aget_docs_by_track_id(track))
    seen["counts"] = await rag.get_processing_status()
    seen["graph"] = await _graph(rag)
    seen["passages"] = await _passages(rag, QueryParam)
    seen["answers"] = await _answers(rag, QueryParam)
    await rag.ainsert(texts[0], ids=ids[0], file_paths=files[0].name)
    seen["counts after the same again"] = await rag.get_processing_status()
    gone = ids[5:10]
    seen["deleted"] = {id_: (await rag.adelete_by_doc_id(id_)).status for id_ in [*gone, "not-there"]}
    seen["graph after deleting"] = await _graph(rag)
    seen["changes"] = await _changes(rag)
    await rag.ainsert_custom_kg(_GRAPH, full_doc_id="poster")
    edge = (await rag.get_relation_info("Erika Zuse", "Plankalkuel"))["graph_data"]
    seen["custom graph"] = {name: edge[name] for name in ("description", "keywords", "weight")}
    seen["graph in the end"] = await _graph(rag)
    await rag.aexport_data(str(folder / "out.csv"), file_format="csv")
    sections = (folder / "out.csv").read_text(encoding="utf-8")
    seen["export"] = [line for line in sections.splitlines() if line.startswith("# ")]
    await rag.finalize_storages()
    return seen


def _statuses(rows: Mapping[str, Any]) -> dict[str, Any]:
    return {
        id_: {
            "status": getattr(row.status, "value", row.status),
            "file_path": row.file_path,
            "chunks_count": row.chunks_count,
            "content_length": row.content_length,
        }
        for id_, row in sorted(rows.items())
    }


async def _graph(rag: Any) -> dict[str, Any]:
    everything = await rag.get_knowledge_graph("*", max_nodes=1000)
    return {
        "labels": await rag.get_graph_labels(),
        "edges": sorted(sorted((edge.source, edge.target)) for edge in everything.edges),
        "weights": {
            " — ".join(sorted((edge.source, edge.target))): float(edge.properties["weight"])
            for edge in everything.edges
        },
        "truncated": everything.is_truncated,
    }


async def _passages(rag: Any, param: Any) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    for mode in MODES:
        found[mode] = {}
        for question, low, high in QUESTIONS:
            asked = param(mode=mode, ll_keywords=list(low), hl_keywords=list(high), enable_rerank=False)
            data = (await rag.aquery_data(question, asked))["data"]
            found[mode][question] = [chunk["content"].strip() for chunk in data.get("chunks", ())]
    return found


async def _answers(rag: Any, param: Any) -> dict[str, Any]:
    question, low, high = QUESTIONS[0]
    seen: dict[str, Any] = {}
    for mode in (*MODES, "bypass"):
        answer = await rag.aquery(
            question, param(mode=mode, ll_keywords=list(low), hl_keywords=list(high), enable_rerank=False)
        )
        seen[mode] = [type(answer).__name__, answer.startswith("Answer ")]
    context = await rag.aquery(question, param(mode="naive", only_need_context=True, enable_rerank=False))
    seen["context"] = [type(context).__name__, "Analytical Engine" in context]
    full = await rag.aquery_llm(question, param(mode="naive", enable_rerank=False))
    seen["query_llm"] = [full["status"], sorted(full), sorted(full["data"]), sorted(full["llm_response"])]
    return seen


async def _changes(rag: Any) -> dict[str, Any]:
    await rag.acreate_entity("Miss Fairfax", {"entity_type": "person", "description": "She taught Ada."})
    await rag.acreate_relation(
        "Miss Fairfax", "Ada Lovelace", {"description": "taught", "keywords": "teaching", "weight": 1.0}
    )
    await rag.aedit_entity("Miss Fairfax", {"description": "She taught mathematics."})
    edited = (await rag.get_entity_info("Miss Fairfax"))["graph_data"]
    await rag.acreate_entity("M. Fairfax", {"description": "The same."})
    await rag.amerge_entities(["M. Fairfax"], "Miss Fairfax")
    deleted = await rag.adelete_by_relation("Miss Fairfax", "Ada Lovelace")
    missing = await rag.adelete_by_entity("Nobody At All")
    refused = False
    try:
        await rag.acreate_entity("Miss Fairfax", {"description": "Again."})
    except ValueError:
        refused = True
    return {
        "edited": {name: edited[name] for name in ("entity_id", "entity_type", "description")},
        "deleted": deleted.status,
        "missing": missing.status,
        "refused": refused,
        "labels": [name for name in await rag.get_graph_labels() if "Fairfax" in name],
    }


def main() -> None:
    """Play the script."""
    package, folder, seen = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    for name in ("lightrag", "nano-vectordb"):
        logging.getLogger(name).setLevel(logging.ERROR)
    told = asyncio.run(play(package, folder, int(sys.argv[4])))
    seen.write_text(json.dumps(told, ensure_ascii=False, indent=1, sort_keys=True), encoding="utf-8")


if __name__ == "__main__":
    main()
