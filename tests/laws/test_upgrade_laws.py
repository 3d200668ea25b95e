"""Upgraded documents are as if they had been ingested with what they were upgraded with; so are vectors."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from laws.generators import CountingEmbedder, StatementLLM, aliases, corpora, summary_in
from laws.profiles import examples
from laws.workspaces import contents, new_root, new_store, opened
from stateless_rag.protocols import LLMReply, LLMRequest
from stateless_rag.testing.deterministic import render_records
from stateless_rag.types import Document


@dataclass
class Forgetful(StatementLLM):
    """Another model, which says of each chunk that it is about Zuse and its last word."""

    model: str = "forgetful"

    async def complete(self, request: LLMRequest) -> LLMReply:
        if request.purpose == "summarize":
            return LLMReply(text=summary_in(request.prompt))
        self.calls[request.purpose] += 1
        word = request.prompt.split()[-1][:10]
        told = (
            [("Zuse", "Person", "is told of"), (word, "Concept", "comes last")],
            [("Zuse", word, "w", "w")],
        )
        return LLMReply(text=render_records(*told, json_mode=request.json))


class Other(CountingEmbedder):
    @property
    def model(self) -> str:
        return "other"


@given(corpora(min_size=2), st.data(), aliases())
@examples(6)
def test_upgrade_and_reembed_equal_a_fresh_ingest(
    documents: list[Document], data: st.DataObject, pairs: list[tuple[str, str]]
) -> None:
    chosen = data.draw(st.lists(st.sampled_from([str(d.id) for d in documents]), unique=True, min_size=1))
    disabled = data.draw(st.lists(st.sampled_from([str(d.id) for d in documents]), unique=True, max_size=1))
    embedder_first = data.draw(st.booleans())

    async def check() -> None:
        embedder = Other()
        with new_root() as root:
            async with opened(root, llm=Forgetful()) as engine:
                await engine.insert(documents)
                await engine.disable(disabled)
                for pair in pairs:
                    await engine.alias(*pair)
                if embedder_first:
                    await engine.reembed(embedder)
            async with opened(
                root, llm=StatementLLM(), embedder=embedder if embedder_first else None
            ) as engine:
                report = await engine.upgrade(chosen)
                assert {each.id for each in report.documents} <= set(chosen)
                again = await engine.upgrade(chosen)
                assert not again.documents
                assert not again.usage
                if not embedder_first:
                    await engine.reembed(embedder)
                found = await contents(engine)
        async with new_store() as store:
            async with opened(store, llm=Forgetful(), embedder=embedder) as engine:
                await engine.insert([d for d in documents if d.id not in chosen])
            async with opened(store, llm=StatementLLM(), embedder=embedder) as engine:
                await engine.insert([d for d in documents if d.id in chosen])
                await engine.disable(disabled)
                for pair in pairs:
                    await engine.alias(*pair)
                assert await contents(engine) == found

    asyncio.run(check())
