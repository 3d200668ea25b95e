"""The documents of a tracking id are those that a listing of it tells, whatever has become of them."""

from __future__ import annotations

from pathlib import Path

from stateless_rag import Document, Engine, Status
from stateless_rag.testing import DeterministicLLM


async def agrees(engine: Engine, *names: str) -> None:
    for name in names:
        page = await engine.list_documents(tracking_id=name, limit=None)
        assert tuple(await engine.tracked(name)) == page.documents, name


async def test_tracked_documents_are_those_of_the_listing(tmp_path: Path) -> None:
    async with Engine.open(tmp_path, "w", llm=DeterministicLLM()) as engine:
        assert await engine.tracked("none") == []
        documents = [Document(f"Ada wrote note {n}.", id=f"d{n}") for n in range(5)]
        await engine.insert(documents, tracking_id="first")
        await agrees(engine, "first", "second")
        await engine.submit([Document("Ada wrote another.", id="d1")], tracking_id="second")
        assert {each.id: each.status for each in await engine.tracked("second")} == {"d1": Status.PENDING}
        assert [each.id for each in await engine.tracked("first")] == ["d0", "d2", "d3", "d4"]
        await agrees(engine, "first", "second")
        await engine.cancel(["d1"])
        await engine.disable(["d2"])
        await engine.delete(["d3"])
        assert {each.id: each.status for each in await engine.tracked("second")} == {"d1": Status.FAILED}
        assert [(each.id, each.enabled) for each in await engine.tracked("first")] == [
            ("d0", True),
            ("d2", False),
            ("d4", True),
        ]
        await agrees(engine, "first", "second")
        await engine.resume()
        await agrees(engine, "first", "second")
    async with Engine.open(tmp_path, "w", llm=DeterministicLLM()) as engine:
        await agrees(engine, "first", "second")
        assert [each.status for each in await engine.tracked("second")] == [Status.PROCESSED]
