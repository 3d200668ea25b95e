"""Rerankers over real HTTP, right and wrong, in each style."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx2
import pytest

from integration.openai_servers import FAULTS, KEY, Raw, json_answer
from stateless_rag import Document, Engine
from stateless_rag.errors import (
    InvalidInput,
    InvalidReply,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
)
from stateless_rag.protocols import Reranker
from stateless_rag.providers import HTTPReranker
from stateless_rag.settings import CallSettings, Settings
from stateless_rag.testing import (
    DeterministicReranker,
    Empty,
    FakeOpenAIServer,
    Fault,
    Faults,
    Hang,
    Malformed,
    RateLimited,
    ServerError,
    Truncated,
)

STYLES: Any = ["cohere", "jina", "tei", "aliyun"]
QUESTION = "secret red green blue"
TEXTS = ["nothing", "red", "a blue red", "red green blue", "green!"]
BEST = [(3, 0.75), (2, 0.5), (1, 0.25)]


def at(server: Any, style: Any, **settings: Any) -> HTTPReranker:
    return HTTPReranker("rank-x", style=style, api_key=KEY, base_url=server.base_url, **settings)


async def ranked(server: Any, style: Any, top_n: int = 3, **settings: Any) -> list[tuple[int, float]]:
    reranker = at(server, style, **settings)
    try:
        return await reranker.rerank(QUESTION, TEXTS, top_n=top_n)
    finally:
        await reranker.close()


# ---- what goes out, what comes back --------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
async def test_the_best_come_first_with_their_scores(style: Any) -> None:
    async with FakeOpenAIServer() as server:
        assert await ranked(server, style) == BEST
        assert await ranked(server, style, top_n=99) == [*BEST, (4, 0.25), (0, 0.0)]
        assert await ranked(server, style, top_n=0) == []
        reranker = at(server, style)
        assert isinstance(reranker, Reranker)
        assert await reranker.rerank(QUESTION, [], top_n=5) == []
        assert [record.path for record in server.log] == [PATHS.get(style, "/v1/rerank")] * 2


PATHS = {"aliyun": "/v1/services/rerank/text-rerank/text-rerank"}
BODIES: dict[str, dict[str, Any]] = {
    "cohere": {"model": "rank-x", "top_n": 2, "query": "q", "documents": ["a", "b"]},
    "jina": {"model": "rank-x", "top_n": 2, "query": "q", "documents": ["a", "b"], "return_documents": False},
    "tei": {"query": "q", "texts": ["a", "b"], "truncate": True},
    "aliyun": {
        "model": "rank-x",
        "input": {"query": "q", "documents": ["a", "b"]},
        "parameters": {"top_n": 2, "return_documents": False},
    },
}
ROWS = {
    "cohere": {"results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 1}]},
    "jina": {
        "results": [
            {"index": 1, "relevance_score": 0.9, "document": {"text": "b"}},
            {"index": 0, "relevance_score": 1},
        ],
        "usage": {"total_tokens": 4},
    },
    "tei": [{"index": 1, "score": 0.9}, {"index": 0, "score": 1}],
    "aliyun": {
        "output": {"results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 1}]},
        "usage": {"total_tokens": 4},
        "request_id": "1",
    },
}


@pytest.mark.parametrize("style", STYLES)
async def test_requests_are_those_of_the_style(style: Any) -> None:
    async with Raw(json_answer(ROWS[style])) as server:
        reranker = at(server, style, headers={"X-Team": "a"}, extra_body={"user": "me"})
        assert await reranker.rerank("q", ["a", "b"], top_n=2) == [(0, 1.0), (1, 0.9)]
        await reranker.close()
        assert server.bodies == [{**BODIES[style], "user": "me"}]
        head = server.heads[0].lower()
    assert head.startswith(f"post {PATHS.get(style, '/v1/rerank')} http/1.1".encode())
    assert b"authorization: bearer sk-very-secret" in head
    assert b"x-team: a" in head


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("", b"/rerank"),
        ("/", b"/rerank"),
        ("/v2/", b"/v2/rerank"),
        ("/v2/rerank", b"/v2/rerank"),
        ("/v2?deployment=x", b"/v2/rerank?deployment=x"),
    ],
)
async def test_where_requests_go(given: str, path: bytes) -> None:
    async with Raw(json_answer(ROWS["tei"])) as server:
        url = server.base_url.removesuffix("/v1") + given
        reranker = HTTPReranker("m", style="tei", base_url=url)
        await reranker.rerank("q", ["a", "b"], top_n=2)
        await reranker.close()
        assert server.heads[0].split()[1] == path
        assert b"authorization" not in server.heads[0].lower()


@pytest.mark.parametrize("given", ["", "/services/rerank/text-rerank/text-rerank"])
async def test_a_path_of_more_than_a_word_may_be_given_or_not(given: str) -> None:
    async with Raw(json_answer(ROWS["aliyun"])) as server:
        reranker = HTTPReranker("m", style="aliyun", base_url=server.base_url + given)
        await reranker.rerank("q", ["a", "b"], top_n=2)
        await reranker.close()
        assert server.heads[0].split()[1].decode() == PATHS["aliyun"]


@pytest.mark.parametrize("style", STYLES)
async def test_many_texts_are_ranked_in_batches(style: Any) -> None:
    async with FakeOpenAIServer() as server:
        assert await ranked(server, style, max_batch=2) == BEST
        assert len(server.log) == 3


async def test_a_server_that_ranks_more_than_was_asked_for() -> None:
    async with Raw(json_answer(ROWS["cohere"])) as server:
        reranker = at(server, "cohere")
        assert await reranker.rerank("q", ["a", "b"], top_n=1) == [(0, 1.0)]
        await reranker.close()


def test_what_the_model_is_called() -> None:
    plain = HTTPReranker("m", api_key="k")
    assert plain.model == "m"
    named = {HTTPReranker("m", api_key="k", extra_body={"max_tokens_per_doc": n}).model for n in (1, 2)}
    assert len(named | {"m"}) == 3


# ---- values that cannot be used ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "api_key is needed for https://api.cohere.com/v2"),
        ({"style": "jina"}, "api_key is needed for https://api.jina.ai/v1"),
        ({"style": "tei"}, "needs a base_url"),
        ({"style": "tei", "api_key": KEY}, "needs a base_url"),
        ({"style": "other"}, "style is 'other'"),
        ({"base_url": "ftp://host"}, "base_url must be like"),
        ({"base_url": 5}, "base_url is 5"),
        ({"api_key": 5}, "api_key is 5"),
        ({"api_key": KEY, "max_batch": 0}, "max_batch is 0"),
        ({"api_key": KEY, "headers": {"a": 5}}, "headers"),
        ({"api_key": KEY, "extra_body": 5}, "extra_body is 5"),
        ({"model": " ", "api_key": KEY}, "model is ' '"),
    ],
)
def test_settings_that_cannot_be_used(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told) as caught:
        HTTPReranker(**{"model": "m", **settings})
    assert KEY not in str(caught.value)


# ---- faults --------------------------------------------------------------------------------------------

RERANK_FAULTS: tuple[tuple[Fault, type[ProviderError]], ...] = (
    *FAULTS,
    (ServerError(413), ProviderRejected),
    (Malformed("text"), InvalidReply),
    (Empty(), InvalidReply),
    (Truncated(), InvalidReply),
)


@pytest.mark.parametrize(("fault", "error"), RERANK_FAULTS, ids=lambda value: str(value))
@pytest.mark.parametrize("style", STYLES)
async def test_faults_end_in_the_right_error(style: Any, fault: Fault, error: type[ProviderError]) -> None:
    async with FakeOpenAIServer(faults=Faults.first(1, fault)) as server:
        with pytest.raises(error) as caught:
            await ranked(server, style, top_n=5)
        assert len(server.log) == 1  # nothing was tried again
        assert await ranked(server, style) == BEST
    assert type(caught.value) is error
    assert KEY not in str(caught.value)
    assert "secret" not in str(caught.value)
    if isinstance(fault, ServerError):
        assert caught.value.status == fault.status
    if isinstance(fault, RateLimited):
        assert caught.value.retry_after == 2.5


def rows(*scores: Any, name: str = "relevance_score") -> dict[str, Any]:
    return {"results": [{"index": index, name: score} for index, score in scores]}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[" * 100_000,
        b'{"results": 5}',
        {"results": [5]},
        rows((0, 0.5), (0, 0.5)),
        rows((0, 0.5), (1, 0.5), (0, 0.9)),
        rows((0, 0.5), (2, 0.5)),
        rows((0, 0.5), (-1, 0.5)),
        rows((0, 0.5), (True, 0.5)),
        rows((0, 0.5), ("1", 0.5)),
        rows((0, 0.5), (1, None)),
        rows((0, 0.5), (1, True)),
        rows((0, 0.5), (1, "0.5")),
        rows((0, 0.5), (1, float("nan"))),
        rows((0, 0.5), (1, 10**400)),
        rows((0, 0.5), (1, 0.5), name="score"),
        rows((0, 0.5)),
    ],
    ids=lambda body: str(body)[:60],
)
async def test_bodies_that_are_no_ranking(body: Any) -> None:
    async with Raw(json_answer(body)) as server:
        with pytest.raises(InvalidReply):
            await at(server, "cohere").rerank("q", ["a", "b"], top_n=2)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"\x00 what?\r\n\r\n", ProviderUnavailable),
        (json_answer(b"", 204), InvalidReply),
        (json_answer(b"plain", headers="Content-Encoding: gzip\r\n"), InvalidReply),
        (json_answer(b"{}", 307, "Location: /v1/again\r\n"), ProviderRejected),
        (json_answer(b"{}", 307, "Location: http://[::1\r\n"), ProviderUnavailable),
        (json_answer(b"{}", 307, "Location: ftp://host/\r\n"), ProviderRejected),
        (json_answer(b"\xff\xfe", 400), ProviderRejected),
    ],
)
async def test_whatever_a_server_sends_ends_in_the_error_tree(
    answer: bytes, error: type[ProviderError]
) -> None:
    async with Raw(answer) as server:
        with pytest.raises(error) as caught:
            await at(server, "cohere").rerank("q", ["a", "b"], top_n=2)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"error": "Model is overloaded", "error_type": "Overloaded"}, r"429 \(Overloaded\)"),
        ({"error": {"code": "rate_limit", "message": KEY}}, r"429 \(rate_limit\)"),
        ({"message": KEY}, "429: "),
    ],
)
async def test_messages_hold_codes_and_not_what_servers_echo(body: Any, told: str) -> None:
    async with Raw(json_answer(body, 429, "Retry-After: 7\r\n")) as server:
        with pytest.raises(ProviderRateLimited, match=told) as caught:
            await at(server, "tei").rerank(QUESTION, ["a", "b"], top_n=2)
    assert caught.value.retry_after == 7
    assert "secret" not in str(caught.value)


async def test_what_http_cannot_carry_is_refused() -> None:
    async with Raw(json_answer(ROWS["cohere"])) as server:
        with pytest.raises(ProviderRejected, match="utf-8"):
            await at(server, "cohere").rerank("\ud800", ["a", "b"], top_n=2)
        with pytest.raises(ProviderRejected, match="ascii"):
            await at(server, "cohere", headers={"X-Team": "ä"}).rerank("q", ["a", "b"], top_n=2)
        assert server.heads == []


async def test_a_refused_connection_and_a_slow_server() -> None:
    with pytest.raises(ProviderUnavailable):
        await HTTPReranker("m", style="tei", base_url="http://127.0.0.1:9").rerank("q", ["a"], top_n=1)
    async with FakeOpenAIServer(faults=Faults.first(1, Hang(30))) as server:
        reranker = at(server, "cohere")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reranker.rerank(QUESTION, TEXTS, top_n=3), 0.2)
        assert await reranker.rerank(QUESTION, TEXTS, top_n=3) == BEST
        await reranker.close()


# ---- clients -------------------------------------------------------------------------------------------


async def test_http_clients_of_the_callers_own() -> None:
    made: list[httpx2.AsyncClient] = []

    def factory() -> httpx2.AsyncClient:
        made.append(httpx2.AsyncClient(headers={"X-Mine": "1"}, trust_env=False))
        return made[-1]

    async with Raw(json_answer(ROWS["cohere"])) as server:
        reranker = at(server, "cohere", http_client_factory=factory)
        await asyncio.gather(*(reranker.rerank("q", ["a", "b"], top_n=2) for _ in range(2)))
        await reranker.close()
        await reranker.close()
        assert b"x-mine: 1" in server.heads[0].lower()
    (client,) = made
    assert client.is_closed


def test_two_loops_use_one_reranker() -> None:
    with FakeOpenAIServer().in_thread() as server:
        made: list[httpx2.AsyncClient] = []

        def factory() -> httpx2.AsyncClient:
            made.append(httpx2.AsyncClient(trust_env=False))
            return made[-1]

        reranker, meet = at(server, "jina", http_client_factory=factory), threading.Barrier(2)
        replies: list[list[tuple[int, float]]] = []

        async def use() -> None:
            replies.append(await reranker.rerank(QUESTION, TEXTS, top_n=3))
            await asyncio.to_thread(meet.wait, 10)
            replies.append(await reranker.rerank(QUESTION, TEXTS, top_n=3))
            await reranker.close()

        threads = [threading.Thread(target=asyncio.run, args=(use(),)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert replies == [BEST] * 4
        assert len(made) == 2
        assert all(client.is_closed for client in made)


# ---- in an engine --------------------------------------------------------------------------------------

DOCUMENTS = [
    Document("Ada Lovelace wrote notes on the engine in London.", id="ada"),
    Document("Konrad Zuse built the Z3 in Berlin out of relays.", id="zuse"),
    Document("Grace Hopper wrote a compiler for the UNIVAC.", id="hopper"),
]
QUICK = Settings(calls=CallSettings(attempts=2, backoff=0.001, max_backoff=0.002))


@pytest.mark.parametrize("style", STYLES)
async def test_an_engine_with_a_reranker_over_http(tmp_path: Any, style: Any) -> None:
    asked = "Who built the Z3 out of relays?"
    faults = Faults([ServerError(503), None, *[ServerError(503)] * 2, *[RateLimited(0.001)] * 2])
    async with FakeOpenAIServer(faults=faults) as server:
        reranker = at(server, style)
        async with Engine.open(tmp_path, settings=QUICK, reranker=reranker) as engine:
            await engine.insert(DOCUMENTS)
            found = await engine.retrieve(asked, mode="naive", min_similarity=-1.0)
            assert found.passages[0].document_id == "zuse"
            expected = await DeterministicReranker().rerank(
                asked, [passage.text for passage in found.passages], top_n=3
            )
            assert [passage.score for passage in found.passages] == [score for _, score in expected]
            assert (found.usage["rerank"].calls, found.degraded) == (1, ())

            with pytest.raises(ProviderUnavailable):
                await engine.retrieve(asked, mode="naive")
            without = await engine.retrieve(asked, mode="naive", on_provider_error="degrade")
            assert without.passages
            assert [note.split(":")[0] for note in without.degraded] == ["rerank"]
            assert "ProviderRateLimited" in without.degraded[0]
        await reranker.close()
