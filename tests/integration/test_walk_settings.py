"""WalkSettings: what each leaves out is out, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from stateless_rag import Document, Engine, Settings, Store, WalkSettings
from stateless_rag.errors import InvalidInput
from stateless_rag.settings import WALK_PARTS
from stateless_rag.types import Retrieval
from unit.scripted import WordTokenizer

TEXTS = {
    "hello": "Hello Love\nHello Love is a single by Hank Snow. It was the last number one of the singer.",
    "snow": "Hank Snow\nHank Snow moved to Nashville in 1949 and recorded songs there for many years.",
    "nashville": "Nashville\nNashville is the capital of Tennessee. The city lies on the Cumberland River.",
    "river": "Cumberland River\nThe Cumberland River drains parts of Kentucky and of Tennessee.",
    "songs": "Songs of Tennessee\nMany songs of Nashville were recorded in Tennessee by the singer Hank Snow.",
}
QUESTION = "Where did the singer of Hello Love move to?"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store.open(tmp_path / "root") as opened:
        async with Engine.open(opened, "w", tokenizer=WordTokenizer()) as engine:
            await engine.insert([Document(text, id=id_) for id_, text in TEXTS.items()])
        yield opened


async def found(store: Store, mode: str = "mix", **walk: Any) -> Retrieval:
    settings = Settings(walk=WalkSettings(**walk))
    async with Engine.open(store, "w", tokenizer=WordTokenizer(), settings=settings) as engine:
        return await engine.retrieve(QUESTION, mode=mode, min_similarity=-1.0)


def led_by(retrieval: Retrieval, kind: str) -> bool:
    return any(each.startswith(kind) for passage in retrieval.passages for each in passage.found_by)


def shares(retrieval: Retrieval) -> Mapping[str, float]:
    return {passage.document_id: passage.parts.get("walk", 0.0) for passage in retrieval.passages}


async def test_names_facts_and_words_can_be_left_out(store: Store) -> None:
    whole = await found(store)
    assert all(led_by(whole, kind) for kind in ("entity:", "relation:", "words"))
    assert not led_by(await found(store, names=False), "entity:")
    assert (await found(store, facts=0)).found["relation_seeds"] == 0
    assert (await found(store, facts=2)).found["relation_seeds"] == 2
    assert not led_by(await found(store, words=False), "words")
    without = await found(store, names=False, facts=0, passages=0.0, mode="walk")
    assert not without.passages  # there is nothing to start from


@pytest.mark.parametrize(
    "walk", [{"hub_damping": False}, {"passages": 0.5}, {"titles": 0.0}, {"damping": 0.85}, {"names": False}]
)
async def test_what_a_walk_starts_from_and_goes_along_decides_where_it_ends(
    store: Store, walk: dict[str, Any]
) -> None:
    assert shares(await found(store, mode="walk", **walk)) != shares(await found(store, mode="walk"))


@pytest.mark.parametrize("part", WALK_PARTS)
async def test_a_part_that_weighs_nothing_adds_nothing(store: Store, part: str) -> None:
    whole, without = await found(store), await found(store, parts={part: 0.0})
    assert any(part in passage.parts for passage in whole.passages)
    assert not any(part in passage.parts for passage in without.passages)
    others = {passage.chunk_id: {**passage.parts, part: 0.0} for passage in whole.passages}
    assert {passage.chunk_id: {**passage.parts, part: 0.0} for passage in without.passages} == others


@pytest.mark.parametrize(
    "wrong",
    [
        {"facts": -1},
        {"names": 1},
        {"passages": float("nan")},
        {"titles": -0.1},
        {"damping": 1.0},
        {"parts": {"luck": 1.0}},
        {"parts": {"walk": "much"}},
        {"parts": [1.0]},
        {"parts": None},
    ],
)
def test_what_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        WalkSettings(**wrong)


def test_parts_that_are_not_named_keep_their_weights() -> None:
    given = {"walk": 1}
    settings = WalkSettings(parts=given)
    given["walk"] = 9
    assert settings.parts == {**WALK_PARTS, "walk": 1.0}
