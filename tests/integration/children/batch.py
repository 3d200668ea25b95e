"""Forks processes that submit and collect batches, each killed by itself (kill -9) after one step more than the last.

    python batch.py FOLDER URL GLEANING

The n-th child works in FOLDER/n and dies at its n-th step. Prints, for each, how it ended, until one gets to its end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import httpx2

from stateless_rag import Document, Engine, ExtractSettings, OpenAILLM, Settings
from stateless_rag.stores.duckdb.batches import DuckBatches
from stateless_rag.stores.duckdb.journal import DuckJournal
from stateless_rag.testing import DeterministicEmbedder

TEXTS = (
    "Ada Lovelace wrote notes on the Analytical Engine in London.",
    "Grace Hopper wrote the first compiler in Philadelphia.",
)


class Steps:
    """Counts steps, and ends the process at one of them."""

    def __init__(self, last: int) -> None:
        self._left = last

    def step(self) -> None:
        self._left -= 1
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)

    async def answered(self, _: httpx2.Response) -> None:
        """The server has done what it was asked, and nobody here knows."""
        self.step()

    def watch(self, kind: type[Any], name: str) -> None:
        """A step after each write; before it all is as after the step before."""
        method = getattr(kind, name)

        async def watched(*arguments: Any, **named: Any) -> Any:
            found = await method(*arguments, **named)
            self.step()
            return found

        setattr(kind, name, watched)


class Words:
    """A tokenizer that is there at once."""

    name = "words"

    def count(self, text: str) -> int:
        return len(text.split())

    def offsets(self, text: str) -> list[int]:
        return [n for n in range(len(text)) if n == 0 or text[n - 1] == " "]


def options(url: str, gleaning: int, steps: Steps | None = None) -> dict[str, Any]:
    """What engines are opened with, here and by the test."""

    def client() -> httpx2.AsyncClient:
        hooks = {} if steps is None else {"response": [steps.answered]}
        return httpx2.AsyncClient(timeout=None, trust_env=False, event_hooks=hooks)

    return {
        "llm": OpenAILLM("gpt-x", api_key="k", base_url=url, http_client_factory=client),
        "embedder": DeterministicEmbedder(8),
        "tokenizer": Words(),
        "settings": Settings(extraction=ExtractSettings(gleaning=gleaning)),
    }


async def work(engine: Engine) -> None:
    """Everything that can be handed over."""
    await engine.submit([Document(text, id=f"d{n}") for n, text in enumerate(TEXTS)])
    while await engine.submit_batch():
        await engine.collect_batches(wait=True, poll=0.001)


async def run(root: Path, url: str, gleaning: int, steps: Steps) -> None:
    async with Engine.open(root, **options(url, gleaning, steps)) as engine:
        for name in ("add", "change", "remove", "charge"):
            steps.watch(DuckBatches, name)
        steps.watch(DuckJournal, "put")
        await work(engine)


def main(folder: Path, url: str, gleaning: int) -> None:
    last = 1
    while True:
        process = os.fork()
        if not process:
            asyncio.run(run(folder / str(last), url, gleaning, Steps(last)))
            os._exit(0)
        _, status = os.waitpid(process, 0)
        ended = os.waitstatus_to_exitcode(status)
        print(last, ended, flush=True)
        if ended != -signal.SIGKILL:
            return
        last += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
