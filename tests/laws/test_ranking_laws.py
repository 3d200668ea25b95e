"""What the walking modes rank depends on what is in the workspace, not on how it got there."""

from __future__ import annotations

from pathlib import Path

import pytest

from laws.generators import settings
from stateless_rag.engine import Engine
from stateless_rag.types import Document, Retrieval
from unit.scripted import WordTokenizer

TEXTS = {
    "hello": "Hello Love\nHello Love is a single by Hank Snow. It was the last number one of the singer.",
    "snow": "Hank Snow\nHank Snow moved to Nashville in 1949 and recorded songs there for many years.",
    "nashville": "Nashville\nNashville is the capital of Tennessee. The city lies on the Cumberland River.",
    "publix": "Publix\nPublix is an American supermarket company that has its headquarters in Lakeland.",
    "river": "Cumberland River\nThe Cumberland River drains parts of Kentucky and of Tennessee.",
    "图灵": "图灵机\n图灵机是艾伦·图灵在1936年提出的一种抽象计算模型。",
}
UNRELATED = Document("Volvox\nVolvox is a genus of green algae that forms colonies of cells.", id="volvox")
QUESTIONS = ("Where did the singer of Hello Love move to?", "图灵机是谁提出的?")
MODES = ("walk", "mix")


async def ranked(engine: Engine, mode: str) -> list[object]:
    found: list[object] = []
    for question in QUESTIONS:
        retrieval: Retrieval = await engine.retrieve(question, mode=mode, min_similarity=-1.0)
        assert retrieval.passages
        found.append([(p.document_id, p.score, p.found_by, dict(p.parts)) for p in retrieval.passages])
    return found


async def in_order(folder: Path, name: str, ids: list[str], mode: str) -> list[object]:
    async with Engine.open(folder / name, tokenizer=WordTokenizer(), settings=settings()) as engine:
        for id_ in ids:
            await engine.insert([Document(TEXTS[id_], id=id_)])
            await engine.retrieve(QUESTIONS[0], mode=mode)  # so that indexes are made early, and followed up
        return await ranked(engine, mode)


@pytest.mark.parametrize("mode", MODES)
async def test_the_order_of_arrival_does_not_matter(tmp_path: Path, mode: str) -> None:
    forwards = await in_order(tmp_path, "forwards", sorted(TEXTS), mode)
    assert await in_order(tmp_path, "backwards", sorted(TEXTS, reverse=True), mode) == forwards


@pytest.mark.parametrize("mode", MODES)
async def test_what_came_and_went_leaves_no_trace(tmp_path: Path, mode: str) -> None:
    documents = [Document(text, id=id_) for id_, text in TEXTS.items()]
    async with Engine.open(tmp_path / "root", tokenizer=WordTokenizer(), settings=settings()) as engine:
        await engine.insert(documents)
        before = await ranked(engine, mode)
        await engine.insert([UNRELATED])
        beside = await ranked(engine, mode)
        await engine.delete("volvox")
        assert await ranked(engine, mode) == before
        await engine.insert([UNRELATED])
        assert await ranked(engine, mode) == beside
    async with Engine.open(tmp_path / "root", tokenizer=WordTokenizer(), settings=settings()) as engine:
        assert await ranked(engine, mode) == beside


async def test_a_second_passage_is_found_by_what_the_first_says(tmp_path: Path) -> None:
    async with Engine.open(tmp_path / "root", tokenizer=WordTokenizer(), settings=settings()) as engine:
        await engine.insert([*(Document(text, id=id_) for id_, text in TEXTS.items()), UNRELATED])
        found = await engine.retrieve(QUESTIONS[0], mode="mix")
        first, second = found.passages[:2]
        assert [first.document_id, second.document_id] == ["hello", "snow"]
        assert "bridge:Hank Snow" in second.found_by
        assert second.parts["leads"] > 0
        assert first.parts["title"] > 0
        assert "title" not in second.parts
