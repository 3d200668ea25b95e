"""What an ingest leaves to others on its event loop, whatever comes back to it at once."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stateless_rag import Document, Engine, Limits, Settings
from stateless_rag.cli.serve import _requests_first
from stateless_rag.context import Context
from stateless_rag.protocols import LLMReply, LLMRequest
from stateless_rag.settings import ExtractSettings
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.types import Chunk, Extraction

STEP = 0.006  # seconds of the processor: more than a round of the loop is meant to take


class Rounds:
    """In which rounds of the loop steps were made that took long."""

    def __init__(self) -> None:
        self.beat = 0
        self.steps = Counter[int]()

    def step(self) -> None:
        """Take long, as decoding a large reply would."""
        end = time.thread_time() + STEP
        while time.thread_time() < end:
            pass
        self.steps[self.beat] += 1

    async def beating(self) -> None:
        while True:
            self.beat += 1
            await asyncio.sleep(0)


class LaboriousLLM(DeterministicLLM):
    def __init__(self, rounds: Rounds) -> None:
        super().__init__()
        self.rounds = rounds

    async def complete(self, request: LLMRequest) -> LLMReply:
        self.rounds.step()
        return await super().complete(request)


class LaboriousExtractor:
    """Never waits for anything."""

    def __init__(self, rounds: Rounds) -> None:
        self.rounds = rounds

    def generation(self, context: Context) -> str:
        return "laborious"

    async def extract(self, context: Context, chunk: Chunk) -> Extraction:
        self.rounds.step()
        return Extraction(chunk_id=chunk.id, generation=self.generation(context))


@pytest.mark.parametrize("by", ["llm", "extractor"])
async def test_steps_that_could_be_made_together_are_spread_over_rounds_of_the_loop(
    tmp_path: Path, by: str
) -> None:
    rounds = Rounds()
    made = LaboriousLLM(rounds) if by == "llm" else LaboriousExtractor(rounds)
    settings = Settings(extraction=ExtractSettings(gleaning=0))
    documents = [Document(f"Ada Lovelace met Charles Babbage in room {n}.", id=str(n)) for n in range(30)]
    options: dict[str, Any] = {by: made, "limits": Limits(llm=30), "settings": settings}
    async with Engine.open(tmp_path, "one", embedder=DeterministicEmbedder(), **options) as engine:
        beating = asyncio.create_task(rounds.beating())
        report = await engine.insert(documents)
        beating.cancel()
    assert not report.failed
    assert sum(rounds.steps.values()) >= 30  # and summaries
    assert max(rounds.steps.values()) == 1, rounds.steps


def test_only_who_owns_the_process_changes_how_threads_take_turns() -> None:
    usual = sys.getswitchinterval()
    gc.unfreeze()
    try:
        with _requests_first():
            assert sys.getswitchinterval() <= 0.001
            gc.freeze()
        assert (sys.getswitchinterval(), gc.get_freeze_count()) == (usual, 0)
    finally:
        gc.freeze()  # as the tests began


async def test_the_library_leaves_the_interpreter_as_it_is(tmp_path: Path) -> None:
    before = sys.getswitchinterval(), gc.get_freeze_count(), gc.get_threshold(), gc.isenabled()
    async with Engine.open(tmp_path, "one") as engine:
        await engine.insert([Document("Ada Lovelace wrote notes.")])
        await engine.query("Who wrote notes?")
        assert (sys.getswitchinterval(), gc.get_freeze_count(), gc.get_threshold(), gc.isenabled()) == before
