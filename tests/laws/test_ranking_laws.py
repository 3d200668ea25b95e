"""What the walking modes rank depends on what is in the workspace, not on how it got there."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

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
TOUR = "Hank Snow on tour\n" + "\n\n".join(
    f"In {year} the musician sang in {city}, where he had friends, and he wrote to Hello Love of it."
    for year, city in zip(range(1950, 1962), ("Memphis", "Dallas", "Reno") * 4, strict=True)
)
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


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What each mode finds where all texts came in one batch."""

    async def found() -> list[Any]:
        folder = tmp_path_factory.mktemp("once")
        async with Engine.open(folder, tokenizer=WordTokenizer(), settings=settings()) as engine:
            await engine.insert([Document(text, id=id_) for id_, text in {**TEXTS, "tour": TOUR}.items()])
            return [await ranked(engine, mode) for mode in MODES]

    return asyncio.run(found())


@given(seed=st.integers(0, 1_000))
@hypothesis_settings(max_examples=6, deadline=None)
def test_batches_orders_and_earlier_versions_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, at_once: list[Any], seed: int
) -> None:
    async def in_bits() -> None:
        folder = tmp_path_factory.mktemp("ranking")
        texts = {**TEXTS, "tour": TOUR}
        chance = random.Random(seed)
        ids = [*texts, *chance.sample([*texts, "volvox"], 4)]
        chance.shuffle(ids)
        async with Engine.open(folder, tokenizer=WordTokenizer(), settings=settings()) as engine:
            while ids:
                batch = {ids.pop() for _ in range(min(len(ids), chance.randrange(1, 4)))}
                other = {*ids}  # these come again: what they say now is not what they will say in the end
                await engine.insert(
                    [
                        Document(chance.choice([*texts.values()]) if id_ in other else texts[id_], id=id_)
                        for id_ in sorted(batch & texts.keys())
                    ]
                )
                if "volvox" in batch:
                    await engine.insert([UNRELATED])
                if chance.random() < 0.5:
                    await engine.retrieve(QUESTIONS[0], mode="mix")
            await engine.delete("volvox")
            assert [await ranked(engine, mode) for mode in MODES] == at_once

    asyncio.run(in_bits())


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
