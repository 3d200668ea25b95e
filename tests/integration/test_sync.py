"""The synchronous mirror."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from stateless_rag.engine import Engine as AsyncEngine
from stateless_rag.errors import InvalidWorkspaceName, StoreClosed, StoreLocked, WorkspaceNotFound
from stateless_rag.protocols import LLMReply, LLMRequest, StreamPart
from stateless_rag.sync import Engine, Runner
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.types import Answer, Document, Status

TEXT = "Ada Lovelace met Charles Babbage in London."


def open_engine(root: Path) -> Engine:
    return Engine.open(root, llm=DeterministicLLM(), embedder=DeterministicEmbedder())


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("stateless-rag")}


def test_it_does_what_the_other_does(tmp_path: Path) -> None:
    with open_engine(tmp_path) as engine:
        report = engine.insert(Document(TEXT, id="d"))
        assert report.counts == {Status.PROCESSED: 1}
        assert engine.query("Who met Charles Babbage?").references[0].document_id == "d"
        assert engine.retrieve("Charles Babbage", mode="naive").passages
        assert engine.entity("ada lovelace") is not None
        assert (engine.name, engine.revision, engine.describe().chunks) == ("default", 1, 1)
        assert engine.alias("Ada", "Ada Lovelace") == 2 and engine.aliases() == {"ada": "ada lovelace"}
        tracking_id = engine.submit(Document("Alan Turing.", id="e"))
        assert [row.status for row in engine.documents()] == [Status.PROCESSED, Status.PENDING]
        assert engine.work().documents[0].id == "e" and tracking_id
        assert engine.resume().documents == ()
        assert engine.delete("e").deleted == ("e",)
        document = engine.document("d")
        assert document is not None and document.text == TEXT
        kinds = [event.kind for event in engine.insert_events(Document("Grace Hopper.", id="f"))]
        assert kinds[0] == "accepted" and kinds[-1] == "finished"
        pieces = list(engine.stream("Who met Charles Babbage?"))
        assert isinstance(pieces[-1], Answer) and "".join(map(str, pieces[:-1])) == pieces[-1].text
    assert threads() == set()


def test_it_has_all_that_the_other_has(tmp_path: Path) -> None:
    missing = {name for name in dir(AsyncEngine) if not name.startswith("_")} - set(dir(Engine))
    assert missing == {"close_now", "context", "workspace"}
    with open_engine(tmp_path) as engine:
        engine.insert(Document(TEXT, id="d"))
        (relation, *_) = engine.relations_of("Ada Lovelace", limit=1)
        assert "ada lovelace" in (relation.source_key, relation.target_key)
        assert engine.graph().num_nodes() == engine.describe().entities
        assert engine.costs()["extract"].calls > 0
        assert engine.resume("d").documents == ()


async def test_it_works_inside_a_running_loop(tmp_path: Path) -> None:
    with open_engine(tmp_path) as engine:
        engine.insert(TEXT)
        assert engine.query("Who met Charles Babbage?").references


def test_a_stream_may_be_left_early(tmp_path: Path) -> None:
    with open_engine(tmp_path) as engine:
        engine.insert(TEXT)
        for piece in engine.stream("Who met Charles Babbage?"):
            assert isinstance(piece, str)
            break
        stream = engine.stream("Who met Charles Babbage?")
        next(stream)
        assert engine.retrieve("Ada").passages  # while the stream is open
        left = engine.insert_events(Document("Alan Turing met Ada Lovelace.", id="left"))
        next(left)
        left.close()
    del stream  # closing the engine has closed it
    gc.collect()
    with open_engine(tmp_path) as engine:
        engine.resume()
        assert {row.status for row in engine.documents()} == {Status.PROCESSED}


def test_closing_twice_and_using_it_afterwards(tmp_path: Path) -> None:
    engine = open_engine(tmp_path)
    engine.close()
    engine.close()
    for call in (lambda: engine.insert(TEXT), lambda: engine.query("?"), engine.describe):
        with pytest.raises(StoreClosed):
            call()
    with pytest.raises(StoreClosed):
        list(engine.stream("?"))
    assert threads() == set()


def test_what_cannot_be_opened_leaves_no_thread(tmp_path: Path) -> None:
    with pytest.raises(InvalidWorkspaceName):
        Engine.open(tmp_path, "../x")
    with pytest.raises(WorkspaceNotFound):
        Engine.open(tmp_path, "none", create=False)
    with open_engine(tmp_path), pytest.raises(StoreLocked):
        open_engine(tmp_path)
    assert threads() == set()


class SlowLLM(DeterministicLLM):
    """Answers after a while, and notes who was cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()
        self.cancelled = threading.Event()

    async def complete(self, request: LLMRequest) -> LLMReply:
        self.begun.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return await super().complete(request)

    async def stream(self, request: LLMRequest) -> AsyncGenerator[StreamPart]:
        yield StreamPart(reply=await self.complete(request))


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Python's own handler, which a process that was started in the background does not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_cancels_and_waits_until_all_is_let_go(tmp_path: Path) -> None:
    llm, main = SlowLLM(), threading.get_ident()
    engine = Engine.open(tmp_path, llm=llm, embedder=DeterministicEmbedder())

    def press() -> None:
        llm.begun.wait(10)
        signal.pthread_kill(main, signal.SIGINT)

    finger = threading.Thread(target=press)
    finger.start()
    with pytest.raises(KeyboardInterrupt):
        engine.insert(Document(TEXT, id="d"))
    finger.join()
    assert llm.cancelled.is_set()  # it has let go before the interrupt reaches the caller
    assert [row.status for row in engine.documents()] == [Status.PENDING]
    engine.close()
    with open_engine(tmp_path) as again:
        assert again.resume().counts == {Status.PROCESSED: 1}


def test_a_runner_is_used_by_several_threads(tmp_path: Path) -> None:
    runner = Runner()

    async def one(n: int) -> int:
        await asyncio.sleep(0.01)
        return n

    results: list[int] = []
    workers = [threading.Thread(target=lambda n=n: results.append(runner.run(one(n)))) for n in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    runner.close()
    runner.close()
    assert sorted(results) == list(range(8))


async def test_it_shares_a_store_with_asynchronous_engines(tmp_path: Path) -> None:
    from stateless_rag.stores.duckdb.store import Store

    async with (
        Store.open(tmp_path) as store,
        AsyncEngine.open(store, embedder=DeterministicEmbedder()) as other,
    ):

        def work() -> None:
            with Engine.open(store, embedder=DeterministicEmbedder()) as engine:
                engine.insert(Document(TEXT, id="d"))

        await asyncio.to_thread(work)
        assert await other.document("d") is not None
