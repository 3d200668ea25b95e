"""The fake OpenAI-compatible server in a process of its own: `python -m bench.server LATENCY`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.providers import DIMENSION, RuledLLM
from stateless_rag.testing.deterministic import DeterministicEmbedder
from stateless_rag.testing.server import FakeOpenAIServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["serving"]


@contextmanager
def serving(latency: float, environment: Mapping[str, str]) -> Iterator[str]:
    """Run the server until the block ends; gives its base URL."""
    command = [sys.executable, "-m", "bench.server", str(latency)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(environment), text=True
    ) as server:
        assert server.stdout is not None and server.stdin is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.stdin.close()  # which it takes for the end


async def _serve(latency: float) -> None:
    server = FakeOpenAIServer(RuledLLM(latency), DeterministicEmbedder(DIMENSION))
    async with server:
        print(server.base_url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1])))
