"""kill -9 at random moments of an ingest: no commit is lost, and nothing that was durable is paid again."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Literal

import pytest

from stateless_rag.embedding import vector_digest
from stateless_rag.engine import Engine
from stateless_rag.protocols import Embeddings
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM, FakeOpenAIServer
from stateless_rag.testing.dump import dump

SCRIPT = Path(__file__).parent / "children" / "ingest.py"


def _script() -> Any:
    spec = spec_from_file_location("child_ingest", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class SeenEmbedder(DeterministicEmbedder):
    """Keeps which texts were embedded, in which order."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
        self.seen += texts
        return await super().embed(texts, role=role)


class Bench:
    """A server, and what an undisturbed run makes with it."""

    def __init__(self, server: FakeOpenAIServer, embedder: SeenEmbedder) -> None:
        self.server, self.embedder = server, embedder
        self.child = _script()
        self.whole: dict[str, Any] = {}
        self.seconds = 0.0

    async def finish(self, root: Path) -> dict[str, Any]:
        options = self.child.engine_options(self.server.base_url)
        try:
            async with Engine.open(root, **options) as engine:
                await engine.resume()
                started = time.monotonic()
                await self.child.ingest(engine)
                self.seconds = self.seconds or time.monotonic() - started
                assert (await engine.resume()).documents == ()
                return await dump(engine)
        finally:
            await options["llm"].close()
            await options["embedder"].close()

    async def quiet(self) -> None:
        """Wait until requests that were on their way have arrived, and have been answered."""
        before = None
        while before != (now := (len(self.server.log), len(self.embedder.seen))) or any(
            record.finished is None for record in self.server.log
        ):
            before = now
            await asyncio.sleep(0.3)

    def kill_after(self, root: Path, seconds: float) -> list[str]:
        """Run the child, kill it so many seconds after it has opened the store; returns what it said."""
        command = [sys.executable, str(SCRIPT), str(root), self.server.base_url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "open -"
            timer = threading.Timer(seconds, process.kill)
            timer.start()
            said = process.stdout.read().splitlines()
            timer.cancel()
            timer.join()
        return said


@pytest.fixture
def bench() -> Iterator[Bench]:
    embedder = SeenEmbedder()
    server = FakeOpenAIServer(DeterministicLLM(), embedder, latency=0.01)
    with server.in_thread():
        yield Bench(server, embedder)


async def survives(bench: Bench, root: Path, seed: int) -> bool:
    """Kill, go on, compare; tells whether the child was killed in its work."""
    calls_before, texts_before = len(bench.server.log), len(bench.embedder.seen)
    moment = random.Random(seed).uniform(0.0, bench.seconds)
    said = bench.kill_after(root, moment)
    await bench.quiet()
    calls_killed, texts_killed = len(bench.server.log), len(bench.embedder.seen)
    assert await bench.finish(root) == bench.whole, f"seed {seed}"

    model = bench.child.engine_options(bench.server.base_url)["embedder"].model
    chats = [record for record in bench.server.log if record.path.endswith("/chat/completions")]
    first = Counter(r.digest for r in chats if calls_before < r.number <= calls_killed)
    again = Counter(r.digest for r in chats if r.number > calls_killed)
    embedded = Counter(vector_digest(model, text) for text in bench.embedder.seen[texts_before:texts_killed])
    embedded_again = Counter(vector_digest(model, text) for text in bench.embedder.seen[texts_killed:])
    paid_calls = {line.split()[1] for line in said if line.startswith("call ")}
    paid_vectors = {line.split()[1] for line in said if line.startswith("vector ")}
    assert paid_calls <= first.keys() and paid_vectors <= embedded.keys()
    for counts in (first, again, embedded, embedded_again):
        assert not counts or max(counts.values()) == 1, f"seed {seed}: the same was asked twice in one run"
    assert not paid_calls & again.keys(), f"seed {seed}: a durable call was paid again"
    assert not paid_vectors & embedded_again.keys(), f"seed {seed}: a durable vector was paid again"
    return "done -" not in said


async def killed(bench: Bench, folder: Path, seeds: range, enough: int) -> int:
    """How often the child was killed in its work; a child that was done before does not count."""
    count = 0
    for seed in seeds:
        if count < enough:
            count += await survives(bench, folder / str(seed), seed)
    return count


async def test_an_ingest_survives_being_killed(bench: Bench, tmp_path: Path) -> None:
    bench.whole = await bench.finish(tmp_path / "whole")
    assert len(bench.whole["documents"]) == 22
    assert await killed(bench, tmp_path, range(6), 3) == 3


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_an_ingest_survives_being_killed_at_many_moments(bench: Bench, tmp_path: Path) -> None:
    bench.whole = await bench.finish(tmp_path / "whole")
    assert await killed(bench, tmp_path, range(100, 180), 30) == 30
