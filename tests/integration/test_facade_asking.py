"""A script that was written for LightRAG: questions, in all modes, streamed, and without a running loop."""

from __future__ import annotations

import asyncio
import inspect
import logging
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from integration.lightrag_functions import OTHER, QUESTION, TEXT, Functions, open_rag
from stateless_rag.errors import InvalidInput, ProviderError
from stateless_rag.interop.lightrag import (
    EmptyQueryError,
    LightRAG,
    QueryParam,
    RAGQueryTooShortError,
    RoleLLMConfig,
)
from stateless_rag.types import Mode


@pytest.fixture
def functions() -> Functions:
    return Functions()


@pytest.fixture(scope="module")
def inserted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds both texts."""
    storage = tmp_path_factory.mktemp("inserted") / "storage"
    made = open_rag(storage, enable_llm_cache=False)
    made.insert([TEXT, OTHER], file_paths=["ada.txt", "turing.txt"])
    asyncio.run(made.finalize_storages())
    return storage


@pytest.fixture
def rag(inserted: Path, tmp_path: Path, functions: Functions) -> Iterator[LightRAG]:
    made = open_rag(
        Path(shutil.copytree(inserted, tmp_path, dirs_exist_ok=True)), functions, enable_llm_cache=False
    )
    yield made
    asyncio.run(made.finalize_storages())


async def read(pieces: Any) -> list[str]:
    assert inspect.isasyncgen(pieces)
    return [str(piece) async for piece in pieces]


# ---- answers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", get_args(Mode))
def test_every_mode_answers(rag: LightRAG, functions: Functions, mode: str) -> None:
    answer = rag.query(QUESTION, param=QueryParam(mode=mode))
    assert isinstance(answer, str) and QUESTION in answer
    asked = functions.calls[-1]
    assert asked["enable_cot"] is True and asked["stream"] is False and "hashing_kv" in asked
    assert (TEXT in (asked["system"] or "")) is (mode != "bypass")
    keywords = [call for call in functions.calls[:-1] if "response_format" in call]
    assert len(keywords) == (mode in ("local", "global", "hybrid"))


@pytest.mark.parametrize("mode", ["mix", "naive", "bypass"])
def test_streams(rag: LightRAG, functions: Functions, mode: str) -> None:
    param = QueryParam(mode=mode, stream=True)
    whole = rag.query(QUESTION, QueryParam(mode=mode))

    async def asynchronously() -> list[str]:
        return await read(await rag.aquery(QUESTION, param))

    pieces = asyncio.run(asynchronously())
    assert len(pieces) > 1 and "".join(pieces) == whole
    assert functions.calls[-1]["stream"] is True
    # As scripts do it: asked without a loop, read on another one.
    assert asyncio.run(read(rag.query(QUESTION, param))) == pieces
    found = rag.query_llm(QUESTION, param)
    assert found["status"] == "success" and found["llm_response"]["is_streaming"]
    assert bool(found["data"]) is (mode != "bypass")
    assert asyncio.run(read(found["llm_response"]["response_iterator"])) == pieces


async def test_a_stream_may_be_left_early_or_never_read(tmp_path: Path) -> None:
    rag = open_rag(tmp_path)
    await rag.ainsert(TEXT)
    for pieces in (
        await rag.aquery(QUESTION, QueryParam(stream=True)),
        rag.query(QUESTION, QueryParam(stream=True)),
    ):
        assert isinstance(pieces, AsyncIterator)
        assert await anext(pieces) == "Answer"
        await pieces.aclose()  # type: ignore[attr-defined]
    await rag.aquery(QUESTION, QueryParam(stream=True))
    assert isinstance(await rag.aquery(QUESTION), str)
    await rag.finalize_storages()


async def test_the_twins_work_inside_a_running_loop(tmp_path: Path) -> None:
    rag = open_rag(tmp_path)
    rag.insert(TEXT, ids="d")
    assert isinstance(rag.query(QUESTION), str)
    assert await read(rag.query(QUESTION, QueryParam(stream=True)))
    assert isinstance(await rag.aquery(QUESTION), str)
    await rag.finalize_storages()


@pytest.mark.parametrize("stream", [False, True])
def test_what_needs_no_llm_is_a_text(rag: LightRAG, functions: Functions, stream: bool) -> None:
    context = rag.query(QUESTION, QueryParam(mode="naive", only_need_context=True, stream=stream))
    assert isinstance(context, str) and TEXT in context
    both = QueryParam(mode="naive", only_need_context=True, only_need_prompt=True, stream=stream)
    prompt = rag.query(QUESTION, both)
    assert isinstance(prompt, str) and prompt.endswith(f"\n\n---User Query---\n\n{QUESTION}")
    assert functions.calls == []
    nothing = rag.query_llm("Xylophones?", QueryParam(mode="naive", stream=stream))
    assert (nothing["status"], nothing["data"]) == ("failure", {})
    assert nothing["metadata"] == {"failure_reason": "no_results", "mode": "naive"}
    response = nothing["llm_response"]
    assert response["content"].endswith("[no-context]") and not response["llm_generated"]
    assert functions.calls == []


def test_what_is_given_reaches_the_llm(rag: LightRAG, functions: Functions) -> None:
    history = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    param = QueryParam(
        "hybrid", hl_keywords=["meetings"], ll_keywords=["Babbage"], conversation_history=history
    )
    template = "{response_type}|{user_prompt}|{context_data}"
    param.user_prompt = "Be brief."
    rag.query(QUESTION, param, system_prompt=template)
    (asked,) = functions.calls  # no call for keywords
    assert asked["system"].startswith("Multiple Paragraphs|Be brief.|-----")
    data = rag.query_data(QUESTION, param)
    assert data["metadata"]["keywords"] == {"high_level": ["meetings"], "low_level": ["Babbage"]}
    assert len(functions.calls) == 1


@pytest.mark.parametrize("kept", [True, False])
async def test_answers_are_kept_for_a_revision(tmp_path: Path, kept: bool) -> None:
    functions = Functions()
    rag = open_rag(tmp_path, functions, enable_llm_cache=kept)
    await rag.ainsert(TEXT)
    functions.calls.clear()
    for _ in range(2):
        await rag.aquery(QUESTION)
    assert len(functions.calls) == (1 if kept else 2)
    history = [{"role": "user", "content": "Hi"}]
    for param in (QueryParam(conversation_history=history), QueryParam("bypass")):
        functions.calls.clear()
        for _ in range(2):
            await rag.aquery(QUESTION, param)
        assert len(functions.calls) == 2
    await rag.ainsert(f"{TEXT} And then?")
    functions.calls.clear()
    await rag.aquery(QUESTION)
    assert len(functions.calls) == 1
    await rag.finalize_storages()


async def test_the_prefix_of_user_prompts(tmp_path: Path) -> None:
    functions = Functions()
    rag = open_rag(tmp_path, functions, user_prompt_prefix="Mind the gap.")
    await rag.ainsert(TEXT)
    for param, expected in (
        (QueryParam(user_prompt="Be brief."), "Mind the gap.\nBe brief."),
        (QueryParam(), "Mind the gap."),
        (QueryParam(user_prompt="Be brief.", disable_user_prompt_prefix=True), "Be brief."),
    ):
        await rag.aquery(QUESTION, param, system_prompt="<{user_prompt}>")
        assert functions.calls[-1]["system"].startswith(f"<{expected}>")
    await rag.finalize_storages()


# ---- data ----------------------------------------------------------------------------------------------


def test_the_data_of_a_question(rag: LightRAG, functions: Functions) -> None:
    found = rag.query_data(QUESTION, QueryParam(mode="mix"))
    assert found["status"] == "success" and "llm_response" not in found
    assert {"entities", "relationships", "chunks", "references"} == set(found["data"])
    assert found["data"]["references"][0] == {"reference_id": "1", "file_path": "ada.txt"}
    entity = next(e for e in found["data"]["entities"] if e["entity_name"] == "Charles Babbage")
    assert entity["file_path"] == "ada.txt" and entity["source_id"].startswith("chunk-")
    assert rag.query_data(QUESTION, QueryParam(mode="bypass"))["data"] == {
        "entities": [],
        "relationships": [],
        "chunks": [],
        "references": [],
    }
    assert functions.calls == []
    whole = rag.query_llm(QUESTION)
    assert whole["data"] == found["data"]
    assert whole["llm_response"]["llm_generated"] and QUESTION in whole["llm_response"]["content"]
    bypassed = rag.query_llm(QUESTION, QueryParam(mode="bypass"))
    assert (bypassed["data"], bypassed["metadata"]) == ({}, {})


async def test_bounds_of_the_instance_hold_without_a_param(tmp_path: Path) -> None:
    rag = open_rag(tmp_path, chunk_top_k=1, top_k=1)
    await rag.ainsert([TEXT, f"{TEXT} Again."])
    assert len((await rag.aquery_data(QUESTION))["data"]["chunks"]) == 1
    assert len((await rag.aquery_data(QUESTION, QueryParam()))["data"]["chunks"]) == 2
    assert (
        len((await rag.aquery_data(QUESTION, QueryParam(top_k=1, chunk_top_k=None)))["data"]["chunks"]) == 1
    )
    await rag.finalize_storages()


@pytest.mark.parametrize("waits", [True, False])
def test_progress_is_told(rag: LightRAG, waits: bool) -> None:
    steps: list[str] = []

    async def tell(step: str) -> None:
        await asyncio.sleep(0.05)  # is waited for
        steps.append(step)

    asyncio.run(
        rag.aquery_llm(QUESTION, QueryParam(mode="hybrid"), progress_callback=tell if waits else steps.append)
    )
    assert steps == [
        "extracting_keywords",
        "retrieving_entities",
        "retrieving_relations",
        "retrieving_chunks",
        "generating_response",
    ]


# ---- errors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "mode", "error"),
    [
        ("  ", "mix", EmptyQueryError),
        ("", "bypass", EmptyQueryError),
        ("ab", "mix", RAGQueryTooShortError),
        ("中", "naive", RAGQueryTooShortError),
        (QUESTION, "magic", InvalidInput),
        (5, "mix", InvalidInput),
    ],
)
def test_questions_that_cannot_be_asked(
    rag: LightRAG, question: Any, mode: str, error: type[Exception]
) -> None:
    assert issubclass(error, ValueError)
    with pytest.raises(error):
        rag.query(question, QueryParam(mode=mode))
    with pytest.raises(error):
        rag.query_data(question, QueryParam(mode=mode))


def test_short_questions_that_can_be_asked(rag: LightRAG) -> None:
    assert isinstance(rag.query("中国"), str)
    assert isinstance(rag.query("ab", QueryParam(mode="bypass")), str)


def test_a_failing_provider_does_not_look_like_nothing_found(rag: LightRAG, functions: Functions) -> None:
    functions.failing = RuntimeError("no such model")
    for stream in (False, True):
        with pytest.raises(ProviderError, match="no such model"):
            rag.query(QUESTION, QueryParam(stream=stream))
        told = rag.query_llm(QUESTION, QueryParam(stream=stream))
        assert told["status"] == "failure" and "no such model" in told["message"]
        assert told["llm_response"]["content"] is None
    assert rag.query_llm(QUESTION, QueryParam(mode="magic"))["status"] == "failure"
    for question in ("", "a"):
        with pytest.raises(ValueError):
            rag.query_llm(question)


# ---- reranking, roles ----------------------------------------------------------------------------------


def backwards(form: str) -> Any:
    async def rerank(query: str, documents: list[str], top_n: int | None = None) -> list[Any]:
        assert query == QUESTION
        ranked = sorted(range(len(documents)), key=lambda n: len(documents[n]), reverse=True)
        if form == "broken":
            raise RuntimeError("the reranker is asleep")
        if form == "documents":
            return [documents[n] for n in ranked]
        bad = [{"index": 99, "relevance_score": 1.0}, {"index": 0}, "junk"]
        scored = [{"index": n, "relevance_score": 0.9 - place / 2} for place, n in enumerate(ranked)]
        return [*scored, *bad]

    return rerank


@pytest.mark.parametrize("form", ["scored", "documents", "broken"])
async def test_a_reranker_orders_passages(
    tmp_path: Path, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    longer = "Charles Babbage spoke with many people in London, among them Ada, Mary and Michael."
    texts = [TEXT, longer]
    rag = open_rag(
        tmp_path, rerank_model_func=backwards(form), min_rerank_score=0.5, cosine_better_than_threshold=-1
    )
    await rag.ainsert(texts)
    with caplog.at_level(logging.WARNING):
        found = await rag.aquery_data(QUESTION, QueryParam(mode="naive"))
    contents = [chunk["content"] for chunk in found["data"]["chunks"]]
    plain = await rag.aquery_data(QUESTION, QueryParam(mode="naive", enable_rerank=False))
    unranked = [chunk["content"] for chunk in plain["data"]["chunks"]]
    assert sorted(unranked) == sorted(texts)
    expected = {"scored": [longer], "documents": [longer, TEXT], "broken": unranked}[form]
    assert contents == expected
    assert ("the reranker is asleep" in caplog.text) is (form == "broken")
    await rag.finalize_storages()


async def test_roles_have_llms_of_their_own(tmp_path: Path) -> None:
    base, extract, keyword, query = (Functions() for _ in range(4))
    rag = open_rag(
        tmp_path,
        base,
        llm_model_kwargs={"temperature": 0},
        role_llm_configs={
            "extract": {"func": extract.llm},
            "keyword": RoleLLMConfig(func=keyword.llm, kwargs={"seed": 7}),
            "query": query.llm,
        },
    )
    await rag.ainsert(TEXT)
    await rag.aquery(QUESTION, QueryParam(mode="local"))
    assert [len(one.calls) > 0 for one in (base, extract, keyword, query)] == [False, True, True, True]
    assert extract.calls[0]["temperature"] == 0 and query.calls[0]["temperature"] == 0
    assert keyword.calls[0]["seed"] == 7 and "temperature" not in keyword.calls[0]
    await rag.finalize_storages()
