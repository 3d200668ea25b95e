"""The routes of LightRAG: shapes, and where they are better."""

from __future__ import annotations

import json
from hashlib import md5
from pathlib import Path
from typing import Any

import httpx2

from server.serving import GRAPH, listening, running, settled
from stateless_rag.errors import ProviderUnavailable
from stateless_rag.settings import CallSettings, Settings
from stateless_rag.testing import DeterministicLLM

ADA = "Ada Lovelace wrote notes on the Analytical Engine. Charles Babbage designed the Analytical Engine."


async def insert(client: httpx2.AsyncClient, text: str, source: str) -> list[Any]:
    answer = await client.post("/documents/text", json={"text": text, "file_source": source})
    assert answer.status_code == 200, answer.text
    return await settled(client, answer.json()["track_id"])


async def test_documents_are_inserted_listed_and_deleted(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        [row] = await insert(client, ADA, "ada.txt")
        assert row["id"] == f"doc-{md5(b'ada.txt').hexdigest()}"
        assert (row["status"], row["content_summary"], row["content_length"]) == ("processed", ADA, len(ADA))
        body = {"texts": ["One text.", "Two texts."], "file_sources": ["a/same.txt", "b/same.txt"]}
        both = (await client.post("/documents/texts", json=body)).json()
        rows = await settled(client, both["track_id"])
        assert {each["file_path"] for each in rows} == {"a/same.txt", "b/same.txt"}
        tracked = (await client.get(f"/documents/track_status/{both['track_id']}")).json()
        assert tracked["status_summary"] == {"processed": 2}

        page = {
            "page_size": 10,
            "sort_field": "file_path",
            "sort_direction": "asc",
            "status_filters": ["processed"],
        }
        listed = (await client.post("/documents/paginated", json=page)).json()
        assert [each["file_path"] for each in listed["documents"]] == ["a/same.txt", "ada.txt", "b/same.txt"]
        assert listed["pagination"] == {
            "page": 1, "page_size": 10, "total_count": 3, "total_pages": 1, "has_next": False, "has_prev": False
        }  # fmt: skip
        assert listed["status_counts"]["all"] == 3
        none = (await client.post("/documents/paginated", json={"status_filter": "parsing"})).json()
        assert none["documents"] == []

        deleted = await client.request(
            "DELETE", "/documents/delete_document", json={"doc_ids": [row["id"], "none"]}
        )
        assert (deleted.json()["status"], deleted.json()["doc_id"]) == (
            "deletion_started",
            f"{row['id']}, none",
        )
        assert (await client.get("/graph/label/list")).json() == ["One", "Two"]
        assert (await client.request("DELETE", "/documents")).json()["status"] == "success"
        assert (await client.get("/documents/status_counts")).json()["status_counts"]["all"] == 0


async def test_what_cannot_be_inserted_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, max_texts=2, max_body=2000, max_text_body=4000) as client:
        cases: list[tuple[int, str, Any]] = [
            (422, "text", {"text": "  ", "file_source": "a.txt"}),
            (400, "text", {"text": "A text."}),
            (400, "text", {"text": "A text.", "file_source": "unknown_source"}),
            (400, "text", {"text": "A text.", "file_source": "a\x00b"}),
            (422, "text", {"text": "A", "file_source": "a", "chunking": {"strategy": "custom"}}),
            (
                422,
                "text",
                {"text": "A", "file_source": "a", "chunking": {"params": {"chunk_token_size": 50}}},
            ),
            (422, "text", {"text": "A", "file_source": "a", "chunking": {"params": {"size": 50}}}),
            (400, "texts", {"texts": ["A text.", "B."], "file_sources": ["a"]}),
            (400, "texts", {"texts": ["A text.", "B."], "file_sources": ["a", "a"]}),
            (413, "texts", {"texts": ["A.", "B.", "C."], "file_sources": ["a", "b", "c"]}),
            (413, "text", {"text": "A" * 5000, "file_source": "a"}),
            (422, "paginated", {"status_filter": "PROCESSED"}),
            (422, "paginated", {"page_size": 5}),
            (413, "paginated", {"status_filters": ["pending"] * 1000}),
        ]
        for status, path, body in cases:
            answer = await client.post(f"/documents/{path}", json=body)
            assert answer.status_code == status, (body, answer.text)
            assert answer.json()["detail"]
        assert (await client.get("/documents/status_counts")).json()["status_counts"]["all"] == 0
        assert (await client.get("/documents")).status_code == 405


async def test_a_text_is_cut_as_the_request_says(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        text = "\n\n".join(f"Paragraph number {n} tells of Engine {n}." for n in range(6))
        chunking = {"params": {"split_by_character": "\n\n", "chunk_token_size": 200}}
        body = {"text": text, "file_source": "six.txt", "chunking": chunking}
        answer = (await client.post("/documents/text", json=body)).json()
        [row] = await settled(client, answer["track_id"])
        assert row["chunks_count"] == 6
        body = {"text": text, "file_source": "one.txt"}
        answer = (await client.post("/documents/text", json=body)).json()
        assert (await settled(client, answer["track_id"]))[0]["chunks_count"] == 1


async def test_files_are_uploaded_and_others_refused(tmp_path: Path) -> None:
    async with running(tmp_path, max_upload=1000) as client:
        sent = await client.post("/documents/upload", files={"file": ("ada.[native-R].md", ADA.encode())})
        assert sent.status_code == 200, sent.text
        assert (await settled(client, sent.json()["track_id"]))[0]["file_path"] == "ada.md"
        again = await client.post("/documents/upload", files={"file": ("ada.md", b"Turing lived in London.")})
        assert "updated: ada.md" in again.json()["message"]
        await settled(client, again.json()["track_id"])
        assert (await client.get("/documents/status_counts")).json()["status_counts"]["all"] == 1
        refused = [
            ("a.exe", b"x"),
            ("../a.txt", b"x"),
            ("a.txt", b""),
            ("a.txt", b"\xff\xfe\x00"),
            (" a.txt", b"x"),
        ]
        for name, body in [*refused, ("a.[what].txt", b"x"), ("a.pdf", b"no PDF at all")]:
            answer = await client.post("/documents/upload", files={"file": (name, body)})
            assert answer.status_code == 400, (name, answer.text)
        large = await client.post("/documents/upload", files={"file": ("a.txt", b"x" * 1001)})
        assert large.status_code == 413


async def test_a_folder_is_scanned(tmp_path: Path) -> None:
    (tmp_path / "in" / "papers").mkdir(parents=True)
    (tmp_path / "in" / "papers" / "ada.TXT").write_text(ADA)
    (tmp_path / "in" / "papers" / "bad.exe").write_bytes(b"\x00")
    async with running(tmp_path / "root", input_dir=str(tmp_path / "in")) as client:
        headers = {"X-Workspace": "papers"}
        started = (await client.post("/documents/scan", headers=headers)).json()
        assert started["status"] == "scanning_started"
        rows = await settled(client, started["track_id"], headers)
        assert [row["file_path"] for row in rows] == ["ada.TXT"]
        await client.app.state.service.scans._running.get("papers", _done())  # type: ignore[attr-defined]
        job = (await client.get(f"/documents/scan/status/{started['track_id']}", headers=headers)).json()
        assert (job["status"], job["counts"]) == ("completed", {"discovered": 2, "processed": 1, "errors": 1})
        assert (await client.get(f"/documents/scan/status/{started['track_id']}")).status_code == 404
        assert sorted(path.name for path in (tmp_path / "in" / "papers").rglob("*.*")) == [
            "ada.TXT",
            "bad.exe",
        ]


async def _done() -> None:
    return None


async def test_questions_are_answered_in_the_known_shapes(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        await insert(client, ADA, "ada.txt")
        body = {"query": "Who designed the Analytical Engine?", "include_chunk_content": True}
        reply = (await client.post("/query", json=body)).json()
        assert reply["references"] == [{"reference_id": "1", "file_path": "ada.txt", "content": [ADA]}]
        assert reply["llm_generated"] is True
        context = (
            await client.post("/query", json={**body, "only_need_context": True, "include_references": False})
        ).json()
        assert (context["llm_generated"], context["references"]) == (False, None)
        assert "Charles Babbage" in context["response"]
        data = (await client.post("/query/data", json=body)).json()
        assert data["status"] == "success"
        assert data["data"]["chunks"][0]["content"] == ADA
        nothing = (
            await client.post("/query", json={**body, "mode": "naive"}, headers={"X-Workspace": "none"})
        ).json()
        assert nothing["response"].endswith("[no-context]")
        assert nothing["llm_generated"] is False

        for wrong in (
            {"query": " "},
            {"query": "ab"},
            {"query": "long enough", "mode": "best"},
            {"query": "abc", "top_k": 0},
        ):
            refused = await client.post("/query", json=wrong)
            assert refused.status_code == 422
            assert {"type", "loc", "msg", "input"} <= set(refused.json()["detail"][0])
            told = await client.post("/query/data", json=wrong)
            assert (told.status_code, told.json()["status"]) == (400, "failure")
            assert told.json()["message"].startswith("Validation error: ")


async def lines_of(client: httpx2.AsyncClient, body: Any) -> list[dict[str, Any]]:
    answer = await client.post("/query/stream", json=body)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["x-accel-buffering"] == "no"
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_streams_are_lines_of_json(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        await insert(client, ADA, "ada.txt")
        body = {"query": "Who designed the Analytical Engine?", "include_progress": True, "mode": "local"}
        lines = await lines_of(client, body)
        steps = [line["progress"] for line in lines if "progress" in line]
        looking = ["retrieving_entities", "retrieving_relations", "retrieving_chunks"]
        assert steps == ["extracting_keywords", *looking, "generating_response"]
        rest = lines[len(steps) :]
        assert rest[0] == {"references": [{"reference_id": "1", "file_path": "ada.txt"}]}
        assert all(set(line) == {"response"} for line in rest[1:-1])
        assert len(rest) > 3
        assert set(rest[-1]) == {"response_time"}
        [whole] = await lines_of(client, {**body, "include_progress": False, "stream": False})
        assert set(whole) == {"response", "llm_generated", "references"}
        [context] = await lines_of(client, {"query": "Who designed it?", "only_need_context": True})
        assert context["llm_generated"] is False


async def test_a_provider_that_fails_is_an_error(tmp_path: Path) -> None:
    """LightRAG answers 200 with a sentence that nothing was found."""

    def failing(_name: str, _embedder: str | None) -> Any:
        async def llm(prompt: str, **_: Any) -> str:
            if "Secret question" in prompt:
                raise ProviderUnavailable("the prompt was: Secret question", status=500)
            reply = await DeterministicLLM().complete_text(prompt)  # type: ignore[attr-defined]
            return str(reply)

        return {"llm": llm, "settings": Settings(calls=CallSettings(attempts=1))}

    async with (
        listening(tmp_path, None) as address,
        httpx2.AsyncClient(base_url=address, timeout=240) as client,
    ):
        await insert(client, ADA, "ada.txt")
    async with (
        listening(tmp_path, failing) as address,
        httpx2.AsyncClient(base_url=address, timeout=240) as client,
    ):
        body = {
            "query": "Secret question: who designed the Analytical Engine?",
            "ll_keywords": ["Analytical Engine"],
        }
        answer = await client.post("/query", json=body)
        assert answer.status_code == 502
        assert "Secret" not in answer.text
        assert answer.headers["x-request-id"] in answer.json()["detail"]
        streamed = await client.post("/query/stream", json=body)
        assert set(json.loads(streamed.text.splitlines()[-1])) == {"error"}
        assert "Secret" not in streamed.text


async def test_the_graph_is_read_and_changed(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        await client.post("/insert_custom_kg", json=GRAPH)
        graph = (await client.get("/graphs?label=Baby&max_depth=1&max_nodes=99999")).json()
        assert sorted(node["id"] for node in graph["nodes"]) == ["Baby", "Manchester"]
        assert graph["edges"][0]["properties"]["description"] == "built in"
        made = await client.post(
            "/graph/entity/create",
            json={
                "entity_name": " Ferranti ",
                "entity_data": {"description": "A company.", "source_id": "x"},
            },
        )
        assert made.json()["data"]["entity_name"] == "Ferranti"
        relation = {
            "source_entity": "Ferranti",
            "target_entity": "Baby",
            "relation_data": {"description": "built", "weight": 2},
        }
        assert (await client.post("/graph/relation/create", json=relation)).json()["status"] == "success"
        change = {"entity_name": "Baby", "updated_data": {"entity_name": "SSEM"}, "allow_rename": True}
        edited = (await client.post("/graph/entity/edit", json=change)).json()
        assert edited["operation_summary"]["renamed"] is True
        assert edited["operation_summary"]["final_entity"] == "SSEM"
        refused: list[tuple[int, str, str, Any]] = [
            (400, "POST", "entity/create", {"entity_name": "SSEM", "entity_data": {"description": "again"}}),
            (400, "POST", "entity/create", {"entity_name": "New", "entity_data": {}}),
            (422, "POST", "entity/create", {"entity_name": " ", "entity_data": {}}),
            (400, "POST", "entity/edit", {"entity_name": "SSEM", "updated_data": {"colour": "blue"}}),
            (400, "POST", "entity/edit", {"entity_name": "SSEM", "updated_data": {"description": 1}}),
            (400, "POST", "entity/edit", {"entity_name": "SSEM", "updated_data": {"entity_name": "X"}}),
            (
                400,
                "POST",
                "relation/edit",
                {"source_id": "SSEM", "target_id": "None", "updated_data": {"weight": 1}},
            ),
            (
                400,
                "POST",
                "entities/merge",
                {"entities_to_change": ["None"], "entity_to_change_into": "SSEM"},
            ),
            (404, "DELETE", "entity/delete", {"entity_name": "None"}),
            (404, "DELETE", "relation/delete", {"source_entity": "Ferranti", "target_entity": "Manchester"}),
        ]
        for status, method, path, body in refused:
            answer = await client.request(method, f"/graph/{path}", json=body)
            assert answer.status_code == status, (path, body, answer.text)
        merge = {"entities_to_change": ["Ferranti"], "entity_to_change_into": "Manchester"}
        assert (await client.post("/graph/entities/merge", json=merge)).status_code == 200
        deleted = await client.request("DELETE", "/graph/entity/delete", json={"entity_name": "SSEM"})
        assert deleted.json()["message"] == "entity 'SSEM' was deleted"
        assert (deleted.json()["status"], deleted.json()["status_code"]) == ("success", 200)
        assert (await client.get("/graph/label/popular")).json() == ["Manchester"]


async def test_work_is_cancelled_and_tried_again(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        assert (await client.post("/documents/cancel_pipeline")).json()["status"] == "not_busy"
        texts = [f"{ADA} Number {n}." for n in range(60)]
        body = {"texts": texts, "file_sources": [f"{n}.txt" for n in range(60)]}
        accepted = (await client.post("/documents/texts", json=body)).json()
        busy = (await client.get("/documents/pipeline_status")).json()
        assert (busy["busy"], busy["docs"]) == (True, 60)
        assert (await client.post("/documents/cancel_pipeline")).json()["status"] == "cancellation_requested"
        rows = await settled(client, accepted["track_id"])
        assert "failed" in {row["status"] for row in rows}
        said = (await client.get("/documents/pipeline_status")).json()["history_messages"]
        assert any("cancelled" in line for line in said)
        assert (await client.post("/documents/reprocess_failed")).json()["status"] == "reprocessing_started"
        await client.app.state.service.ingestion.idle("default")  # type: ignore[attr-defined]
        rows = await settled(client, accepted["track_id"])
        assert {row["status"] for row in rows} == {"processed"}
        idle = (await client.get("/documents/pipeline_status")).json()
        assert (idle["busy"], idle["job_name"]) == (False, "-")
