"""Replies that once stopped a whole insert."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stateless_rag import CallSettings, Document, Engine, MergeSettings, Settings, Status
from stateless_rag.protocols import LLMReply, LLMRequest, StreamPart
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM

HALF_A_PAIR = "Zo\ud83d"
SETTINGS = Settings(
    calls=CallSettings(attempts=2, backoff=0.001, max_backoff=0.002), merging=MergeSettings(summarize_from=2)
)


class Damaged:
    """Damages the replies to one purpose, in prompts that contain `where`."""

    model = "damaged"

    def __init__(self, purpose: str, where: str, reply: Any) -> None:
        self._inner = DeterministicLLM()
        self._purpose, self._where, self._reply = purpose, where, reply
        self.damaged = 0

    async def complete(self, request: LLMRequest) -> LLMReply:
        told = "".join([*(turn.content for turn in request.history), request.prompt])
        if request.purpose != self._purpose or self._where not in told:
            return await self._inner.complete(request)
        self.damaged += 1
        reply: LLMReply = self._reply
        return reply

    def stream(self, request: LLMRequest) -> AsyncIterator[StreamPart]:
        return self._inner.stream(request)


def documents() -> list[Document]:
    return [Document(f"Alice{n} met Bob in Rome.", id=f"d{n}") for n in range(12)]


@pytest.mark.parametrize(
    ("purpose", "where", "text", "shown"),
    [
        (
            "extract",
            "Alice3",
            f"entity<|#|>{HALF_A_PAIR}<|#|>Person<|#|>{HALF_A_PAIR} \x00 spoke.\n<|COMPLETE|>",
            "Zo\ufffd",
        ),
        (
            "glean",
            "Alice3",
            f"entity<|#|>{HALF_A_PAIR}<|#|>Person<|#|>{HALF_A_PAIR} \x00 spoke.\n<|COMPLETE|>",
            "Zo\ufffd",
        ),
        ("summarize", "", f"{HALF_A_PAIR} \x00 is told of.", "Bob"),
    ],
)
async def test_a_reply_with_half_a_character_is_cleaned_and_kept(
    tmp_path: Path, purpose: str, where: str, text: str, shown: str
) -> None:
    llm = Damaged(purpose, where, LLMReply(text=text))
    async with Engine.open(tmp_path, llm=llm, embedder=DeterministicEmbedder(), settings=SETTINGS) as engine:
        report = await engine.insert(documents())
        assert report.counts == {Status.PROCESSED: 12}
        assert llm.damaged
        entity = await engine.entity(shown)
        assert entity is not None
        assert "\ufffd" in entity.description
        if purpose != "summarize":  # other batches need other summaries
            await engine.delete("d3")
            await engine.insert(documents())
            assert llm.damaged == 1


@pytest.mark.parametrize("reply", [LLMReply(text=None), LLMReply(text=b"x"), "text", None])  # type: ignore[arg-type]
async def test_a_reply_that_is_no_text_fails_its_document_only(tmp_path: Path, reply: Any) -> None:
    llm = Damaged("extract", "Alice3", reply)
    async with Engine.open(tmp_path, llm=llm, embedder=DeterministicEmbedder(), settings=SETTINGS) as engine:
        report = await engine.insert(documents())
        assert report.counts == {Status.PROCESSED: 11, Status.FAILED: 1}
        assert "InvalidReply" in report.failed[0].errors[0].error
