"""/api/v1: settings, budgets, costs, what is enabled, re-embedded, upgraded and proposed; and who may do it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from server.serving import running, settled
from stateless_rag.server import ApiKey
from stateless_rag.types import Status

if TYPE_CHECKING:
    import httpx2

PROJECT = "/api/v1/projects/erp"
KEYS = tuple(
    ApiKey(key=f"key-{access}", name=access, workspaces=("erp",), access=access)
    for access in ("read", "write", "admin")
)
DOCUMENTS = {
    "documents": [{"text": f"Ada Lovelace met Charles Babbage in Room {n}.", "id": f"d{n}"} for n in range(3)]
}
PRICES = {"*": {"input": 1.0, "output": 1.0}}


def last(answer: httpx2.Response) -> tuple[str, Any]:
    """The last event of a stream, and what it says."""
    name, told = answer.text.rstrip().split("\n\n")[-1].split("\n", 1)
    return name.removeprefix("event: "), json.loads(told.removeprefix("data: "))


async def ingested(client: httpx2.AsyncClient) -> None:
    answer = await client.post(f"{PROJECT}/documents", json=DOCUMENTS)
    await settled(client, answer.json()["tracking_id"], {"X-Workspace": "erp"})


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx2.AsyncClient]:
    """A server with a key for each access."""
    async with running(tmp_path_factory.mktemp("guarded"), keys=KEYS) as client:
        yield client


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("access", "method", "path", "body"),
    [
        ("read", "GET", "/settings", None),
        ("admin", "PATCH", "/settings", {"extraction": {"language": "German"}}),
        ("read", "GET", "/budget", None),
        ("admin", "PUT", "/budget", {"tokens": 5}),
        ("admin", "DELETE", "/budget", None),
        ("read", "GET", "/costs/rows?by=day", None),
        ("write", "POST", "/estimate", DOCUMENTS),
        ("write", "POST", "/disable", {"ids": ["d0"]}),
        ("write", "POST", "/enable", {"ids": ["d0"]}),
        ("read", "POST", "/check", None),
        ("admin", "POST", "/upgrade", {"where": {}}),
        ("admin", "POST", "/reembed", {"embedder": "hashing"}),
        ("admin", "POST", "/delete", {"ids": ["d0"], "erase": True}),
        ("write", "POST", "/delete", {"ids": ["d0"]}),
        ("write", "POST", "/graph/duplicates", {}),
    ],
)
async def test_who_may(guarded: httpx2.AsyncClient, access: str, method: str, path: str, body: Any) -> None:
    ranks = ("read", "write", "admin")
    admin = {"X-API-Key": "key-admin"}
    made = await guarded.post("/api/v1/projects", json={"name": "erp"}, headers=admin)
    assert made.status_code == 201
    for who in ("none", *ranks):
        answer = await guarded.request(
            method, f"{PROJECT}{path}", json=body, headers={"X-API-Key": f"key-{who}"}
        )
        if who == "none":
            assert answer.status_code == 401, answer.text
        elif ranks.index(who) < ranks.index(access):
            assert answer.status_code == 403, (who, answer.text)
        else:
            assert answer.status_code in (200, 204), (who, answer.text)
    assert (await guarded.delete(PROJECT, headers=admin)).status_code in (200, 204)


async def test_a_budget_pauses_and_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        await client.post("/api/v1/projects", json={"name": "erp"})
        assert (await client.get(f"{PROJECT}/budget")).json() == {"status": None}
        for wrong in ({}, {"tokens": -1}, {"money": 1.0}, {"tokens": 1, "period": "week"}, {"coins": 3}):
            assert (await client.put(f"{PROJECT}/budget", json=wrong)).status_code == 422, wrong
        told = (await client.put(f"{PROJECT}/budget", json={"tokens": 1, "period": "day"})).json()["status"]
        assert (told["tokens"], told["exhausted"], told["budget"]["period"]) == (0, False, "day")

        tracking_id = (await client.post(f"{PROJECT}/documents", json=DOCUMENTS)).json()["tracking_id"]
        ingestion = client.app.state.service.ingestion  # type: ignore[attr-defined]
        await ingestion.idle("erp")
        page = (await client.get(f"{PROJECT}/documents?tracking_id={tracking_id}")).json()
        assert {each["status"] for each in page["documents"]} == {"pending"}
        question = {"question": "Who met Ada?", "options": {"mode": "bypass"}}
        refused = await client.post(f"{PROJECT}/query", json=question)
        assert (refused.status_code, refused.json()["error"]) == (402, "BudgetExhausted")
        assert (
            0 < int(refused.headers["Retry-After"]) <= 86_400 and "for this day" in refused.json()["detail"]
        )

        status = (await client.put(f"{PROJECT}/budget", json={"money": 1.0, "prices": PRICES})).json()[
            "status"
        ]
        assert 0 < status["money"] < 1.0 and status["renewed_at"] is None
        await settled(client, tracking_id, {"X-Workspace": "erp"})
        page = (await client.get(f"{PROJECT}/documents?tracking_id={tracking_id}")).json()
        assert {each["status"] for each in page["documents"]} == {"processed"}
        own = {"question": "Who met Ada?", "budget": {"tokens": 0}}
        assert (await client.post(f"{PROJECT}/query", json=own)).status_code == 402
        assert (await client.delete(f"{PROJECT}/budget")).json() == {"status": None}


async def test_what_waits_for_a_budget_is_looked_at_again(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("stateless_rag.server.ingestion._PAUSED", 0.05)
    async with running(tmp_path) as client:
        await client.put("/api/v1/projects/erp/budget", json={"tokens": 0})
        await client.post("/api/v1/projects", json={"name": "erp"})
        await client.put(f"{PROJECT}/budget", json={"tokens": 0})
        tracking_id = (await client.post(f"{PROJECT}/documents", json=DOCUMENTS)).json()["tracking_id"]
        service = client.app.state.service  # type: ignore[attr-defined]
        await service.ingestion.idle("erp")
        async with service.leases.lease("erp") as engine:  # not by the route, which starts at once
            assert {row.status for row in (await engine.list_documents()).documents} == {Status.PENDING}
            await engine.set_budget(None)
        taken = await settled(client, tracking_id, {"X-Workspace": "erp"})
        assert [row["status"] for row in taken] == ["processed"] * len(DOCUMENTS["documents"])


async def test_settings_costs_and_checks(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        await ingested(client)
        changed = await client.patch(f"{PROJECT}/settings", json={"extraction": {"language": "German"}})
        assert changed.json()["extraction"]["language"] == "German"
        assert (await client.get(f"{PROJECT}/settings")).json() == changed.json()
        wrong = await client.patch(f"{PROJECT}/settings", json={"extraction": {"language": 5}})
        assert wrong.status_code == 400 and "language" in wrong.json()["detail"]
        params = {"by": ["model", "purpose"], "prices": json.dumps(PRICES)}
        rows = (await client.get(f"{PROJECT}/costs/rows", params=params)).json()
        assert {row["purpose"] for row in rows} >= {"extract"} and all(
            row["money"] is not None for row in rows
        )
        told = (await client.post(f"{PROJECT}/estimate", json=DOCUMENTS)).json()
        assert (told["documents"], told["unchanged"]) == (3, 3)
        assert (await client.post(f"{PROJECT}/check?deep=true")).json()["faults"] == []


async def test_documents_are_disabled_upgraded_and_erased(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        await ingested(client)
        assert (await client.post(f"{PROJECT}/disable", json={"ids": ["d0"]})).json()["changed"] == ["d0"]
        (row,) = (await client.get(f"{PROJECT}/documents?ids=d0")).json()["documents"][:1]
        assert row["enabled"] is False
        assert (await client.post(f"{PROJECT}/enable", json={"ids": ["d0"]})).json()["changed"] == ["d0"]
        await client.patch(f"{PROJECT}/settings", json={"extraction": {"language": "German"}})
        kind, report = last(await client.post(f"{PROJECT}/upgrade", json={"where": {}}))
        assert kind == "report" and len(report["documents"]) == 3
        kind, error = last(await client.post(f"{PROJECT}/upgrade", json={"ids": ["nobody"]}))
        assert (kind, error["status"]) == ("error", 400)
        erased = (await client.post(f"{PROJECT}/delete", json={"ids": ["d0"], "erase": True})).json()
        assert erased["deleted"] == ["d0"] and erased["erased"]["compacted"] is not None


async def test_duplicates_are_proposed_applied_and_rejected(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        await ingested(client)
        for name in ("A. Lovelace", "C. Babbage"):
            await client.post(f"{PROJECT}/graph/entity", json={"name": name})
        proposed = (await client.post(f"{PROJECT}/graph/duplicates", json={"least": 0.5})).json()
        pairs = [{"source": each["source"], "target": each["target"]} for each in proposed]
        assert len(pairs) >= 2
        for path, pair in (("apply", pairs[0]), ("reject", pairs[1])):
            answer = await client.post(f"{PROJECT}/graph/duplicates/{path}", json=pair)
            assert answer.status_code == 200, answer.text
        again = (await client.post(f"{PROJECT}/graph/duplicates", json={"least": 0.5})).json()
        assert not [
            each for each in again if {"source": each["source"], "target": each["target"]} in pairs[:2]
        ]


async def test_a_workspace_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        asked = [
            client.get(f"{PROJECT}/budget"),
            client.put(f"{PROJECT}/budget", json={"tokens": 1}),
            client.patch(f"{PROJECT}/settings", json={}),
            client.post(f"{PROJECT}/reembed", json={"embedder": "hashing"}),
            client.post(f"{PROJECT}/disable", json={"ids": ["x"]}),
        ]
        assert [answer.status_code for answer in await asyncio.gather(*asked)] == [404] * 5
        assert (await client.get("/api/v1/projects")).json()["total"] == 0
