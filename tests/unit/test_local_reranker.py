"""A cross-encoder in this process, with a stand-in for fastembed's class: no model is there to load."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from stateless_rag.errors import InvalidInput, InvalidReply
from stateless_rag.protocols import Reranker
from stateless_rag.providers import FastReranker

MODEL = "Xenova/ms-marco-MiniLM-L-6-v2"
TEXTS = ["a much longer text than the others", "red", "red red"]


class CrossEncoder:
    """Scores a text by how often it says "red", as logits: 0 is the middle."""

    made: ClassVar[list[CrossEncoder]] = []
    answer: ClassVar[list[float] | None] = None

    def __init__(self, name: str, **options: Any) -> None:
        if name.endswith("turbo-en"):
            raise ValueError("no model.onnx")
        self.name, self.options = name, options
        self.asked: list[tuple[str, list[str], int]] = []
        self.threads: set[int] = set()
        CrossEncoder.made.append(self)

    @classmethod
    def list_supported_models(cls) -> list[dict[str, Any]]:
        return [{"model": MODEL}, {"model": "jinaai/jina-reranker-v1-turbo-en"}]

    def rerank(self, query: str, documents: list[str], batch_size: int) -> Iterator[float]:
        self.threads.add(threading.get_ident())
        self.asked.append((query, list(documents), batch_size))
        yield from CrossEncoder.answer or (1000.0 * (text.count("red") - 1) for text in documents)


@pytest.fixture(autouse=True)
def fastembed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    module = ModuleType("fastembed.rerank.cross_encoder")
    module.TextCrossEncoder = CrossEncoder  # type: ignore[attr-defined]
    for name in ("fastembed", "fastembed.rerank"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "fastembed.rerank.cross_encoder", module)
    monkeypatch.setattr(CrossEncoder, "made", [])
    monkeypatch.setattr(CrossEncoder, "answer", None)


async def test_texts_are_ranked_in_a_thread_by_a_model_that_is_loaded_once() -> None:
    reranker = FastReranker(MODEL, batch=2, threads=3)
    assert isinstance(reranker, Reranker)
    assert reranker.model == f"fastembed-{MODEL}"
    assert await reranker.rerank("q", [], top_n=3) == []
    assert CrossEncoder.made == []  # nothing to rank, nothing to load
    assert await reranker.rerank("q", TEXTS, top_n=9) == [(2, 1.0), (1, 0.5), (0, 0.0)]
    assert await reranker.rerank("q", TEXTS, top_n=1) == [(2, 1.0)]
    assert await reranker.rerank("q", TEXTS, top_n=0) == []
    (made,) = CrossEncoder.made
    assert (made.name, made.options) == (MODEL, {"threads": 3})
    # Texts of a like length together; the ranks are those of the order given.
    assert made.asked[0] == ("q", ["red", "red red", TEXTS[0]], 2)
    assert threading.get_ident() not in made.threads


async def test_ties_keep_the_order_of_the_texts() -> None:
    ranks = await FastReranker(MODEL).rerank("q", ["red, long", "red", "red, so"], top_n=3)
    assert [index for index, _ in ranks] == [0, 1, 2]


@pytest.mark.parametrize("answer", [[0.5], [0.5, float("nan"), 0.1], [0.1] * 4])
async def test_what_are_no_scores(answer: list[float]) -> None:
    CrossEncoder.answer = answer
    with pytest.raises(InvalidReply, match="3 texts"):
        await FastReranker(MODEL).rerank("q", TEXTS, top_n=3)


@pytest.mark.parametrize(
    ("folder_name", "config", "name", "opened"),
    [
        ("ms-marco-minilm-l-6-v2", {}, None, MODEL),
        ("mine", {"_name_or_path": "cross-encoder/ms-marco-MiniLM-L-6-v2"}, None, MODEL),
        ("mine", {}, MODEL, MODEL),
    ],
)
async def test_a_model_from_a_folder(
    tmp_path: Path, folder_name: str, config: dict[str, str], name: str | None, opened: str
) -> None:
    folder = tmp_path / folder_name
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    reranker = FastReranker(folder, name=name)
    assert reranker.model == f"fastembed-{folder_name}"
    await reranker.rerank("q", ["red"], top_n=1)
    (made,) = CrossEncoder.made
    assert made.name == opened
    assert made.options == {
        "threads": None,
        "specific_model_path": str(folder.resolve()),
        "local_files_only": True,
    }


async def test_what_cannot_be_loaded_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="no folder"):
        FastReranker(tmp_path / "missing")
    with pytest.raises(InvalidInput, match="batch is 0"):
        FastReranker(MODEL, batch=0)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InvalidInput, match="name="):
        await FastReranker(tmp_path).rerank("q", ["a"], top_n=1)
    with pytest.raises(InvalidInput, match="'nobody/x' is not a model of fastembed"):
        await FastReranker("nobody/x").rerank("q", ["a"], top_n=1)
    with pytest.raises(InvalidInput, match=r"could not be loaded as .*turbo-en: no model\.onnx"):
        await FastReranker("jinaai/jina-reranker-v1-turbo-en").rerank("q", ["a"], top_n=1)
    monkeypatch.setitem(sys.modules, "fastembed.rerank.cross_encoder", None)
    with pytest.raises(
        InvalidInput, match=r"FastReranker needs fastembed: pip install 'stateless-rag\[local\]'"
    ):
        await FastReranker(MODEL).rerank("q", ["a"], top_n=1)
