"""Batch files by way of a server: what is handed over is asked for nowhere else, whatever else the server does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from server.serving import listening, running
from stateless_rag import Document, ExtractSettings, InvalidInput, OpenAILLM, Settings
from stateless_rag.client import RemoteEngine, Server
from stateless_rag.server import ApiKey, Quota
from stateless_rag.testing import BatchBehaviour, FakeOpenAIServer
from stateless_rag.types import BatchInfo, BatchReport

PROJECTS = "/api/v1/projects"
TEXTS = [
    Document(f"{who} wrote the program number {number} in {where}.", id=f"d{number}")
    for number, (who, where) in enumerate(
        [("Ada Lovelace", "London"), ("Grace Hopper", "New York"), ("Alan Turing", "Bletchley")]
    )
]
ONCE = Settings(extraction=ExtractSettings(gleaning=1))


@asynccontextmanager
async def server_of(
    folder: Path, fake: FakeOpenAIServer, **settings: Any
) -> AsyncIterator[tuple[RemoteEngine, str]]:
    """A workspace of a server whose LLM is behind HTTP, and the server's address."""
    llm = OpenAILLM("fake", api_key="key", base_url=fake.base_url)

    def options(_name: str, _embedder: str | None) -> Mapping[str, Any]:
        return {"llm": llm, "settings": ONCE}

    async with (
        aclosing_llm(llm),
        listening(folder, options=options, **settings) as address,
        Server.open(address, key="key") as server,
    ):
        yield server.workspace("papers"), address


@asynccontextmanager
async def aclosing_llm(llm: OpenAILLM) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await llm.close()


def singly(fake: FakeOpenAIServer) -> int:
    """How many calls of the LLM came outside of batches."""
    return sum(each.path.endswith("/chat/completions") and each.batch is None for each in fake.log)


async def test_documents_are_extracted_in_batches_alone(tmp_path: Path) -> None:
    async with FakeOpenAIServer(batches=BatchBehaviour(polls=1)) as fake:
        async with server_of(tmp_path, fake) as (papers, _):
            seen: list[tuple[str, int]] = []
            (batch,) = await papers.submit_batch(documents=TEXTS)
            assert (batch.requests, batch.documents, dict(batch.purposes)) == (3, 3, {"extract": 3})
            await papers.insert("Konrad Zuse built the Z3 in Berlin.")  # the server works beside it
            assert [row.status for row in await papers.documents() if len(row.id) == 2] == ["pending"] * 3

            def note(batches: Any) -> None:
                seen.extend((each.status, each.done) for each in batches)

            report = await papers.collect_batches(wait=True, poll=0.01, progress=note)
            assert (report.replies, report.failed, report.waiting) == (3, 0, 0)
            assert seen[-1] == ("completed", 3) and len(seen) > 1
            assert report.usage["extract"].calls == 3
            (gleaning,) = await papers.submit_batch()
            assert dict(gleaning.purposes) == {"glean": 3}
            assert (await papers.collect_batches(wait=True, poll=0.01)).replies == 3
            assert await papers.submit_batch() == ()
            assert len(await papers.batches()) == 2
            resumed = await papers.resume()
            assert {each.id: each.status for each in resumed.documents} == dict.fromkeys(
                ("d0", "d1", "d2"), "processed"
            )
            subgraph = await papers.subgraph("Ada Lovelace")
            assert "London" in {each.name for each in subgraph.entities}
        assert singly(fake) == 2  # what came in beside it, and a look for what was missed
        assert fake.batches.files == {}


async def test_what_a_batch_holds_survives_the_server(tmp_path: Path) -> None:
    async with FakeOpenAIServer(batches=BatchBehaviour(polls=1)) as fake:
        async with server_of(tmp_path, fake) as (papers, _):
            await papers.submit_batch(documents=TEXTS)
        async with server_of(tmp_path, fake) as (papers, _):  # it looks for what earlier ones have left
            assert {row.status for row in await papers.documents()} == {"pending"}
            (batch,) = await papers.batches()
            cancelled = await papers.cancel_batch(batch.id, forget=True)
            assert cancelled.collected
            with pytest.raises(InvalidInput, match="is not with the provider"):
                await papers.cancel_batch(batch.id)
        assert singly(fake) == 0


async def test_lines_that_are_none_change_nothing(tmp_path: Path) -> None:
    good = b'{"text": "Ada wrote.", "id": "a"}'
    cases = [
        (b"not json", "line 1 is no JSON"),
        (good + b"\n[]", "line 2: the document"),
        (good + b'\n\n{"text": 3}', "line 3: text"),
        (b'{"text": "a", "more": 1}', "line 1: more"),
        (b'{"text": "a", "id": ""}', "line 1: "),
        (good + b" " * 2000, "line 1 has more than 1,000 bytes"),
        (b"\xff", "line 1 is no JSON"),
    ]
    async with running(tmp_path, max_text_body=1000) as client:
        for path in ("estimate", "batches"):
            for body, told in cases:
                answer = await client.post(f"{PROJECTS}/default/{path}/lines", content=body)
                assert (answer.status_code, told in answer.json()["detail"]) == (400, True), answer.text
        assert (await client.get(PROJECTS)).json()["projects"] == []


async def test_lines_are_bounded_as_a_whole_and_by_the_quota(tmp_path: Path) -> None:
    lines = b"".join(b'{"text": "Text %d.", "id": "%d"}\n' % (n, n) for n in range(3))
    keys = (ApiKey(key="key"), ApiKey(key="reader", access="read"))
    settings: dict[str, Any] = {"max_graph_body": 100, "quota": Quota(documents=2), "keys": keys}
    async with running(tmp_path, **settings) as client:
        url, by = f"{PROJECTS}/default/batches/lines", {"X-API-Key": "key"}
        answer = await client.post(url, content=lines, headers=by)
        assert answer.status_code == 429 and "at most 2 fit" in answer.text
        answer = await client.post(url, content=lines * 2, headers=by)
        assert answer.status_code == 413
        answer = await client.post(url, content=lines, headers={"X-API-Key": "reader"})
        assert answer.status_code == 403
        answer = await client.post(url, content=lines.splitlines()[0], headers=by)
        assert "event: error" in answer.text and "batch" in answer.text  # this LLM takes none


async def test_an_estimate_is_of_more_than_fits_into_one_body(tmp_path: Path) -> None:
    documents = [Document(f"Text {number} tells of Ada Lovelace.", id=str(number)) for number in range(300)]
    async with listening(tmp_path, max_text_body=4000) as address, Server.open(address) as server:
        papers = server.workspace("papers")
        whole = await papers.estimate(documents, batch=True)
        assert (whole.documents, whole.new_chunks) == (300, 300)
        with pytest.raises(Exception, match="large"):
            await papers._wire.ask(
                "POST",
                f"{PROJECTS.removeprefix('/api/v1')}/papers/estimate",
                json={"documents": [{"text": each.text} for each in documents]},
            )
        assert (await papers.estimate([])).documents == 0
        assert await papers.documents() == []


def test_reports_of_many_looks_are_one() -> None:
    from stateless_rag.client.batching import _together
    from stateless_rag.types import Usage

    def info(name: str, *, collected: bool) -> BatchInfo:
        return BatchInfo(
            id=name,
            provider_id=name,
            model="m",
            status="completed",
            requests=1,
            collected=collected,
            submitted_at=0,
        )

    first = BatchReport(batches=(info("a", collected=True), info("b", collected=False)), replies=1, failed=2)
    second = BatchReport(batches=(info("b", collected=True),), replies=3, usage={"extract": Usage(3, 1, 1)})
    told = _together(first, second)
    assert [(each.id, each.collected) for each in told.batches] == [("a", True), ("b", True)]
    assert (told.replies, told.failed, told.waiting, told.total.calls) == (4, 2, 0, 3)


async def test_one_batch_of_two_who_submit_at_once(tmp_path: Path) -> None:
    async with (
        FakeOpenAIServer(batches=BatchBehaviour(polls=1)) as fake,
        server_of(tmp_path, fake) as (papers, _),
    ):
        made = await asyncio.gather(
            papers.submit_batch(documents=TEXTS[:2]), papers.submit_batch(documents=TEXTS[1:])
        )
        assert sum(batch.requests for batches in made for batch in batches) == 3
        with pytest.raises(InvalidInput, match="not both"):
            await papers.submit_batch(["d0"], documents=TEXTS)
