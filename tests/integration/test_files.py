"""Files in place of texts: stored as they are, read when their turn comes."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from converting.files import docx, encrypted_pdf, html, pdf
from stateless_rag import Converter, ConvertLimits, Document, Engine, FileDocument, InvalidInput, Store
from stateless_rag.testing import DeterministicLLM


@pytest.fixture(scope="module")
def converter() -> Iterator[Converter]:
    made = Converter(ConvertLimits(workers=1))
    yield made
    made.stop()


def file(content: bytes, name: str = "a.pdf", **others: Any) -> FileDocument:
    return FileDocument(content=content, name=name, **others)


async def test_files_and_texts_are_inserted_together(tmp_path: Path, converter: Converter) -> None:
    async with Engine.open(tmp_path, llm=DeterministicLLM(), converter=converter) as engine:
        given = [
            file(pdf()),
            Document("A text.", id="t"),
            file(docx(), "b.docx", id="b", metadata={"title": "mine"}),
        ]
        report = await engine.insert(given)
        assert [each.status for each in report.documents] == ["processed"] * 3
        found = await engine.document("b")
        assert found is not None
        assert found.metadata == {"kind": "docx", "author": "Ada", "title": "mine"}
        again = await engine.insert(given)
        assert [each.unchanged for each in again.documents] == [True] * 3
        assert not again.usage
        assert not (await engine.check()).faults


async def test_a_file_that_cannot_be_read_fails_and_the_older_text_answers(
    tmp_path: Path, converter: Converter
) -> None:
    async with Engine.open(tmp_path, converter=converter) as engine:
        await engine.insert(file(pdf("The old text about Ada.")))
        report = await engine.insert(file(encrypted_pdf()))
        [failed] = report.failed
        assert failed.error == "UnreadableFile: a.pdf is encrypted; remove its password, and send it again"
        assert failed.stale
        found = await engine.document(failed.id)
        assert found is not None and found.text == "The old text about Ada."
        assert (await engine.retry()).failed
        [newer] = (await engine.insert(file(pdf("A new text.")))).documents
        assert newer.status == "processed"
        assert [each.status for each in await engine.documents()] == ["processed"]
        assert not (await engine.check()).faults


async def test_a_file_waits_in_the_workspace(tmp_path: Path, converter: Converter) -> None:
    async with Engine.open(tmp_path, converter=converter) as engine:
        await engine.submit([file(html(), "a.html"), file(html(), "b.html")], tracking_id="t")
    async with Engine.open(tmp_path) as engine:  # where nothing reads files, nothing is lost
        report = await engine.work(until_empty=True)
        assert {each.error for each in report.failed} == {
            "UnreadableFile: the engine was opened without a converter; open it with one"
        }
    async with Engine.open(tmp_path, converter=converter) as engine:
        report = await engine.resume()
        assert [each.status for each in report.documents] == ["processed"] * 2


@pytest.mark.parametrize("act", ["insert", "submit", "estimate"])
async def test_files_where_nothing_reads_them_are_refused(tmp_path: Path, act: str) -> None:
    async with Engine.open(tmp_path) as engine:
        with pytest.raises(InvalidInput, match="there are files among the documents"):
            await getattr(engine, act)([file(pdf())])
        assert await engine.documents() == []


async def test_cancelling_an_insert_leaves_the_file_pending(tmp_path: Path, converter: Converter) -> None:
    class Held:
        """A converter that waits until it is told."""

        begun = asyncio.Event()
        ended = 0

        async def convert(self, content: bytes, name: str) -> Any:
            self.begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                Held.ended += 1

    async with Engine.open(tmp_path, converter=Held()) as engine:
        insert = asyncio.create_task(engine.insert([file(pdf()), Document("A text.", id="t")]))
        await Held.begun.wait()
        insert.cancel()
        with pytest.raises(asyncio.CancelledError):
            await insert
        assert Held.ended == 1
    async with Engine.open(tmp_path, converter=converter) as engine:
        assert {each.status for each in (await engine.resume()).documents} == {"processed"}


async def test_one_slow_file_holds_up_nothing_else(tmp_path: Path) -> None:
    class OneSlow:
        """A converter for which one file takes until the others are there."""

        def __init__(self, engine_is_done: asyncio.Event) -> None:
            self.done = engine_is_done

        async def convert(self, content: bytes, name: str) -> Any:
            if name == "slow.txt":
                await self.done.wait()
            return Document(content.decode())

    done = asyncio.Event()
    seen: list[str] = []
    async with Engine.open(tmp_path, converter=OneSlow(done)) as engine:
        given = [
            file(b"Slow.", "slow.txt"),
            *(file(b"Fast.", f"{n}.txt") for n in range(5)),
            Document("T", id="t"),
        ]
        async for event in engine.insert_events(given):
            if event.kind == "committed":
                seen.append(event.document_id or "")
            if len(seen) == 6:
                done.set()
        assert len(seen) == 7
        assert {each.status for each in await engine.documents()} == {"processed"}


def holding(folder: Path, marks: list[bytes]) -> list[Path]:
    """The files that have one of the marks in them."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if any(mark in path.read_bytes() for mark in marks)]


async def test_nothing_of_a_file_is_left_once_it_is_erased(tmp_path: Path, converter: Converter) -> None:
    content = pdf("The secret of Ada.", "x" * 3000)
    async with Engine.open(tmp_path, converter=converter) as engine:
        await engine.insert(Document("A text that stays.", id="stays"))
        await engine.submit(file(content, id="secret"))
        failed = file(encrypted_pdf() + b"The secret of Ada.", "b.pdf", id="failed")
        await engine.insert(failed)
        assert holding(tmp_path, [b64encode(content)[100:160]])
        report = await engine.delete(["secret", "failed"], erase=True)
        assert set(report.deleted) == {"secret", "failed"}
    marks = [b"The secret of Ada.", *(b64encode(each)[100:160] for each in (content, failed.content))]
    assert holding(tmp_path, marks) == []


async def test_a_backup_holds_files_that_wait(tmp_path: Path, converter: Converter) -> None:
    async with Store.open(tmp_path / "root") as store:
        async with Engine.open(store, "a", converter=converter) as engine:
            await engine.submit(file(pdf()))
            await engine.backup(tmp_path / "a.backup")
        await store.restore(tmp_path / "a.backup", "b")
        async with Engine.open(store, "b", converter=converter) as engine:
            report = await engine.work(until_empty=True)
            assert [each.status for each in report.documents] == ["processed"]
