"""A real embedding model from a folder, with the network out of reach."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
from pathlib import Path

import numpy as np
import pytest

from stateless_rag.errors import InvalidInput
from stateless_rag.protocols import Embedder
from stateless_rag.providers import FastEmbedder

FOLDER = (
    Path(os.environ.get("STATELESS_RAG_SHARED", Path(__file__).parents[3] / "shared"))
    / "models/all-MiniLM-L6-v2"
)
SENTENCES = [
    "A dog runs across a field.",
    "The central bank raised interest rates, and the markets fell sharply on the same afternoon.",
    "A hound is running through the meadow.",
    "",
    "Shares lost value.",
]


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked for something")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def folder() -> Path:
    pytest.importorskip("fastembed")
    if not (FOLDER / "model.onnx").exists():
        pytest.skip(f"no model at {FOLDER}")
    return FOLDER


@pytest.mark.shared
@pytest.mark.usefixtures("offline")
async def test_a_model_from_a_folder(folder: Path) -> None:
    embedder = FastEmbedder(folder, batch=2, threads=1)
    assert isinstance(embedder, Embedder)
    assert embedder.model == "fastembed-all-MiniLM-L6-v2"
    assert (embedder.dimension, embedder.max_tokens, embedder.max_batch) == (384, 256, 2)
    whole, alone, none = await asyncio.gather(
        embedder.embed(SENTENCES, role="document"),
        embedder.embed(SENTENCES[2:3], role="query"),
        embedder.embed([], role="document"),
    )
    assert whole.vectors.shape == (5, 384)
    assert whole.vectors.dtype == np.float32
    assert np.linalg.norm(whole.vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-4)
    # The order is that of the texts, although batches are sorted by length.
    similarities = whole.vectors @ whole.vectors.T
    assert similarities[0, 2] > similarities[0, 1] + 0.3
    assert similarities[1, 4] > similarities[1, 0] + 0.1
    assert float(whole.vectors[2] @ alone.vectors[0]) > 0.98
    assert none.vectors.shape == (0, 384)


@pytest.mark.shared
@pytest.mark.usefixtures("offline")
async def test_the_name_can_be_said_and_prefixes_count(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "my-model"
    shutil.copytree(folder, other)
    name = "sentence-transformers/all-MiniLM-L6-v2"
    embedder = FastEmbedder(str(other), name=name, query_prefix="query: ", threads=1)
    assert embedder.model.startswith("fastembed-my-model;prefixes=")
    query = (await embedder.embed(["dog"], role="query")).vectors[0]
    document = (await embedder.embed(["query: dog"], role="document")).vectors[0]
    assert np.array_equal(query, document)
    with pytest.raises(InvalidInput, match="not a model of fastembed"):
        await FastEmbedder(other, name="nobody/nothing").embed(["dog"], role="query")
    (other / "model.onnx").write_bytes(b"no model")
    with pytest.raises(InvalidInput, match="could not be loaded"):
        await FastEmbedder(other).embed(["dog"], role="query")
    (other / "config.json").write_text('{"hidden_size": 1024}')
    with pytest.raises(InvalidInput, match="name="):
        await FastEmbedder(other).embed(["dog"], role="query")


def test_a_folder_that_is_not_there_is_never_downloaded(tmp_path: Path) -> None:
    for missing in (tmp_path / "model", str(tmp_path / "model"), "./model"):
        with pytest.raises(InvalidInput, match="no folder"):
            FastEmbedder(missing)
    with pytest.raises(InvalidInput, match=r"config\.json"):
        FastEmbedder(tmp_path)
    with pytest.raises(InvalidInput, match="batch is 0"):
        FastEmbedder("BAAI/bge-small-en-v1.5", batch=0)


async def test_without_fastembed_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastembed", None)
    with pytest.raises(InvalidInput, match=r"pip install 'stateless-rag\[local\]'"):
        await FastEmbedder("BAAI/bge-small-en-v1.5").embed(["dog"], role="query")
