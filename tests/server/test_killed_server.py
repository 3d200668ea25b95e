"""kill -9 of a server while documents come into many workspaces: what it accepted is there at the end."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

PROJECTS = "/api/v1/projects"
PATIENCE = 300  # seconds: what is waited for comes, however slow the machine is


@asynccontextmanager
async def process(folder: Path, end: signal.Signals) -> AsyncGenerator[httpx2.AsyncClient]:
    """A client of a server in a process of its own, which the signal ends."""
    log = folder / "server.log"
    with log.open("wb") as stderr:
        server = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "stateless_rag", "serve", "--offline", "--port", "0", "--root", "root"),
            stderr=stderr, cwd=folder, env={"STATELESS_RAG_SERVER_GRACE": "0", "PATH": os.environ["PATH"]},
        )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE):
            while not (address := listening(log)):
                assert server.returncode is None, log.read_text()
                await asyncio.sleep(0.02)
        async with httpx2.AsyncClient(base_url=address, timeout=PATIENCE) as client:
            try:
                yield client
            finally:
                server.send_signal(end)
                await server.wait()
    finally:
        if server.returncode is None:
            server.kill()
            await server.wait()
    assert "Traceback" not in log.read_text()


def listening(log: Path) -> str:
    """The address that the log tells; empty before it does."""
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    told = [json.loads(line)["message"] for line in lines]
    return next((message.split()[3] for message in told if "running on" in message), "")


def text_of(name: str, number: int) -> str:
    return f"Engine {number} of {name} was built in Manchester. " * 20


async def accept(
    client: httpx2.AsyncClient, name: str, numbers: range, accepted: dict[str, set[int]]
) -> None:
    """Documents one request after the other, until the server is no more."""
    for number in numbers:
        body = {"documents": [{"text": text_of(name, number), "id": str(number)}]}
        try:
            answer = await client.post(f"{PROJECTS}/{name}/documents", json=body)
        except httpx2.TransportError:
            return
        assert answer.status_code == 202
        accepted[name].add(number)


async def agrees(client: httpx2.AsyncClient, name: str, numbers: set[int], sent: range) -> None:
    """All that was accepted is processed; of what was sent and not answered, whole documents at most."""
    async with asyncio.timeout(PATIENCE):
        while True:
            page = (await client.get(f"{PROJECTS}/{name}/documents?limit=1000")).json()
            if set(page["counts"]) <= {"processed"}:
                break
            assert "failed" not in page["counts"], page
            await asyncio.sleep(0.05)
    there = {int(each["id"]) for each in page["documents"]}
    assert numbers <= there <= set(sent)
    for number in there:
        shown = (await client.get(f"{PROJECTS}/{name}/documents/{number}?contents=true")).json()
        assert shown["text"] == text_of(name, number)
        assert {passage["document_id"] for passage in shown["contents"]["chunks"]} <= {str(number)}


@pytest.mark.parametrize(
    ("kills", "workspaces"),
    [
        pytest.param(1, 3, id="once"),
        pytest.param(20, 10, id="often", marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
    ],
)
async def test_what_was_accepted_before_kills_is_there_at_the_end(
    tmp_path: Path, kills: int, workspaces: int
) -> None:
    chance, each = random.Random(kills), 40
    accepted: dict[str, set[int]] = {f"w{number}": set() for number in range(workspaces)}
    for kill in range(kills):
        async with process(tmp_path, signal.SIGKILL) as client:
            sent = range(kill * each, (kill + 1) * each)
            coming = [asyncio.create_task(accept(client, name, sent, accepted)) for name in accepted]
            least = sum(map(len, accepted.values())) + chance.randrange(1, each * workspaces // 2)
            while sum(map(len, accepted.values())) < least:
                await asyncio.sleep(0.01)
                for task in coming:
                    if task.done():
                        task.result()
        await asyncio.gather(*coming)
    async with process(tmp_path, signal.SIGTERM) as client:
        for name, numbers in accepted.items():
            await agrees(client, name, numbers, range(kills * each))
