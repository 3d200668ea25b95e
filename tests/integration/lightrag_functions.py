"""Functions as scripts for LightRAG have them, with the rules of the deterministic providers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from stateless_rag.interop.lightrag import EmbeddingFunc, LightRAG
from stateless_rag.protocols import LLMRequest
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.types import Message

TEXT = "Ada Lovelace met Charles Babbage in London."
OTHER = "Alan Turing worked in Bletchley Park."
QUESTION = "Who met Charles Babbage?"
DIMENSION = 32


class Functions:
    """An LLM and an embedding function; they note what they are given, and how many calls ran at once."""

    def __init__(self, together: int = 0) -> None:
        """With `together` no call returns before so many have run at once."""
        self.together = together
        self.enough = asyncio.Event()
        self.calls: list[dict[str, Any]] = []
        self.running = 0
        self.most = 0
        self.failing: Exception | None = None

    async def llm(
        self,
        prompt: str,
        system_prompt: str | None = None,
        history_messages: list[dict[str, str]] | None = None,
        stream: bool = False,
        **kwargs: Any,
    ) -> str | AsyncGenerator[str]:
        self.calls.append({"prompt": prompt, "system": system_prompt, "stream": stream, **kwargs})
        self.running += 1
        self.most = max(self.most, self.running)
        if self.running >= self.together:
            self.enough.set()
        try:
            await self.enough.wait() if self.together else await asyncio.sleep(0)
        finally:
            self.running -= 1
        if self.failing is not None:
            raise self.failing
        history = tuple(Message(turn["role"], turn["content"]) for turn in history_messages or ())
        request = LLMRequest(
            prompt=prompt, system=system_prompt, history=history, json="response_format" in kwargs
        )
        text = DeterministicLLM().text(request)
        return _pieces(text) if stream else text

    async def embed(self, texts: list[str]) -> Any:
        return (await DeterministicEmbedder(DIMENSION).embed(texts, role="document")).vectors


async def _pieces(text: str) -> AsyncGenerator[str]:
    for piece in re.findall(r"\S+\s*", text):
        await asyncio.sleep(0)
        yield piece


def open_rag(working_dir: Path, functions: Functions | None = None, **arguments: Any) -> LightRAG:
    given = functions or Functions()
    return LightRAG(
        working_dir=str(working_dir),
        **{
            "llm_model_func": given.llm,
            "embedding_func": EmbeddingFunc(embedding_dim=DIMENSION, max_token_size=8192, func=given.embed),
            **arguments,
        },
    )
