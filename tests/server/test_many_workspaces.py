"""Many workspaces under a random load, with few that may be open: nothing is lost, nothing is seen elsewhere."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from server.serving import running

if TYPE_CHECKING:
    import httpx2

PROJECTS = "/api/v1/projects"


async def test_a_random_load_on_more_workspaces_than_may_be_open(tmp_path: Path) -> None:
    chance = random.Random(7)
    names = [f"w{number}" for number in range(12)]
    held: dict[str, dict[str, str]] = {name: {} for name in names}

    async def insert(client: httpx2.AsyncClient, name: str, number: int) -> None:
        text = f"Engine {number} of {name} was built in Manchester."
        body = {"documents": [{"text": text, "id": f"d{number}"}]}
        assert (await client.post(f"{PROJECTS}/{name}/documents", json=body)).status_code == 202
        held[name][f"d{number}"] = text

    async def look(client: httpx2.AsyncClient, name: str) -> None:
        body = {"query": "Which engine was built?", "mode": "naive", "only_need_context": True}
        answer = await client.post(f"/w/{name}/query", json=body)
        assert answer.status_code == 200
        others = [
            other for other in names if f"of {other} was" in answer.json()["response"] and other != name
        ]
        assert others == []

    async with running(tmp_path, llm=False, max_open=3, max_idle=0.05, max_wait=600) as client:
        service = client.app.state.service  # type: ignore[attr-defined]
        work = [(insert, name, number) for name in names for number in range(2)]
        chance.shuffle(work)
        looks = [look(client, chance.choice(names)) for _ in range(30)]
        await asyncio.gather(*(insert(client, name, number) for _, name, number in work), *looks)
        assert len(service.leases.pool.opened) <= 3
        for name in names:
            await service.ingestion.idle(name)
            page = (await client.get(f"{PROJECTS}/{name}/documents")).json()
            assert page["counts"] == {"processed": 2}
            for id_, text in held[name].items():
                shown = await client.get(f"{PROJECTS}/{name}/documents/{id_}?contents=true")
                assert shown.json()["text"] == text
            labels = (await client.get(f"/w/{name}/graph/label/list")).json()
            assert not any(other in label for label in labels for other in names if other != name)


async def test_who_waited_for_room_in_vain_is_told_when_to_come_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path, llm=False, max_open=1, max_wait=0.05) as client:
        leases = client.app.state.service.leases  # type: ignore[attr-defined]
        async with leases.lease("held", create=True):
            answer = await client.get("/w/default/documents/status_counts")
            assert answer.status_code == 200  # what is not there is not opened
            await leases.store.create("other")
            answer = await client.post(
                f"{PROJECTS}/other/query", json={"question": "Which engine was built?", "only_context": True}
            )
            assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1
            assert "max_open" in answer.json()["detail"]
        (told,) = [record for record in caplog.records if "Overloaded" in record.getMessage()]
        assert told.levelname == "WARNING"
        answer = await client.get(f"{PROJECTS}/other/documents")
        assert answer.status_code == 200


@dataclass
class Tenant:
    """Who works on one workspace, and the model of it: the documents that must be there, by id."""

    client: httpx2.AsyncClient
    name: str
    chance: random.Random
    held: dict[str, str] = field(default_factory=dict)
    made: int = 0

    async def live(self, steps: int) -> None:
        """Change and ask at random. What was accepted is in the model, whether or not it is taken in yet."""
        for _ in range(steps):
            await self.chance.choices((self.insert, self.replace, self.delete, self.ask), (4, 2, 2, 3))[0]()

    async def insert(self) -> None:
        self.made += 1
        await self.put(f"d{self.made}", f"Engine{self.made}")

    async def replace(self) -> None:
        if self.held:
            self.made += 1
            await self.put(self.chance.choice(sorted(self.held)), f"Engine{self.made}")

    async def put(self, id_: str, engine: str) -> None:
        text = f"The {engine} of {self.name} was built in Manchester."
        body = {"documents": [{"text": text, "id": id_}]}
        assert (await self.client.post(f"{PROJECTS}/{self.name}/documents", json=body)).status_code == 202
        self.held[id_] = text

    async def delete(self) -> None:
        if self.held:
            id_ = self.chance.choice(sorted(self.held))
            answer = await self.client.delete(f"{PROJECTS}/{self.name}/documents/{id_}")
            assert (answer.status_code, answer.json()["deleted"]) == (200, [id_])
            del self.held[id_]

    async def ask(self) -> None:
        body = {"question": f"Which engine of {self.name} was built?", "options": {"mode": "mix"}}
        answer = await self.client.post(f"{PROJECTS}/{self.name}/retrieve", json=body)
        assert answer.status_code == (200 if self.made else 404)
        strange = [
            p["text"] for p in answer.json().get("passages", ()) if f"of {self.name} " not in p["text"]
        ]
        assert strange == []

    async def agrees(self) -> None:
        """The workspace is what the model says, in the store, in the graph, and for who asks."""
        page = (await self.client.get(f"{PROJECTS}/{self.name}/documents?limit=100")).json()
        assert page["counts"] == ({"processed": len(self.held)} if self.held else {})
        assert {each["id"] for each in page["documents"]} == set(self.held)
        for id_, text in self.held.items():
            shown = await self.client.get(f"{PROJECTS}/{self.name}/documents/{id_}?contents=true")
            assert shown.json()["text"] == text
        labels = (await self.client.get(f"/w/{self.name}/graph/label/list")).json()
        engines = {text.split()[1] for text in self.held.values()}
        assert {label for label in labels if label.startswith("Engine")} == engines
        if self.made:
            await self.ask()


@pytest.mark.parametrize(
    ("workspaces", "steps", "most_open"),
    [
        pytest.param(8, 4, 3, id="few"),
        pytest.param(200, 20, 8, id="two hundred", marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
    ],
)
async def test_random_changes_in_many_workspaces_agree_with_a_model(
    tmp_path: Path, workspaces: int, steps: int, most_open: int
) -> None:
    settings: dict[str, Any] = {
        "max_open": most_open,
        "max_idle": 0.05,
        "max_wait": 3600,
        "create_on_write": True,
    }
    async with running(tmp_path, llm=False, **settings) as client:
        service = client.app.state.service  # type: ignore[attr-defined]
        tenants = [Tenant(client, f"w{number:03}", random.Random(number)) for number in range(workspaces)]
        for tenant in tenants:
            await tenant.insert()
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, len(service.leases.pool.opened))
                await asyncio.sleep(0.01)

        watching = asyncio.create_task(watch())
        await asyncio.gather(*(tenant.live(steps) for tenant in tenants))
        for tenant in tenants:
            await service.ingestion.idle(tenant.name)
            await tenant.agrees()
        watching.cancel()
        assert 0 < most <= most_open
        assert all(each.leases == 0 for each in service.leases.pool.usage())
    async with running(tmp_path, llm=False, **settings) as client:  # and in the next process
        for tenant in tenants:
            tenant.client = client
            await tenant.agrees()
