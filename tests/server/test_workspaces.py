"""Which workspace a request is for, that none sees another's, and that reading and refusing make nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2

from server.serving import GRAPH, graph_of, running, settled

PROJECTS = "/api/v1/projects"


async def names(client: httpx2.AsyncClient) -> list[str]:
    return [each["name"] for each in (await client.get(PROJECTS)).json()["projects"]]


async def labels(client: httpx2.AsyncClient, **headers: str) -> list[str]:
    found: list[str] = (await client.get("/graph/label/list", headers=headers)).json()
    return found


async def test_without_a_header_the_default_workspace_answers(tmp_path: Path) -> None:
    async with running(tmp_path, default_workspace="main_one") as client:
        inserted = await client.post("/insert_custom_kg", json=GRAPH)
        assert inserted.status_code == 200
        assert inserted.json()["workspace"] == "main_one"
        assert await names(client) == ["main_one"]
        assert await labels(client) == ["Baby", "Manchester"]
        assert await labels(client, **{"LIGHTRAG-WORKSPACE": " "}) == ["Baby", "Manchester"]


async def test_a_header_chooses_the_workspace(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        chosen = {"LIGHTRAG-WORKSPACE": "erp", "X-Workspace": "crm", "lightrag-workspace": "papers"}
        for header, name in chosen.items():
            inserted = await client.post(
                "/documents/insert_custom_kg", json={"custom_kg": graph_of(name)}, headers={header: name}
            )
            assert inserted.json()["workspace"] == name
            assert await labels(client, **{header: name}) == sorted([name, "Manchester"])
        assert await names(client) == sorted(chosen.values())


async def test_workspaces_do_not_see_each_other(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        for name in ("ERP", "erp", "papers"):
            answer = await client.post(
                f"{PROJECTS}/{name}/insert_custom_kg", json=graph_of(f"Engine of {name}")
            )
            assert answer.status_code == 200, answer.text
        for name in ("ERP", "erp", "papers"):
            headers = {"X-Workspace": name}
            assert await labels(client, **headers) == [f"Engine of {name}", "Manchester"]
            answer = await client.post(
                "/query", json={"query": "What was built?", "mode": "naive"}, headers=headers
            )
            sources = [each["file_path"] for each in answer.json()["references"]]
            assert sources == [f"Engine of {name}.txt"]
            listed = await client.post("/documents/paginated", json={}, headers=headers)
            assert [each["file_path"] for each in listed.json()["documents"]] == [f"Engine of {name}.txt"]
            assert (await client.get("/graph/entity/exists?name=Engine of none", headers=headers)).json() == {
                "exists": False
            }


BAD = ["../../../etc/passwd", "a b", "a/b", "con", "x" * 65, "ä", "a.b", "%2e%2e", "erp\t2", "a,b"]


async def test_a_name_that_is_none_is_refused_and_makes_nothing(tmp_path: Path) -> None:
    requests = [
        ("GET", "/health", None),
        ("POST", "/insert_custom_kg", GRAPH),
        ("POST", "/documents/paginated", {}),
    ]
    async with running(tmp_path) as client:
        for name in BAD:
            for method, path, body in requests:
                headers = {b"LIGHTRAG-WORKSPACE": name.encode()}
                answer = await client.request(method, path, headers=headers, json=body)
                assert answer.status_code == 400, (name, path)
                assert "refused" in answer.json()["detail"]
        assert await names(client) == []


SENT = [
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e",
    "a%2Fb",
    "con",
    "a%00",
    "a%0d%0aX-Y:z",
    "%252e",
    "a.b",
    "x" * 65,
]
PATHS = ["/w/{}/health", "/w/{}/documents/status_counts", PROJECTS + "/{}", PROJECTS + "/{}/health"]


async def test_a_name_in_a_path_that_is_none_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        for sent in SENT:
            for path in PATHS:
                url = httpx2.URL("http://server", raw_path=path.format(sent).encode())
                answer = await client.get(url)
                assert answer.status_code == 400, (sent, path, answer.text)
                assert "refused" in answer.json()["detail"]
        assert await names(client) == []


async def test_ten_creations_together_make_one(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        service = client.app.state.service  # type: ignore[attr-defined]
        made: list[str] = []
        create = service.leases._create

        async def counted(name: str) -> None:
            made.append(name)
            await create(name)

        service.leases._create = counted
        answers = await asyncio.gather(
            *(
                client.post(
                    "/insert_custom_kg", json=graph_of(f"Engine {n}"), headers={"X-Workspace": "together"}
                )
                for n in range(10)
            )
        )
        assert [answer.status_code for answer in answers] == [200] * 10
        assert made == ["together"]
        assert service.leases.pool.opened == ("together",)
        assert len(await labels(client, **{"X-Workspace": "together"})) == 11


async def test_two_applications_have_nothing_in_common(tmp_path: Path) -> None:
    async with running(tmp_path / "one", default_workspace="first") as one:
        async with running(tmp_path / "two", ollama_model="other:latest", create_on_write=False) as two:
            await one.post("/insert_custom_kg", json=GRAPH)
            assert (await two.post("/insert_custom_kg", json=GRAPH)).status_code == 404
            assert await names(two) == []
            assert (await two.get("/api/tags")).json()["models"][0]["name"] == "other:latest"
        assert await names(one) == ["first"]
        assert await labels(one) == ["Baby", "Manchester"]


async def test_names_that_disagree_are_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        await client.post(PROJECTS, json={"name": "erp"})
        both: list[tuple[str, dict[str, str]]] = [
            ("/health", {"LIGHTRAG-WORKSPACE": "erp", "X-Workspace": "crm"}),
            ("/w/erp/health", {"X-Workspace": "crm"}),
            (f"{PROJECTS}/erp", {"LIGHTRAG-WORKSPACE": "crm"}),
            (f"/w/crm{PROJECTS}/erp", {}),
        ]
        for path, headers in both:
            assert (await client.get(path, headers=headers)).status_code == 400
        agreeing = {"LIGHTRAG-WORKSPACE": "erp", "X-Workspace": "erp"}
        assert (await client.get(f"/w/erp{PROJECTS}/erp", headers=agreeing)).status_code == 200


READS: list[tuple[str, str, Any]] = [
    ("GET", "/documents/status_counts", None),
    ("POST", "/documents/paginated", {}),
    ("GET", "/documents/pipeline_status", None),
    ("GET", "/documents/track_status/none", None),
    ("POST", "/query", {"query": "What is there?"}),
    ("POST", "/query/data", {"query": "What is there?"}),
    ("POST", "/query/stream", {"query": "What is there?"}),
    ("GET", "/graph/label/list", None),
    ("GET", "/graph/label/popular", None),
    ("GET", "/graph/label/search?q=a", None),
    ("GET", "/graphs?label=*", None),
    ("GET", "/graph/entity/exists?name=a", None),
    (
        "POST",
        "/api/chat",
        {
            "model": "lightrag:latest",
            "messages": [{"role": "user", "content": "Who is it?"}],
            "stream": False,
        },
    ),
    ("DELETE", "/documents/delete_document", {"doc_ids": ["a"]}),
    ("GET", "/health", None),
    ("GET", f"{PROJECTS}/unknown/health", None),
]


async def test_reading_an_unknown_workspace_finds_nothing_and_makes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        for method, path, body in READS:
            headers = {} if "unknown" in path else {"X-Workspace": "unknown"}
            answer = await client.request(method, path, json=body, headers=headers)
            assert answer.status_code == 200, (path, answer.text)
        assert await names(client) == []


async def test_of_an_unknown_project_there_is_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        for path in ("", "/documents", "/graph/labels", "/events", "/export"):
            answer = await client.get(f"{PROJECTS}/unknown{path}")
            assert answer.status_code == 404
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == 404
            assert answer.json()["request_id"] == answer.headers["x-request-id"]
        health = (await client.get(f"{PROJECTS}/unknown/health")).json()
        assert (health["workspace"], health["exists"]) == ("unknown", False)


async def test_everything_is_reached_below_a_workspaces_own_path(tmp_path: Path) -> None:
    async with running(tmp_path, api_prefix="/rag") as client:
        inserted = await client.post(
            "/w/erp/documents/text", json={"text": "Ada wrote notes.", "file_source": "ada.txt"}
        )
        assert inserted.status_code == 200, inserted.text
        await settled(client, inserted.json()["track_id"], {"X-Workspace": "erp"})
        assert await names(client) == ["erp"]
        for prefix in ("/w/erp", "/rag/w/erp"):
            tags = await client.get(f"{prefix}/api/tags")
            assert "erp:local" in [model["name"] for model in tags.json()["models"]]
            counts = (await client.get(f"{prefix}/documents/status_counts")).json()["status_counts"]
            assert counts["processed"] == 1
            assert (await client.get(f"{prefix}{PROJECTS}/erp")).json()["name"] == "erp"
