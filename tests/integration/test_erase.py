"""Erased is gone: no file of the root holds a byte of it, and what is left is as if it had never been there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

from stateless_rag import Document, Engine, ExtractSettings, InvalidInput, MergeSettings, Settings, Store
from stateless_rag.protocols import LLMReply, LLMRequest
from stateless_rag.settings import StoreSettings
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.testing.dump import dump
from unit.scripted import WordTokenizer

CANARY = "Zanzibarium"
SECRET_ID = f"{CANARY.lower()}-1"
MARKS = (b"zanzibarium",)  # in whatever case
SETTINGS = Settings(
    extraction=ExtractSettings(gleaning=0), merging=MergeSettings(summarize_from=2, summary_max_tokens=30)
)
KEPT = [
    Document("Ada Lovelace met Charles Babbage in London. Alan Turing read Ada Lovelace.", id="one"),
    Document("Grace Hopper wrote COBOL in Arlington. Ada Lovelace never met Grace Hopper.", id="two"),
    Document(
        "Charles Babbage designed the Analytical Engine. Ada Lovelace praised Charles Babbage.", id="three"
    ),
]
SECRET = Document(
    f"{CANARY} Smith met Ada Lovelace in {CANARY} City. Charles Babbage wrote to {CANARY} Smith. " * 3,
    id=SECRET_ID,
    source=f"/home/{CANARY}.txt",
    metadata={"person": f"{CANARY} Smith", f"{CANARY}": 1},
)


class TellingLLM(DeterministicLLM):
    """Answers and keywords repeat what they were asked."""

    async def complete(self, request: LLMRequest) -> LLMReply:
        if request.purpose in ("answer", "keywords"):
            text = f"{CANARY} was it. {request.prompt}"
            return LLMReply(text=text, prompt_tokens=5, completion_tokens=5)
        return await super().complete(request)


def found_in(root: Path) -> dict[str, int]:
    """Files that hold the canary, in any case, also as UTF-16; and how often."""
    hits = {}
    for file in root.rglob("*"):
        content = file.read_bytes().lower() if file.is_file() else b""
        count = sum(content.count(mark) + content.count(mark.decode().encode("utf-16-le")) for mark in MARKS)
        if count or CANARY.lower() in file.name.lower():
            hits[str(file.relative_to(root))] = count
    return hits


@asynccontextmanager
async def opened(
    store: Store | Path, name: str = "one", llm: DeterministicLLM | None = None
) -> AsyncIterator[Engine]:
    async with Engine.open(
        store,
        name,
        llm=llm or TellingLLM(),
        embedder=DeterministicEmbedder(8),
        tokenizer=WordTokenizer(),
        settings=SETTINGS,
    ) as engine:
        yield engine


async def spread(engine: Engine) -> None:
    """Let the canary go everywhere it can go."""
    report = await engine.insert([*KEPT, SECRET])
    assert not report.failed
    await engine.insert(
        Document(f"An earlier {CANARY} text. Ada Lovelace knew {CANARY} Smith.", id=SECRET_ID)
    )
    await engine.insert(SECRET)
    for mode in ("mix", "local", "naive"):
        await engine.query(f"Who is {CANARY} Smith?", mode=mode, cache=True)
    async for _ in engine.stream(f"Where is {CANARY} City?", cache=True):
        pass
    await engine.insert(Document(f"Gone already: {CANARY} Jones met Ada Lovelace.", id="gone"))
    await engine.delete("gone")


@pytest.mark.parametrize("placement", ["root", "own"])
@pytest.mark.parametrize(
    ("base_rows", "threshold"),
    [(20_000, "16KB"), (4, "16KB"), (20_000, "32MB")],
    ids=["no base", "base", "in the log"],
)
async def test_no_byte_is_left(
    placement: Literal["root", "own"], base_rows: int, threshold: str, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    settings = StoreSettings(placement=placement, base_rows=base_rows, checkpoint_threshold=threshold)
    async with Store.open(root, settings) as store:  # noqa: SIM117 -- what comes after each is looked at
        async with opened(store, "other") as other:
            await other.insert(KEPT)
            untouched = await dump(other)
            async with opened(store) as engine:
                await spread(engine)
                assert found_in(root)
                report = await engine.delete(SECRET_ID, erase=True)
                assert report.deleted == (SECRET_ID,)
                assert report.erased is not None and report.erased.compacted is not None
                assert report.erased.replies["extract"] >= 2 and report.erased.replies["answer"] == 4
                # While everything is open still, and after everything was closed.
                assert found_in(root) == {}
                assert (await engine.check(deep=True)).faults == ()
                left = await dump(engine)
                costs = await engine.costs()
                answer = await engine.query("Who met Ada Lovelace?", only_context=True)
                assert CANARY not in answer.context
                await engine.insert(Document("Konrad Zuse built the Z3.", id="after"))
                await engine.delete("after")
            assert await dump(other) == untouched
            assert (await other.check(deep=True)).faults == ()
    assert found_in(root) == {}
    async with Store.open(root, settings) as store, opened(store) as engine:
        assert await dump(engine) == left
        assert costs["answer"].calls == 4 and costs["extract"].calls >= 5
    async with opened(tmp_path / "fresh") as engine:
        await engine.insert(KEPT)
        assert await dump(engine) == left


@pytest.mark.parametrize("updated", [False, True], ids=["as it was", "updated since"])
async def test_what_is_disabled_is_erased_too(updated: bool, tmp_path: Path) -> None:
    root = tmp_path / "root"
    async with Store.open(root) as store:
        async with opened(store) as engine:
            await spread(engine)
            await engine.disable(SECRET_ID)
            if updated:
                await engine.insert(Document(f"Nobody but {CANARY} Brown lives in Paris.", id=SECRET_ID))
        assert found_in(root)
        async with opened(store) as engine:
            report = await engine.delete(SECRET_ID, erase=True)
            assert report.deleted == (SECRET_ID,)
            assert found_in(root) == {}
            assert (await engine.check(deep=True)).faults == ()
            assert {row.id for row in await engine.documents()} == {"one", "two", "three"}
    assert found_in(root) == {}


async def test_copies_of_an_earlier_format_go_too(tmp_path: Path) -> None:
    root = tmp_path / "root"
    async with opened(root) as engine:
        await spread(engine)
    earlier = root / "stateless_rag.duckdb.format2"
    earlier.write_bytes((root / "stateless_rag.duckdb").read_bytes())
    async with opened(root) as engine:
        await engine.compact()
        assert earlier.exists()
        await engine.delete(SECRET_ID, erase=True)
        assert found_in(root) == {}


async def test_what_is_left_is_not_paid_again(tmp_path: Path) -> None:
    llm = TellingLLM()
    async with opened(tmp_path / "root", llm=llm) as engine:
        await spread(engine)
        await engine.delete(SECRET_ID, erase=True)
        before = await engine.costs()
        texts = [await engine.document(document.id or "") for document in KEPT]
        await engine.delete([document.id or "" for document in KEPT])
        await engine.insert([document for document in texts if document is not None])
        after = await engine.costs()
        assert after["extract"] == before["extract"]
        assert after["summarize"] == before["summarize"]
        again = await engine.insert(SECRET)
        assert again.usage["extract"].calls == 1  # it was forgotten


async def test_documents_that_were_deleted_before_can_be_erased(tmp_path: Path) -> None:
    root = tmp_path / "root"
    async with opened(root) as engine:
        await spread(engine)
        await engine.delete(SECRET_ID)
        assert found_in(root)
        report = await engine.delete(SECRET_ID, erase=True)
        assert report.missing == (SECRET_ID,)
        assert found_in(root) == {}


async def test_changes_by_hand_stay_and_are_told(tmp_path: Path) -> None:
    async with opened(tmp_path / "root") as engine:
        await engine.insert([*KEPT, Document("Mary Somerville met Ada Lovelace.", id="mary")])
        await engine.edit_entity("Mary Somerville", description="By hand.")
        await engine.edit_entity("Ada Lovelace", description="By hand, too.")
        report = await engine.delete("mary", erase=True)
        assert report.erased is not None and report.erased.curations == (1,)


class SlowLLM(DeterministicLLM):
    """Extracts when it is let, and tells that it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()

    async def complete(self, request: LLMRequest) -> LLMReply:
        if request.purpose == "extract" and CANARY in request.prompt:
            self.asked.set()
            await self.go_on.wait()
        return await super().complete(request)


async def test_what_is_being_ingested_is_stopped_first(tmp_path: Path) -> None:
    llm = SlowLLM()
    root = tmp_path / "root"
    async with opened(root, llm=llm) as engine:
        await engine.insert(KEPT)
        before = await dump(engine)
        insert = asyncio.create_task(engine.insert(SECRET))
        await llm.asked.wait()
        erase = asyncio.create_task(engine.delete(SECRET_ID, erase=True))
        await asyncio.wait({erase}, timeout=1.0)
        assert not erase.done()  # what the LLM is saying would be kept after the erasure
        llm.go_on.set()
        assert (await erase).deleted == (SECRET_ID,)
        await insert
        assert await dump(engine) == before
        assert found_in(root) == {}


async def test_other_documents_are_ingested_meanwhile(tmp_path: Path) -> None:
    root = tmp_path / "root"
    more = [
        Document(f"Person{n} Smith met Person{n + 1} Smith in Town{n}.", id=f"more{n}") for n in range(30)
    ]
    async with opened(root) as engine:
        await spread(engine)
        insert = asyncio.create_task(engine.insert(more))
        await engine.delete(SECRET_ID, erase=True)
        report = await insert
        assert not report.failed
        assert found_in(root) == {}
        assert (await engine.check(deep=True)).faults == ()
        left = await dump(engine)
    async with opened(tmp_path / "fresh") as engine:
        await engine.insert([*KEPT, *more])
        assert await dump(engine) == left


@pytest.mark.parametrize("erase", [None, 1, "yes"])
async def test_a_wrong_flag_changes_nothing(erase: Any, tmp_path: Path) -> None:
    async with opened(tmp_path / "root") as engine:
        await engine.insert(KEPT)
        with pytest.raises(InvalidInput, match="erase"):
            await engine.delete("one", erase=erase)
        assert len(await engine.documents()) == len(KEPT)
