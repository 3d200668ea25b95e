"""Many workspaces under a random load, with few that may be open: nothing is lost, nothing is seen elsewhere."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import TYPE_CHECKING

from server.serving import running

if TYPE_CHECKING:
    import httpx2

PROJECTS = "/api/v1/projects"


async def test_a_random_load_on_more_workspaces_than_may_be_open(tmp_path: Path) -> None:
    chance = random.Random(7)
    names = [f"w{number}" for number in range(24)]
    held: dict[str, dict[str, str]] = {name: {} for name in names}

    async def insert(client: httpx2.AsyncClient, name: str, number: int) -> None:
        text = f"Engine {number} of {name} was built in Manchester."
        body = {"documents": [{"text": text, "id": f"d{number}"}]}
        assert (await _tried(client, "POST", f"{PROJECTS}/{name}/documents", body)).status_code == 202
        held[name][f"d{number}"] = text

    async def look(client: httpx2.AsyncClient, name: str) -> None:
        body = {"query": "Which engine was built?", "mode": "naive", "only_need_context": True}
        answer = await _tried(client, "POST", f"/w/{name}/query", body)
        assert answer.status_code == 200
        others = [
            other for other in names if f"of {other} was" in answer.json()["response"] and other != name
        ]
        assert others == []

    async with running(tmp_path, llm=False, max_open=4, max_idle=0.05) as client:
        service = client.app.state.service  # type: ignore[attr-defined]
        work = [(insert, name, number) for name in names for number in range(3)]
        chance.shuffle(work)
        looks = [look(client, chance.choice(names)) for _ in range(60)]
        await asyncio.gather(*(insert(client, name, number) for _, name, number in work), *looks)
        assert len(service.leases.pool.opened) <= 4
        for name in names:
            await service.ingestion.idle(name)
            page = (await _tried(client, "GET", f"{PROJECTS}/{name}/documents")).json()
            assert page["counts"] == {"processed": 3}
            for id_, text in held[name].items():
                shown = await _tried(client, "GET", f"{PROJECTS}/{name}/documents/{id_}?contents=true")
                assert shown.json()["text"] == text
            labels = (await _tried(client, "GET", f"/w/{name}/graph/label/list")).json()
            assert not any(other in label for label in labels for other in names if other != name)


async def _tried(client: httpx2.AsyncClient, method: str, path: str, body: object = None) -> httpx2.Response:
    """The answer, asked for again as long as all workspaces that may be open are in use."""
    async with asyncio.timeout(60):
        while True:
            answer = await client.request(method, path, json=body)
            if answer.status_code != 503:
                return answer
            assert int(answer.headers["retry-after"]) > 0
            await asyncio.sleep(0.02)
