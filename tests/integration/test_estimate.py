"""What an ingest would cost, against what the server that is then asked counts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from integration.command_line import PROJECT
from stateless_rag import Document, Engine, InvalidInput, Price, Settings
from stateless_rag.providers import O200kTokenizer, OpenAIEmbedder, OpenAILLM
from stateless_rag.settings import ChunkSettings, ExtractSettings, MergeSettings
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM, FakeOpenAIServer
from stateless_rag.types import Usage

PRICES = {"model": Price(input=1.0, output=4.0), "embed": Price(input=0.1)}


class Counting(DeterministicLLM):
    """Counts tokens as servers of OpenAI's models do, and says more than the rules when it gleans."""

    def __init__(self, tokenizer: O200kTokenizer) -> None:
        super().__init__()
        self._tokenizer = tokenizer

    async def complete(self, request: Any) -> Any:
        reply = await super().complete(request)
        asked = [request.system or "", *(turn.content for turn in request.history), request.prompt]
        count = self._tokenizer.count
        return replace(reply, prompt_tokens=sum(map(count, asked)), completion_tokens=count(reply.text))


class CountingEmbedder(DeterministicEmbedder):
    def __init__(self, tokenizer: O200kTokenizer) -> None:
        super().__init__()
        self._tokenizer = tokenizer

    async def embed(self, texts: Any, *, role: Any) -> Any:
        made = await super().embed(texts, role=role)
        return replace(made, tokens=sum(map(self._tokenizer.count, texts)))


@pytest.fixture(scope="module")
def tokenizer() -> O200kTokenizer:
    return O200kTokenizer()


@pytest.fixture
def counting(tokenizer: O200kTokenizer) -> Iterator[FakeOpenAIServer]:
    fake = FakeOpenAIServer(Counting(tokenizer), CountingEmbedder(tokenizer))
    with fake.in_thread():
        yield fake


def articles() -> list[Document]:
    files = sorted((PROJECT / "examples" / "corpus").glob("*.md"))[:12]
    return [Document(file.read_text(encoding="utf-8"), id=file.stem) for file in files]


def hub() -> list[Document]:
    """One document in whose chunks the same names come again and again: summaries are made."""
    said = [
        f"Ada Lovelace wrote letter {n} to Charles Babbage about the Analytical Engine." for n in range(40)
    ]
    return [Document("\n\n".join(said[:20]), id="one"), Document("\n\n".join(said[20:]), id="other")]


def settings(**changes: Any) -> Settings:
    return Settings(chunking=ChunkSettings(max_tokens=120, overlap_tokens=10), **changes)


@asynccontextmanager
async def opened(root: Path, server: FakeOpenAIServer, **options: Any) -> AsyncIterator[Engine]:
    llm = OpenAILLM("model", api_key="k", base_url=server.base_url)
    embedder = OpenAIEmbedder("embed", api_key="k", base_url=server.base_url)
    try:
        async with Engine.open(root, llm=llm, embedder=embedder, **options) as engine:
            yield engine
    finally:
        await llm.close()
        await embedder.close()


def served(server: FakeOpenAIServer, kind: str, since: int = 0) -> Usage:
    log = [record for record in server.log[since:] if record.path.endswith(kind)]
    return Usage(len(log), sum(r.prompt_tokens for r in log), sum(r.completion_tokens for r in log))


def asked(estimate: Any) -> Usage:
    """What the LLM is expected to be asked."""
    rest = (used for purpose, used in estimate.usage.items() if purpose != "embed")
    return sum((replace(used, cached=0) for used in rest), Usage())


def near(told: float, counted: float, share: float = 0.1) -> bool:
    return abs(told - counted) <= share * counted


CASES = {
    "articles": (articles, settings()),
    "no gleaning": (
        articles,
        settings(extraction=ExtractSettings(gleaning=0), merging=MergeSettings(summarize_from=20)),
    ),
    "as JSON": (articles, settings(extraction=ExtractSettings(format="json"))),
    "summaries": (
        hub,
        Settings(chunking=ChunkSettings(strategy="separator", max_tokens=60, overlap_tokens=5)),
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_in_a_new_workspace_calls_and_prompts_are_those_that_the_server_counts(
    case: str, tmp_path: Path, counting: FakeOpenAIServer
) -> None:
    make, chosen = CASES[case]
    documents = make()[:5]
    async with opened(tmp_path, counting, settings=chosen) as engine:
        told = await engine.estimate(documents, prices=PRICES)
        assert counting.log == () and engine.revision == 0 and not await engine.documents()
        report = await engine.insert(documents)
        assert not report.failed
    chats = served(counting, "/completions")
    assert (told.documents, told.chunks) == (len(documents), sum(d.chunks for d in report.documents))
    assert (told.new_chunks, told.basis) == (report.usage["extract"].calls, "ratios")
    assert near(asked(told).calls, chats.calls)
    assert near(told.usage["extract"].prompt_tokens, report.usage["extract"].prompt_tokens)
    assert ("summarize" in told.usage) == ("summarize" in report.usage) == (case == "summaries")
    assert told.embeddings > 0 and told.money is not None and told.money > 0


@pytest.mark.parametrize("case", CASES)
async def test_once_something_was_paid_all_is_within_a_tenth(
    case: str, tmp_path: Path, counting: FakeOpenAIServer
) -> None:
    make, chosen = CASES[case]
    first, rest = make()[::2], make()[1::2]
    async with opened(tmp_path, counting, settings=chosen) as engine:
        await engine.insert(first)
        known = len(counting.log)
        told = await engine.estimate([*first, *rest], prices=PRICES)
        assert len(counting.log) == known
        report = await engine.insert([*first, *rest])
    chats, vectors = served(counting, "/completions", known), served(counting, "/embeddings", known)
    assert (told.unchanged, told.basis) == (len(first), "ledger")
    assert told.new_chunks == report.usage["extract"].calls
    assert near(asked(told).calls, chats.calls)
    assert near(asked(told).prompt_tokens, chats.prompt_tokens)
    assert near(asked(told).completion_tokens, chats.completion_tokens)
    assert near(told.usage["embed"].prompt_tokens, vectors.prompt_tokens, 0.2)
    paid = PRICES["model"].of(chats) + PRICES["embed"].of(vectors)
    assert told.money is not None and near(told.money, paid)


async def test_what_is_there_or_was_paid_for_costs_nothing(
    tmp_path: Path, counting: FakeOpenAIServer
) -> None:
    ada, other = articles()[0], articles()[1]
    twin = Document(ada.text, id="twin")
    async with opened(tmp_path, counting, settings=settings()) as engine:
        once, twice = await engine.estimate([ada]), await engine.estimate([ada, twin])
        assert (twice.chunks, twice.new_chunks) == (2 * once.chunks, once.new_chunks)
        assert asked(twice) == asked(once)
        await engine.insert(ada)
        again = await engine.estimate([ada, twin], prices={"*": Price(input=1.0)})
        assert (again.unchanged, again.new_chunks, asked(again)) == (1, 0, Usage())
        assert again.usage["extract"].cached == once.chunks and again.total.tokens == again.money == 0
        changed = await engine.estimate(Document(f"{ada.text}\n\nShe liked {other.id}.", id=ada.id))
        assert 1 <= changed.new_chunks < changed.chunks


async def test_a_custom_extractor_is_not_run(tmp_path: Path) -> None:
    class Own:
        def generation(self, context: Any) -> str:
            return "own"

        async def extract(self, context: Any, chunk: Any) -> Any:
            raise AssertionError

    async with Engine.open(tmp_path, extractor=Own()) as engine:
        told = await engine.estimate("Ada Lovelace met Charles Babbage.")
        assert told.chunks == 1 and "extractor" in told.notes[0] and asked(told) == Usage()


@pytest.mark.parametrize(
    ("prices", "says"),
    [
        ({"embed": Price(input=1.0)}, "'model'"),
        ({"model": Price(input=1.0)}, "'embed'"),
        ({"*": 3}, "Price"),
        ([], "prices"),
    ],
)
async def test_prices_that_leave_a_model_out_are_refused(
    prices: Any, says: str, tmp_path: Path, counting: FakeOpenAIServer
) -> None:
    async with opened(tmp_path, counting) as engine:
        with pytest.raises(InvalidInput, match=says):
            await engine.estimate("Ada Lovelace met Charles Babbage.", prices=prices)


@pytest.mark.parametrize("given", [{"input": -1.0}, {"input": float("nan")}, {"input": 1.0, "output": "2"}])
def test_a_price_is_a_number(given: Any) -> None:
    with pytest.raises(InvalidInput):
        Price(**given)
