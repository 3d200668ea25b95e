"""The tokenizer of a store: built once for all engines that are not given one, and never on an event loop."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from stateless_rag import Document, Engine, Store, Workspaces, sync
from stateless_rag.protocols import LLMReply, LLMRequest, StreamPart
from stateless_rag.providers import O200kTokenizer
from stateless_rag.providers import tokenizer as module
from stateless_rag.settings import ExtractSettings, MergeSettings, Settings
from stateless_rag.testing import DeterministicLLM

TEXTS = [Document(f"Ada Lovelace met Person{n} in London.", id=f"d{n}") for n in range(6)]
QUESTION = "Whom did Ada Lovelace meet?"
# Long enough that the room for it is looked at before anything is paid.
LONG = f"{QUESTION} {'very ' * 8_000}long."
SUMMARISING = Settings(
    extraction=ExtractSettings(gleaning=1), merging=MergeSettings(summarize_from=2, summary_context_tokens=50)
)


@pytest.fixture(params=["_load", "_build"])
def builds(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[list[threading.Thread]]:
    """The threads in which a tokenizer read its ranks, or built tiktoken's encoding, which all texts need then."""
    built: list[threading.Thread] = []
    build = getattr(module, request.param)

    def building(*arguments: Any) -> Any:
        built.append(threading.current_thread())
        return build(*arguments)

    monkeypatch.setattr(module, request.param, building)
    if request.param == "_build":
        monkeypatch.setattr(module, "_IN_PYTHON", 0)
        monkeypatch.setattr(module, "_on_a_loop", lambda: False)  # the callers alone keep it off the loop
    yield built


class Uncounted(DeterministicLLM):
    """Tells no token counts, so that they must be counted here."""

    async def complete(self, request: LLMRequest) -> LLMReply:
        return LLMReply(text=self.text(request))

    async def stream(self, request: LLMRequest) -> AsyncGenerator[StreamPart, None]:
        for piece in self.text(request).split(" "):
            yield StreamPart(text=f"{piece} ")


async def opened(store: Store | Path, name: str = "a", **options: Any) -> Engine:
    return await Engine.open(store, name, **{"llm": Uncounted(), "settings": SUMMARISING, **options})


async def test_engines_of_a_pool_that_ask_together_build_one(
    tmp_path: Path, builds: list[threading.Thread]
) -> None:
    async with Workspaces.open(tmp_path) as pool:

        async def use(name: str) -> O200kTokenizer:
            async with pool.lease(name) as engine:
                await engine.insert(TEXTS[0])
                assert isinstance(engine.context.tokenizer, O200kTokenizer)
                return engine.context.tokenizer

        assert builds == []
        used = await asyncio.gather(*(use(f"w{n}") for n in range(10)))
    assert len(set(map(id, used))) == len(builds) == 1


async def test_engines_on_one_store_share_without_a_pool(
    tmp_path: Path, builds: list[threading.Thread]
) -> None:
    own = O200kTokenizer()
    async with Store.open(tmp_path / "one") as store, Store.open(tmp_path / "other") as other:
        engines = [await opened(store), await opened(store, "b"), await opened(store, "c", tokenizer=own)]
        apart = await opened(other)
        one, same, given = (engine.context.tokenizer for engine in engines)
        assert one is same is store.tokenizer and given is own
        assert apart.context.tokenizer is other.tokenizer is not one
        await asyncio.gather(*(engine.retrieve(QUESTION) for engine in engines[:2]))
        assert len(builds) == 1


async def test_a_pool_uses_the_tokenizer_that_its_options_name(tmp_path: Path) -> None:
    own = O200kTokenizer()
    given: dict[str, dict[str, Any]] = {"a": {"tokenizer": own}, "b": {"tokenizer": None}, "c": {}}
    async with Workspaces.open(tmp_path, engine_options=given.__getitem__) as pool:
        for name, expected in (("a", own), ("b", pool.store.tokenizer), ("c", pool.store.tokenizer)):
            async with pool.lease(name) as engine:
                assert engine.context.tokenizer is expected


# ---- never on the event loop ---------------------------------------------------------------------------


async def insert_events(engine: Engine) -> None:
    async with aclosing(engine.insert_events("Grace Hopper met Ada Lovelace.")) as events:
        assert [event.kind async for event in events][-1] == "finished"


async def submit_and_work(engine: Engine) -> None:
    await engine.submit("Grace Hopper met Ada Lovelace.")
    await engine.work(until_empty=True)


async def submit_and_resume(engine: Engine) -> None:
    await engine.submit("Grace Hopper met Ada Lovelace.")
    await engine.resume()


async def stream(engine: Engine, **options: Any) -> None:
    async with aclosing(engine.stream(QUESTION, **options)) as pieces:
        assert [piece async for piece in pieces]


async def stream_left_early(engine: Engine) -> None:
    async with aclosing(engine.stream(QUESTION, mode="bypass")) as pieces:
        assert await anext(pieces)


def in_mode(mode: str) -> Callable[[Engine], Awaitable[Any]]:
    return lambda engine: engine.query(QUESTION, mode=mode)


ENTRIES: dict[str, Callable[[Engine], Awaitable[Any]]] = {
    "insert": lambda engine: engine.insert("Grace Hopper met Ada Lovelace."),
    "insert_events": insert_events,
    "submit, work": submit_and_work,
    "submit, resume": submit_and_resume,
    "delete": lambda engine: engine.delete(["d0"]),
    "alias": lambda engine: engine.alias("Person1", "Ada Lovelace"),
    "retrieve": lambda engine: engine.retrieve(QUESTION),
    "retrieve long": lambda engine: engine.retrieve(LONG, max_total_tokens=20_000),
    **{f"query {mode}": in_mode(mode) for mode in ("naive", "local", "global", "hybrid", "mix", "bypass")},
    "query long": lambda engine: engine.query(LONG, mode="naive", max_total_tokens=20_000),
    "query long bypass": lambda engine: engine.query(LONG, mode="bypass"),
    "only context": lambda engine: engine.query(QUESTION, only_context=True),
    "stream": stream,
    "stream bypass": lambda engine: stream(engine, mode="bypass"),
    "stream left early": stream_left_early,
}


@pytest.fixture(scope="module")
def inserted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root that holds the texts."""
    root = tmp_path_factory.mktemp("inserted")
    with sync.Engine.open(root, "a", llm=Uncounted(), settings=SUMMARISING) as engine:
        assert not engine.insert(TEXTS).failed
    return root


@pytest.mark.parametrize("entry", ENTRIES)
async def test_the_loop_never_builds(
    inserted: Path, tmp_path: Path, builds: list[threading.Thread], entry: str
) -> None:
    engine = await opened(Path(shutil.copytree(inserted, tmp_path / "root")))
    assert builds == []
    await ENTRIES[entry](engine)
    assert len(builds) == 1
    assert builds[0] is not threading.current_thread()
    await engine.close()


async def test_what_counts_nothing_builds_nothing(tmp_path: Path, builds: list[threading.Thread]) -> None:
    engine = await opened(tmp_path)
    await engine.submit("Grace Hopper met Ada Lovelace.")
    await engine.describe(), await engine.documents(), await engine.entity("Ada")
    await engine.close()
    assert builds == []


def test_the_loop_of_the_mirror_never_builds(tmp_path: Path, builds: list[threading.Thread]) -> None:
    with sync.Engine.open(tmp_path, llm=Uncounted()) as engine:
        assert engine.query(QUESTION, mode="bypass").text
    assert [thread.name == "stateless-rag-sync" for thread in builds] == [False]
