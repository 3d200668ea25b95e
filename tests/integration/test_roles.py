"""Other LLMs for some of the work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stateless_rag import Document, Engine, ExtractSettings, Settings
from stateless_rag.errors import InvalidInput
from stateless_rag.protocols import LLMReply, LLMRequest
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM


class Noting(DeterministicLLM):
    """Notes what it is asked for."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.asked: set[str] = set()

    @property
    def model(self) -> str:
        return self._name

    async def complete(self, request: LLMRequest) -> LLMReply:
        self.asked.add(request.purpose)
        return await super().complete(request)


async def ingested_and_asked(root: Path, **providers: Any) -> Any:
    settings = Settings(extraction=ExtractSettings(gleaning=1))
    async with Engine.open(root, embedder=DeterministicEmbedder(), settings=settings, **providers) as engine:
        await engine.insert([Document(f"Ann met Bob{n} in Town{n}.", id=f"d{n}") for n in range(12)])
        answer = await engine.query("Whom did Ann meet?", mode="hybrid", min_similarity=-1.0)
        return answer, (await engine.describe()).generations


async def test_each_role_is_asked_for_its_work_only(tmp_path: Path) -> None:
    roles = {role: Noting(role) for role in ("extract", "summarize", "keywords", "answer")}
    rest = Noting("rest")
    answer, _ = await ingested_and_asked(tmp_path, llm=rest, roles=roles)
    assert {role: llm.asked for role, llm in roles.items()} == {
        "extract": {"extract", "glean"},
        "summarize": {"summarize"},
        "keywords": {"keywords"},
        "answer": {"answer"},
    }
    assert rest.asked == set()
    assert answer.text.startswith("Answer")


async def test_what_has_no_role_falls_to_the_llm_and_without_one_to_the_built_in_parts(
    tmp_path: Path,
) -> None:
    small, big = Noting("small"), Noting("big")
    await ingested_and_asked(tmp_path / "one", llm=big, roles={"extract": small})
    assert small.asked == {"extract", "glean"}
    assert big.asked == {"summarize", "keywords", "answer"}
    alone = Noting("alone")
    _, generations = await ingested_and_asked(tmp_path / "other", roles={"answer": alone})
    assert alone.asked == {"answer"}
    assert not any(generation.startswith("llm-") for generation in generations)


async def test_who_extracts_is_part_of_the_generation(tmp_path: Path) -> None:
    found = [
        (await ingested_and_asked(tmp_path / name, llm=Noting("rest"), roles={"extract": Noting(name)}))[1]
        for name in ("one", "other")
    ]
    assert found[0].keys() != found[1].keys()


async def test_an_unknown_role_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="a role is 'rerank'"):
        await Engine.open(tmp_path, roles={"rerank": DeterministicLLM()})
