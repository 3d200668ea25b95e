"""Workspaces that are copied and renamed while documents come in: nothing that was accepted is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.serving import running

if TYPE_CHECKING:
    import httpx2

PROJECTS = "/api/v1/projects"


class Gate:
    """An LLM that answers once it is let to."""

    def __init__(self) -> None:
        self.asked, self.open = asyncio.Event(), asyncio.Event()

    def options(self, _name: str, _embedder: str | None) -> Mapping[str, Any]:
        return {"llm": self._answer}

    async def _answer(self, prompt: str, **_: Any) -> str:
        self.asked.set()
        await self.open.wait()
        return "<|COMPLETE|>"


def one(number: int) -> dict[str, Any]:
    return {"documents": [{"text": f"Ada Lovelace wrote note {number}.", "id": f"d{number}"}]}


async def standing(client: httpx2.AsyncClient, project: str) -> dict[str, str]:
    """The documents of a workspace and their statuses; none where there is no workspace."""
    answer = await client.get(f"{PROJECTS}/{project}/documents?limit=1000")
    return {each["id"]: each["status"] for each in answer.json().get("documents", [])}


async def all_processed(client: httpx2.AsyncClient, project: str, ids: set[str]) -> None:
    async with asyncio.timeout(240):
        while await standing(client, project) != dict.fromkeys(ids, "processed"):  # noqa: ASYNC110 -- over HTTP
            await asyncio.sleep(0.02)


async def test_what_waits_moves_with_its_workspace(tmp_path: Path) -> None:
    gate = Gate()
    async with running(tmp_path, options=gate.options) as client:
        assert (await client.post(f"{PROJECTS}/one/documents", json=one(1))).status_code == 202
        await gate.asked.wait()
        renamed = await client.patch(f"{PROJECTS}/one", json={"name": "two"})
        assert (renamed.status_code, renamed.json().get("name")) == (200, "two")
        assert (await client.get(f"{PROJECTS}/one")).status_code == 404
        copied = await client.post(f"{PROJECTS}/two/copy", json={"name": "three"})
        assert copied.status_code == 201
        gate.open.set()
        for project in ("two", "three"):
            await all_processed(client, project, {"d1"})


async def test_what_comes_in_during_a_rename_is_in_one_of_the_two(tmp_path: Path) -> None:
    gate = Gate()
    gate.open.set()
    async with running(tmp_path, options=gate.options) as client:
        assert (await client.post(PROJECTS, json={"name": "one"})).status_code == 201

        async def posted(number: int) -> int:
            await asyncio.sleep(0.005 * number)
            return (await client.post(f"{PROJECTS}/one/documents", json=one(number))).status_code

        rename = asyncio.create_task(client.patch(f"{PROJECTS}/one", json={"name": "two"}))
        codes = await asyncio.gather(*map(posted, range(40)))
        while (answer := await rename).status_code == 503:  # somebody was using it
            rename = asyncio.create_task(client.patch(f"{PROJECTS}/one", json={"name": "two"}))
        assert answer.status_code == 200
        accepted = {f"d{number}" for number, code in enumerate(codes) if code == 202}
        assert set(await standing(client, "one")) | set(await standing(client, "two")) == accepted


async def test_what_could_not_be_renamed_goes_on(tmp_path: Path) -> None:
    gate = Gate()
    async with running(tmp_path, options=gate.options) as client:
        assert (await client.post(f"{PROJECTS}/one/documents", json=one(1))).status_code == 202
        await gate.asked.wait()
        service = client.app.state.service  # type: ignore[attr-defined]
        async with service.leases.lease("one"):
            refused = await client.patch(f"{PROJECTS}/one", json={"name": "two"})
        assert (refused.status_code, refused.json()["error"]) == (503, "Overloaded")
        assert (await client.get(f"{PROJECTS}/two")).status_code == 404
        gate.open.set()
        await all_processed(client, "one", {"d1"})
