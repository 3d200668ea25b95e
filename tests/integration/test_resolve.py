"""Entities that are one: proposed, judged, applied, rejected, and taken back."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from integration.command_line import Cli, only_json
from laws.workspaces import opened
from stateless_rag.engine import Engine
from stateless_rag.errors import InvalidInput, ProviderError
from stateless_rag.testing.dump import dump
from stateless_rag.types import Document, Duplicate

TEXT = """entity | World Health Organization | Organization | health
entity | WHO | Organization | a body of the UN
entity | Ada Lovelace | Person | counts
entity | Lovelace, Ada | Person | wrote notes
entity | Apollo 11 | Event | landed
entity | Apollo 12 | Event | landed
entity | John Smith | Person | a baker
entity | Jon Smith | Person | a sailor
relation | WHO | Ada Lovelace | health | met"""
FOUND = {("WHO", "World Health Organization"), ("Ada Lovelace", "Lovelace, Ada")}


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with opened(tmp_path / "root") as opened_engine:
        await opened_engine.insert([Document(TEXT, id="d")])
        yield opened_engine


def names(found: list[Duplicate]) -> set[tuple[str, ...]]:
    return {tuple(sorted((one.source, one.target))) for one in found}


async def test_what_is_proposed(engine: Engine) -> None:
    before, revision = await dump(engine), engine.revision
    found = await engine.propose_duplicates(least=0.84)
    assert names(found) == {tuple(sorted(pair)) for pair in FOUND}
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert all(one.reasons and one.verdict is None for one in found)
    assert len(await engine.propose_duplicates(limit=1)) == 1
    assert (await dump(engine), engine.revision) == (before, revision)


async def test_applying_is_taken_back_exactly(engine: Engine) -> None:
    before = await dump(engine)
    made = [await engine.apply_duplicate(one) for one in await engine.propose_duplicates(least=0.84)]
    assert await engine.propose_duplicates(least=0.84) == []
    one, other = await engine.entity("WHO"), await engine.entity("World Health Organization")
    assert one is not None
    assert one == other
    assert await dump(engine) != before
    for change in made:
        await engine.undo(change.number)
    assert await dump(engine) == before
    assert len(await engine.propose_duplicates(least=0.84)) == 2


async def test_what_is_rejected_is_not_proposed_again(engine: Engine, tmp_path: Path) -> None:
    before = await dump(engine)
    found = await engine.propose_duplicates(least=0.84)
    rejected = [await engine.reject_duplicate(one) for one in found]
    assert await dump(engine) == before
    assert await engine.propose_duplicates(least=0.84) == []
    await engine.rename_entity("WHO", "W.H.O.")  # the same entity by another name
    assert await engine.propose_duplicates(least=0.84) == []
    await engine.export(tmp_path / "all.jsonl")
    async with opened(tmp_path / "copy") as copy:
        await copy.import_jsonl(tmp_path / "all.jsonl")
        assert await copy.propose_duplicates(least=0.84) == []
    await engine.undo(rejected[0].number)
    assert names(await engine.propose_duplicates(least=0.84)) != set()


@pytest.mark.parametrize("method", ["apply_duplicate", "reject_duplicate"])
@pytest.mark.parametrize(
    "given",
    [
        Duplicate(source="Nobody", target="WHO", score=1.0, reasons=()),
        Duplicate(source="WHO", target="Nobody", score=1.0, reasons=()),
        Duplicate(source="WHO", target="who", score=1.0, reasons=()),
        ("WHO", "World Health Organization"),
    ],
)
async def test_what_cannot_be_done_changes_nothing(engine: Engine, method: str, given: Any) -> None:
    revision = engine.revision
    with pytest.raises(InvalidInput):
        await getattr(engine, method)(given)
    assert engine.revision == revision


@pytest.mark.parametrize("given", [{"least": 2}, {"least": "much"}, {"limit": 0}, {"ask_llm": 1}])
async def test_bad_options(engine: Engine, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        await engine.propose_duplicates(**given)


class Judge:
    """Says that pairs which name WHO are one, and of the others what is given."""

    def __init__(self, others: str = "different") -> None:
        self.others = others
        self.asked: list[str] = []
        self.error: ProviderError | None = None

    async def __call__(self, prompt: str, **_: object) -> str:
        if self.error is not None:
            raise self.error
        lines = re.findall(r'^\{"pair": (\d+), (.*)\}$', prompt, re.MULTILINE)
        self.asked += [line for _, line in lines]
        said: dict[str, list[int]] = {"same": [], "different": [], "nothing": []}
        for number, line in lines:
            said["same" if "WHO" in line else self.others].append(int(number))
        return f'Well: {{"same": {said["same"]}, "different": {said["different"] + [99]}}}'


@pytest.mark.parametrize(("others", "left"), [("different", 1), ("nothing", 3), ("same", 3)])
async def test_the_verdict_of_an_llm(tmp_path: Path, others: str, left: int) -> None:
    judge = Judge(others)
    async with Engine.open(tmp_path / "judged", roles={"answer": judge}) as engine:
        for name in (
            "World Health Organization",
            "WHO",
            "Ada Lovelace",
            "Lovelace, Ada",
            "John Smith",
            "Jon Smith",
        ):
            await engine.create_entity(name, type="person" if "o" in name else "organization")
        with pytest.raises(InvalidInput, match="there is no LLM"):
            await engine.propose_duplicates(ask_llm=True)
    async with Engine.open(tmp_path / "judged", llm=judge) as engine:
        revision = engine.revision
        found = await engine.propose_duplicates(ask_llm=True, least=0.6)
        assert len(found) == left
        assert len(judge.asked) >= 3
        who = next(one for one in found if "WHO" in (one.source, one.target))
        assert (who.verdict, who.score) == (True, 0.95)
        judge.error = ProviderError("down")
        with pytest.raises(ProviderError):
            await engine.propose_duplicates(ask_llm=True)
        assert engine.revision == revision


def test_the_command(cli: Cli) -> None:
    assert cli("workspaces", "create", "default")[0] == 0
    for name in ("World Health Organization", "WHO", "Steam engine", "Steam engines"):
        assert cli("curate", "create", name)[0] == 0
    code, out, err = cli("resolve")
    assert (code, err) == (0, "")
    assert "WHO" in out
    assert "singular and plural" in out
    assert cli("resolve", "--reject", "Steam engine", "Steam engines")[0] == 0
    _, out, _ = cli("resolve", "--apply", "--json")
    told = only_json(out)
    assert [one["source"] for one in told["proposed"]] == ["WHO"]
    assert [one["number"] for one in told["changes"]] == [6]
    assert cli("resolve")[1].strip() == "No entities look like one."
    assert cli("curate", "undo", "6")[0] == 0
    assert "WHO" in cli("resolve", "--limit", "1")[1]
    assert cli("resolve", "--apply", "--reject", "a", "b")[0] == 2
