"""Rankings of the baseline for a dataset, as `stateless-rag evaluate` reads them: it takes about 40 minutes for
1,890 passages.

    python -m bench.quality baseline FOLDER --embedder MODEL_FOLDER --output FILE

The parent makes the environment and starts this module in the baseline's own interpreter. There the baseline is
used by the names that its documentation gives: the same passages, the recorded extractions as its LLM's replies,
the same embedder and keywords, and passages read from its data result.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.encoding import encoding_folder
from bench.providers import RuledLLM, complete_with, embed_with
from bench.quality.keywords import with_keywords
from stateless_rag.evaluation.dataset import Dataset, read_dataset
from stateless_rag.providers.local import FastEmbedder
from stateless_rag.testing.recorded import RecordedLLM

if TYPE_CHECKING:
    from lightrag import LightRAG

__all__ = ["MODES", "rank"]

MODES = ("naive", "local", "global", "hybrid", "mix")
TOP_K, CHUNK_TOP_K = 40, 20
_ROOT = Path(__file__).parents[2]
_DIMENSION = 384
_SLOTS = 16
_SUFFIX = ".txt"


def rank(folder: Path, embedder: Path, output: Path, python: Path, *, passages: int | None = None) -> int:
    """Start the baseline's interpreter on a dataset; its exit code. With `passages`, only the first so many."""
    with tempfile.TemporaryDirectory() as place:
        kept = ("PATH", "HOME", "LANG", "TMPDIR")
        environment = {name: os.environ[name] for name in kept if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join([str(_ROOT), str(_ROOT / "src")])
        environment["TIKTOKEN_CACHE_DIR"] = str(encoding_folder(Path(place) / "encodings"))
        given = [str(path.resolve()) for path in (folder, embedder, output)]
        command = [str(python), "-m", "bench.quality.baseline", *given, "--passages", str(passages or 0)]
        # An empty folder: the baseline reads a `.env` where it is started.
        return subprocess.run(command, cwd=place, env=environment, check=False).returncode


# ---- in the baseline's interpreter ---------------------------------------------------------------------


async def _rank(dataset: Dataset, model: FastEmbedder, root: Path) -> Mapping[str, Any]:
    from importlib.metadata import version

    rag = await _open(dataset, model, root)
    try:
        started = time.perf_counter()
        await _insert(rag, dataset)
        seconds = time.perf_counter() - started
        print(f"{len(dataset.corpus)} passages ingested in {seconds:.0f} s", flush=True)
        modes = {mode: await _ask(rag, dataset, mode) for mode in MODES}
    finally:
        await rag.finalize_storages()
    return {
        "engine": f"lightrag-hku {version('lightrag-hku')}, default file stores",
        "embedder": model.model,
        "extraction": "openie.json" if dataset.openie is not None else "rules",
        "keywords": "high level: the question; low level: runs of capitalised words, else the question",
        "parameters": f"top_k {TOP_K}, chunk_top_k {CHUNK_TOP_K}, no rerank, other defaults",
        f"ingest_seconds_{len(dataset.corpus)}_passages": round(seconds),
        "modes": modes,
    }


async def _open(dataset: Dataset, model: FastEmbedder, root: Path) -> LightRAG:
    from lightrag import LightRAG
    from lightrag.utils import EmbeddingFunc

    rules = None if dataset.openie is None else RecordedLLM(dataset.openie)
    rag = LightRAG(
        working_dir=str(root),
        llm_model_func=complete_with(RuledLLM(rules=rules)),
        embedding_func=EmbeddingFunc(embedding_dim=_DIMENSION, max_token_size=8191, func=embed_with(model)),
        entity_extract_max_gleaning=0,
        llm_model_max_async=_SLOTS,
        max_parallel_insert=_SLOTS,
    )
    await rag.initialize_storages()
    return rag


async def _insert(rag: LightRAG, dataset: Dataset) -> None:
    await rag.ainsert(
        [item.passage for item in dataset.corpus],
        ids=[item.id for item in dataset.corpus],
        file_paths=[f"{item.id}{_SUFFIX}" for item in dataset.corpus],
    )
    done = (await rag.get_processing_status()).get("processed", 0)
    if done != len(dataset.corpus):
        raise RuntimeError(f"{done} of {len(dataset.corpus)} passages were processed")


async def _ask(rag: LightRAG, dataset: Dataset, mode: str) -> dict[str, list[str]]:
    from lightrag import QueryParam

    ranked = {}
    started = time.perf_counter()
    for question in dataset.questions:
        param = QueryParam(
            mode=mode,
            top_k=TOP_K,
            chunk_top_k=CHUNK_TOP_K,
            hl_keywords=list(question.high_level),
            ll_keywords=list(question.low_level),
            enable_rerank=False,
        )
        found = await rag.aquery_data(question.text, param)
        chunks = found.get("data", {}).get("chunks", ())
        ids = (Path(chunk["file_path"]).name.removesuffix(_SUFFIX) for chunk in chunks)
        ranked[question.id] = list(dict.fromkeys(ids))
    print(f"{mode}: {(time.perf_counter() - started) / len(ranked) * 1000:.0f} ms a question", flush=True)
    return ranked


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.quality.baseline")
    parser.add_argument("folder", type=Path)
    parser.add_argument("embedder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--passages", type=int, default=0)
    given = parser.parse_args()
    for name in ("lightrag", "nano-vectordb"):
        logging.getLogger(name).setLevel(logging.WARNING)
    dataset = with_keywords(read_dataset(given.folder))
    if given.passages:
        kept = dataset.corpus[: given.passages]
        dataset = Dataset(name=dataset.name, corpus=kept, questions=dataset.questions, openie=dataset.openie)
    with tempfile.TemporaryDirectory() as root:
        found = asyncio.run(_rank(dataset, FastEmbedder(given.embedder), Path(root)))
    given.output.write_text(json.dumps(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _main()
