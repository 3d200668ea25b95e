"""/api/v1: workspaces, documents, questions and the graph, with problem details and idempotency keys."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from server.serving import GRAPH, listening, running
from stateless_rag import Engine
from stateless_rag.server.asked import Asked
from stateless_rag.server.asking import ask
from stateless_rag.server.auth import Principal
from stateless_rag.testing import DeterministicLLM

if TYPE_CHECKING:
    import pytest

    from stateless_rag.protocols import LLMReply, LLMRequest

PROJECTS = "/api/v1/projects"
ADA = "Ada Lovelace wrote notes on the Analytical Engine. Charles Babbage designed the Analytical Engine."
TWO = {
    "documents": [
        {"text": ADA, "source": "ada.txt", "metadata": {"year": 1843}},
        {"text": "Turing lived in London.", "id": "t/1"},
    ]
}


async def done(client: httpx2.AsyncClient, project: str, tracking_id: str) -> list[Any]:
    async with asyncio.timeout(240):
        while True:
            page = (await client.get(f"{PROJECTS}/{project}/documents?tracking_id={tracking_id}")).json()
            if page["documents"] and all(
                each["status"] in ("processed", "failed") for each in page["documents"]
            ):
                return list(page["documents"])
            await asyncio.sleep(0.02)


async def test_workspaces_are_made_where_the_server_was_told(tmp_path: Path) -> None:
    async with running(tmp_path, placement="own") as client:
        assert (await client.post(PROJECTS, json={"name": "made"})).status_code == 201
        sent = await client.post(f"{PROJECTS}/written/documents", json=TWO)
        await done(client, "written", sent.json()["tracking_id"])
        copied = await client.post(f"{PROJECTS}/written/copy", json={"name": "copied"})
        assert copied.status_code == 201, copied.text
        assert own_files(tmp_path) == 3
    async with running(tmp_path) as client:
        assert (await client.post(PROJECTS, json={"name": "later"})).status_code == 201
    assert own_files(tmp_path) == 3


def own_files(root: Path) -> int:
    return len(list((root / "workspaces").glob("*.duckdb")))


async def test_workspaces_are_made_described_copied_renamed_and_dropped(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        made = await client.post(PROJECTS, json={"name": "one"})
        assert (made.status_code, made.headers["location"]) == (201, f"{PROJECTS}/one")
        assert (await client.post(PROJECTS, json={"name": "one"})).status_code == 409
        assert (await client.post(PROJECTS, json={"name": "no name"})).status_code == 400
        await client.post(f"{PROJECTS}/one/insert_custom_kg", json=GRAPH)

        copied = await client.post(f"{PROJECTS}/one/copy", json={"name": "two"})
        assert (copied.status_code, copied.json()["entities"]) == (201, 2)
        assert (await client.post(f"{PROJECTS}/one/copy", json={"name": "two"})).status_code == 409
        await client.post(f"{PROJECTS}/two/delete", json={"ids": ["none"]})
        renamed = await client.patch(f"{PROJECTS}/one", json={"name": "three"})
        assert (renamed.status_code, renamed.json()["name"]) == (200, "three")
        listed = (await client.get(PROJECTS)).json()
        assert ([each["name"] for each in listed["projects"]], listed["total"]) == (["three", "two"], 2)

        assert (await client.delete(f"{PROJECTS}/two")).status_code == 204
        assert (await client.delete(f"{PROJECTS}/two")).status_code == 404
        again = await client.post(f"{PROJECTS}/two/documents", json=TWO)
        assert again.status_code == 202
        await done(client, "two", again.json()["tracking_id"])
        assert (await client.get(f"{PROJECTS}/two")).json()["documents"]["processed"] == 2


async def test_a_workspace_with_work_in_it_is_dropped_and_made_again(tmp_path: Path) -> None:
    called, slow = asyncio.Event(), [True]

    async def llm(prompt: str, **_: Any) -> str:
        called.set()
        await asyncio.sleep(3600 if slow else 0)
        return "<|COMPLETE|>"

    async with running(tmp_path, options=lambda *_: {"llm": llm}) as client:
        many = {"documents": [{"text": f"{ADA} Number {n}.", "id": str(n)} for n in range(5)]}
        assert (await client.post(f"{PROJECTS}/one/documents", json=many)).status_code == 202
        await called.wait()
        assert (await client.delete(f"{PROJECTS}/one")).status_code == 204
        assert (await client.get(f"{PROJECTS}/one")).status_code == 404
        slow.clear()
        again = await client.post(f"{PROJECTS}/one/documents", json=TWO)
        assert len(await done(client, "one", again.json()["tracking_id"])) == 2
        assert (await client.get(f"{PROJECTS}/one/documents")).json()["total"] == 2


async def test_documents_go_in_are_listed_shown_and_deleted(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        project = f"{PROJECTS}/one"
        accepted = (await client.post(f"{project}/documents", json=TWO)).json()
        assert accepted["ids"][1] == "t/1"
        assert {each["status"] for each in await done(client, "one", accepted["tracking_id"])} == {
            "processed"
        }

        where = json.dumps({"year": 1843})
        found = (await client.get(f"{project}/documents", params={"where": where})).json()
        assert [each["source"] for each in found["documents"]] == ["ada.txt"]
        shown = (await client.get(f"{project}/documents/t/1?contents=true")).json()
        assert shown["text"] == "Turing lived in London."
        assert {entity["name"] for entity in shown["contents"]["entities"]} == {"Turing", "London"}

        report = (await client.delete(f"{project}/documents/t/1")).json()
        assert report["deleted"] == ["t/1"]
        assert (await client.get(f"{project}/documents/t/1")).status_code == 404
        assert (await client.delete(f"{project}/documents/t/1")).status_code == 404


async def test_an_idempotency_key_does_its_work_once(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        url, headers = f"{PROJECTS}/one/documents", {"Idempotency-Key": "k1"}
        first, twice = await asyncio.gather(*(client.post(url, json=TWO, headers=headers) for _ in range(2)))
        assert first.json() == twice.json()
        await done(client, "one", first.json()["tracking_id"])
        await client.post(f"{PROJECTS}/one/delete", json={"ids": ["t/1"]})
        assert (await client.post(url, json=TWO, headers=headers)).json() == first.json()
        assert (await client.get(url)).json()["total"] == 1
        other = {"documents": [{"text": "Something else."}]}
        refused = await client.post(url, json=other, headers=headers)
        assert (refused.status_code, refused.json()["title"]) == (422, "Unprocessable Entity")
    async with running(tmp_path) as client:  # another process: the key is known by its documents
        assert (await client.post(url, json=TWO, headers=headers)).json() == first.json()
        assert (await client.get(url)).json()["total"] == 1


async def test_questions_are_answered_with_spans_and_explained(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        project = f"{PROJECTS}/one"
        accepted = (await client.post(f"{project}/documents", json=TWO)).json()
        await done(client, "one", accepted["tracking_id"])
        question: dict[str, Any] = {
            "question": "Who designed the Analytical Engine?",
            "options": {"mode": "local"},
            "include_passages": True,
        }
        answer = (await client.post(f"{project}/query", json=question)).json()
        reference = answer["references"][0]
        assert (reference["source"], ADA[reference["start"] : reference["stop"]]) == ("ada.txt", ADA)
        assert answer["passages"][0]["text"] == ADA
        assert answer["mode"] == "local"

        for year, sources in ((1843, ["ada.txt"]), (1844, [])):
            filtered = {**question["options"], "metadata_filter": {"year": year}}
            found = (
                await client.post(
                    f"{project}/retrieve", json={"question": question["question"], "options": filtered}
                )
            ).json()
            assert [passage["source"] for passage in found["passages"]] == sources
        why = {"question": "Where did Turing live?", "expect": "t/1", "options": {"mode": "naive"}}
        explained = (await client.post(f"{project}/explain", json=why)).json()
        assert explained["expected"]["rank"] == 1

        for wrong in ({"question": "x", "options": {"mode": "best"}}, {"question": "x", "optoins": {}}, {}):
            refused = await client.post(f"{project}/query", json=wrong)
            assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
            assert refused.json()["errors"]


async def test_a_stream_tells_steps_text_and_the_answer(tmp_path: Path) -> None:
    async with listening(tmp_path) as address, httpx2.AsyncClient(base_url=address, timeout=240) as client:
        accepted = (await client.post(f"{PROJECTS}/one/documents", json=TWO)).json()
        await done(client, "one", accepted["tracking_id"])
        question = {"question": "Who designed the Analytical Engine?"}
        events: list[tuple[str, Any]] = []
        async with client.stream("POST", f"{PROJECTS}/one/query/stream", json=question) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            kind = ""
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    kind = line[7:]
                elif line.startswith("data: "):
                    events.append((kind, json.loads(line[6:])))
        kinds = list(dict.fromkeys(kind for kind, _ in events))
        assert kinds == ["step", "found", "text", "answer"]
        text = "".join(said["text"] for kind, said in events if kind == "text")
        assert (text, events[-1][1]["text"]) == (events[-1][1]["text"], text)
        assert events[-1][1]["references"][0]["source"] == "ada.txt"


async def test_who_leaves_a_stream_lets_go_of_the_workspace(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        service = client.app.state.service  # type: ignore[attr-defined]
        await client.post(f"{PROJECTS}/one/insert_custom_kg", json=GRAPH)
        asked = Asked(service, Principal("anybody"), "one")
        pieces = ask(asked, "Where was the Baby built?", {"mode": "naive"})
        await anext(pieces)
        assert [each.leases for each in service.leases.pool.usage()] == [1]
        assert not await service.leases.pool.close_one("one")
        await pieces.aclose()
        assert [each.leases for each in service.leases.pool.usage()] == [0]


async def test_progress_is_told_until_the_documents_are_settled(tmp_path: Path) -> None:
    async with listening(tmp_path) as address, httpx2.AsyncClient(base_url=address, timeout=240) as client:
        accepted = (await client.post(f"{PROJECTS}/one/documents", json=TWO)).json()
        url = f"{PROJECTS}/one/events?tracking_id={accepted['tracking_id']}"
        async with client.stream("GET", url) as answer:
            lines = [line async for line in answer.aiter_lines() if line]
        assert lines[0] == "event: documents"
        assert lines[-2] == "event: settled"
        assert json.loads(lines[-1].removeprefix("data: "))["processed"] == 2


async def test_who_watches_many_documents_looks_at_them_a_few_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(DeterministicLLM):
        async def complete(self, request: LLMRequest) -> LLMReply:
            await watched.wait()
            await asyncio.sleep(0.01)
            return await super().complete(request)

    def options(_name: str, _embedder: str | None) -> Any:
        return {"llm": Slow()}

    many = {"documents": [{"text": f"Turing wrote page {n} in London.", "id": f"d{n}"} for n in range(60)]}
    watched, looks, tracked = asyncio.Event(), 0, Engine.tracked

    async def counted(engine: Engine, tracking_id: str) -> Any:
        nonlocal looks
        looks += 1
        return await tracked(engine, tracking_id)

    monkeypatch.setattr(Engine, "tracked", counted)
    async with (
        listening(tmp_path, options=options, llm_calls=2) as address,
        httpx2.AsyncClient(base_url=address, timeout=240) as client,
    ):
        accepted = (await client.post(f"{PROJECTS}/one/documents", json=many)).json()
        url = f"{PROJECTS}/one/events?tracking_id={accepted['tracking_id']}"
        async with client.stream("GET", url) as answer:
            reading = answer.aiter_lines()
            lines = [await anext(reading)]
            watched.set()
            lines += [line async for line in reading if line]
    assert lines[-2] == "event: settled"
    assert json.loads(lines[-1].removeprefix("data: "))["processed"] == 60
    assert lines.count("event: committed") == 60
    assert looks < 10


async def test_who_watches_is_let_go_when_the_server_ends(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        service = client.app.state.service  # type: ignore[attr-defined]
        await client.post(PROJECTS, json={"name": "one"})
        watching = asyncio.create_task(client.get(f"{PROJECTS}/one/events"))
        while not service.board._listeners:  # noqa: ASYNC110 -- it tells by this alone
            await asyncio.sleep(0)
        service.board.close()
        assert (await watching).text == ""
        assert (await client.get(f"{PROJECTS}/one/events")).text == ""


async def test_the_graph_is_read_and_changed_by_hand(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        graph = f"{PROJECTS}/one/graph"
        await client.post(f"{PROJECTS}/one/insert_custom_kg", json=GRAPH)
        assert (await client.get(f"{graph}/labels?search=manch")).json() == ["Manchester"]
        assert (await client.get(f"{graph}/types")).json() == {"city": 1, "machine": 1}
        assert (await client.get(f"{graph}/relation?source=Manchester&target=Baby")).json()[
            "description"
        ] == "built in"
        assert (await client.get(f"{graph}/entity?name=None")).status_code == 404
        made = await client.post(f"{graph}/entity", json={"name": "Ferranti", "type": "company"})
        assert made.status_code == 201
        assert (await client.post(f"{graph}/entity", json={"name": "Ferranti"})).status_code == 400
        changed = await client.patch(
            f"{graph}/entity?name=Baby", json={"name": "SSEM", "description": "A computer."}
        )
        assert changed.json()["entity"]["name"] == "SSEM"
        assert (await client.get(f"{graph}/neighbours?name=SSEM")).json()[0]["entity"]["name"] == "Manchester"
        undone = await client.post(f"{graph}/changes/undo", json={"number": changed.json()["number"]})
        assert undone.status_code == 200
        assert (await client.get(f"{graph}/entity?name=Baby")).json()["name"] == "Baby"
        assert (await client.delete(f"{graph}/relation?source=Baby&target=Manchester")).status_code == 200
        assert (await client.get(f"{graph}/subgraph?name=Baby")).json()["relations"] == []
        kinds = [change["kind"] for change in (await client.get(f"{graph}/changes")).json()]
        assert kinds == ["delete_relation", "undo", "rename_entity", "edit_entity", "create_entity"]


async def test_a_workspace_leaves_as_a_file_and_comes_back(tmp_path: Path) -> None:
    async with running(tmp_path / "root") as client:
        await client.post(f"{PROJECTS}/one/insert_custom_kg", json=GRAPH)
        lines = await client.get(f"{PROJECTS}/one/export?vectors=true")
        assert lines.headers["content-disposition"] == 'attachment; filename="one.jsonl"'
        back = await client.post(f"{PROJECTS}/two/import", content=lines.content)
        assert back.json()["documents"] == {"processed": 1}
        assert (await client.get(f"{PROJECTS}/two/graph/labels")).json() == ["Baby", "Manchester"]
        broken = await client.post(f"{PROJECTS}/two/import", content=lines.content[:-20])
        assert broken.status_code == 400
        assert "<graphml" in (await client.get(f"{PROJECTS}/one/export?format=graphml")).text


async def test_what_was_accepted_is_taken_in_by_the_next_process(tmp_path: Path) -> None:
    async with Engine.open(tmp_path, "one") as engine:
        tracking_id = await engine.submit(["Turing lived in London."])
    async with running(tmp_path) as client:
        assert [each["status"] for each in await done(client, "one", tracking_id)] == ["processed"]


async def test_custom_graphs_that_are_none_are_refused(tmp_path: Path) -> None:
    async with running(tmp_path, max_graph_body=10_000) as client:
        url = f"{PROJECTS}/one/insert_custom_kg"
        for body in (
            b"",
            b"[]",
            b"{",
            b'{"chunks": [NaN]}',
            b'{"chunks": 1}',
            b"\xff",
            b'{"a": [1,]}',
            b"{} {}",
            b"[" * 9000,
        ):
            answer = await client.post(url, content=body)
            assert answer.status_code == 400, (body, answer.text)
        said = {"Content-Length": "20000"}
        assert (await client.post(url, content=b"{}", headers=said)).status_code == 413
        assert (await client.post(url, content=_pieces())).status_code == 413  # whose length nobody says
        assert (await client.get(f"{PROJECTS}/one")).status_code == 404


async def _pieces() -> AsyncGenerator[bytes]:
    for _ in range(20):
        yield b" " * 1000
