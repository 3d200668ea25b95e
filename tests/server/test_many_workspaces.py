"""Many workspaces under a random load, with few that may be open: nothing is lost, nothing is seen elsewhere."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import TYPE_CHECKING

from server.serving import running

if TYPE_CHECKING:
    import httpx2
    import pytest

PROJECTS = "/api/v1/projects"


async def test_a_random_load_on_more_workspaces_than_may_be_open(tmp_path: Path) -> None:
    chance = random.Random(7)
    names = [f"w{number}" for number in range(24)]
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

    async with running(tmp_path, llm=False, max_open=4, max_idle=0.05, max_wait=600) as client:
        service = client.app.state.service  # type: ignore[attr-defined]
        work = [(insert, name, number) for name in names for number in range(3)]
        chance.shuffle(work)
        looks = [look(client, chance.choice(names)) for _ in range(60)]
        await asyncio.gather(*(insert(client, name, number) for _, name, number in work), *looks)
        assert len(service.leases.pool.opened) <= 4
        for name in names:
            await service.ingestion.idle(name)
            page = (await client.get(f"{PROJECTS}/{name}/documents")).json()
            assert page["counts"] == {"processed": 3}
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
