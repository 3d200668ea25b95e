"""The drop-in façade: its arguments, and functions written for LightRAG as providers."""

from __future__ import annotations

import functools
import inspect
import re
import warnings
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stateless_rag import interop
from stateless_rag.errors import InvalidInput, InvalidReply, StatelessRagError
from stateless_rag.interop.lightrag import (
    EmbeddingFunc,
    LightRAG,
    NotSupported,
    QueryParam,
    RoleLLMConfig,
)
from stateless_rag.interop.lightrag import errors as facade_errors
from stateless_rag.interop.lightrag.cutting import tokenizer_of
from stateless_rag.interop.lightrag.documents import Documents, document_id_of, documents_of
from stateless_rag.interop.lightrag.mapping import engine_arguments
from stateless_rag.interop.lightrag.options import Options
from stateless_rag.interop.lightrag.providers import embedder_of, llm_of, name_of, reranker_of
from stateless_rag.protocols import LLMRequest
from stateless_rag.providers import O200kTokenizer
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM, DeterministicReranker
from stateless_rag.types import Message

PROJECT = Path(__file__).parents[2]


async def answer(prompt: str, **_: Any) -> str:
    return f"<think>hm</think>{prompt}"


async def embed(texts: list[str]) -> Any:
    return np.ones((len(texts), 4))


def made(**arguments: Any) -> Options:
    return Options(**{"llm_model_func": answer, "embedding_func": EmbeddingFunc(4, embed), **arguments})


# ---- arguments -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"llm_model_func": None}, "llm_model_func"),
        ({"llm_model_func": "gpt"}, "llm"),
        ({"embedding_func": None}, "embedding_func"),
        ({"embedding_func": 5}, "embedding_func"),
        ({"rerank_model_func": "cohere"}, "rerank_model_func"),
        ({"pipeline_scheduling_page_size": -1}, "pipeline_scheduling_page_size"),
        ({"max_pending_documents": -1}, "max_pending_documents"),
        ({"embedding_chunk_overlap_token_size": -1}, "embedding_chunk_overlap_token_size"),
        ({"llm_model_max_async": 0}, "llm_model_max_async"),
        ({"role_llm_configs": {"painter": {}}}, "painter"),
        ({"role_llm_configs": {"query": {"colour": "red"}}}, "colour"),
        ({"role_llm_configs": {"query": 5}}, "role_llm_configs"),
        ({"chunk_token_size": 0}, "chunk_token_size"),
        ({"chunk_token_size": 10, "chunk_overlap_token_size": 10}, "overlap"),
        ({"tokenizer": object()}, "tokenizer"),
        ({"cosine_better_than_threshold": 3}, "cosine_better_than_threshold"),
        ({"vector_db_storage_cls_kwargs": {"cosine_better_than_threshold": "x"}}, "cosine_better"),
        ({"addon_params": {"chunker": {"semantic_vector": {}}}}, "semantic_vector"),
        ({"addon_params": "English"}, "addon_params"),
        ({"working_dir": " "}, "working_dir"),
        ({"store": "a store"}, "store"),
        ({"workspace": "one", "namespace_prefix": "two"}, "namespace_prefix"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_arguments_that_cannot_be_used(arguments: dict[str, Any], named: str, tmp_path: Path) -> None:
    folder = {"working_dir": tmp_path / "made", **arguments}
    with pytest.raises(ValueError, match=named):
        LightRAG(**{"llm_model_func": answer, "embedding_func": EmbeddingFunc(4, embed), **folder})
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kv_storage", "RedisKVStorage"),
        ("vector_storage", "MilvusVectorDBStorage"),
        ("graph_storage", "Neo4JStorage"),
        ("doc_status_storage", "PGDocStatusStorage"),
        ("vlm_process_enable", True),
        ("addon_params", {"entity_type_prompt_file": "x.yml"}),
    ],
)
def test_what_is_not_supported_says_so_at_construction(name: str, value: Any) -> None:
    with pytest.raises(NotSupported, match=name):
        made(**{name: value})


@pytest.mark.parametrize(
    ("arguments", "kind", "told"),
    [
        ({"namespace_prefix": "w"}, DeprecationWarning, "workspace"),
        ({"log_level": "DEBUG"}, DeprecationWarning, "log_level"),
        ({"log_file_path": "x.log"}, DeprecationWarning, "log_file_path"),
        ({"auto_manage_storages_states": True}, DeprecationWarning, "first use"),
        ({"tiktoken_model_name": "gpt-4"}, UserWarning, "o200k_base"),
        ({"kg_chunk_pick_method": "WEIGHT"}, UserWarning, "kg_chunk_pick_method"),
        ({"embedding_cache_config": {"enabled": True}}, UserWarning, "embedding_cache_config"),
        ({"enable_llm_cache_for_entity_extract": False}, UserWarning, "enable_llm_cache_for"),
        ({"addon_params": {"example_number": 1}}, UserWarning, "example_number"),
        ({"role_llm_configs": {"vlm": {}}}, UserWarning, "vlm"),
        ({"role_llm_configs": {"query": RoleLLMConfig(max_async=2)}}, UserWarning, "max_async"),
        ({"force_llm_summary_on_merge": 2}, UserWarning, "force_llm_summary_on_merge"),
        ({"summary_context_size": 50_000}, UserWarning, "summary_context_size"),
        ({"summary_length_recommended": 5_000}, UserWarning, "summary_length_recommended"),
    ],
)
def test_what_has_no_effect_is_told(arguments: dict[str, Any], kind: type[Warning], told: str) -> None:
    with pytest.warns(kind, match=told) as caught:
        options = made(**arguments)
    assert len(caught) == 1
    if "namespace_prefix" in arguments:
        assert options.workspace == "w"


def test_the_warning_points_to_the_caller(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning) as caught:
        LightRAG(
            tmp_path, llm_model_func=answer, embedding_func=EmbeddingFunc(4, embed), namespace_prefix="w"
        )
    assert caught[0].filename == __file__


def test_usual_arguments_are_quiet() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made(tiktoken_model_name="gpt-4o", vector_storage="FaissVectorDBStorage", max_parallel_insert=8)
    assert caught == []


def test_arguments_become_settings() -> None:
    options = made(
        chunk_token_size=300,
        chunk_overlap_token_size=30,
        entity_extract_max_gleaning=0,
        entity_extract_max_records=7,
        entity_extract_max_entities=5,
        entity_extraction_use_json=True,
        force_llm_summary_on_merge=4,
        summary_max_tokens=900,
        summary_context_size=9000,
        summary_length_recommended=400,
        default_llm_timeout=11,
        default_embedding_timeout=12,
        default_rerank_timeout=13,
        llm_model_max_async=3,
        embedding_func_max_async=5,
        rerank_model_max_async=2,
        embedding_batch_num=6,
        addon_params={"language": "German", "entity_types": ["Ship", "Port"]},
        llm_model_name="big",
    )
    arguments = engine_arguments(options)
    settings, limits = arguments["settings"], arguments["limits"]
    chunking, extraction, merging = settings.chunking, settings.extraction, settings.merging
    assert (chunking.strategy, chunking.max_tokens, chunking.overlap_tokens) == ("tokens", 300, 30)
    assert (extraction.gleaning, extraction.max_records, extraction.max_entities) == (0, 7, 5)
    assert (extraction.format, extraction.language) == ("json", "German")
    assert extraction.entity_types == ("Ship", "Port")
    assert (merging.summarize_from, merging.summary_max_tokens) == (4, 900)
    assert (merging.summary_context_tokens, merging.summary_length) == (9000, 400)
    calls = settings.calls
    assert (calls.llm_timeout, calls.embed_timeout, calls.rerank_timeout) == (11, 12, 13)
    assert [limits.capacity(kind) for kind in ("llm", "embedder", "reranker")] == [3, 5, 2]
    assert (arguments["embedder"].max_batch, arguments["llm"].model) == (6, "big")


def test_other_ways_to_say_it() -> None:
    chunker = {
        "chunk_token_size": 50,
        "fixed_token": {"chunk_overlap_token_size": 5, "split_by_character": "#"},
    }
    options = made(
        addon_params={"entity_types_guidance": "Ships, and who sails them", "chunker": chunker},
        vector_db_storage_cls_kwargs={"cosine_better_than_threshold": 0.4},
        chunk_token_size=999,
    )
    settings = engine_arguments(options)["settings"]
    assert settings.extraction.entity_types == ("Ships, and who sails them",)
    assert (settings.chunking.max_tokens, settings.chunking.overlap_tokens) == (50, 5)
    assert (settings.chunking.strategy, settings.chunking.separator) == ("separator", "#")
    assert options.least_similarity == 0.4


def test_errors_have_their_place_in_the_tree() -> None:
    for name in facade_errors.__all__:
        error = getattr(facade_errors, name)
        assert issubclass(error, StatelessRagError) and error.__doc__
    for error in (facade_errors.EmptyQueryError, facade_errors.RAGQueryTooShortError):
        assert issubclass(error, ValueError)


def test_every_method_has_its_twin() -> None:
    only_async = {
        "apipeline_enqueue_documents",
        "apipeline_process_enqueue_documents",
        "apipeline_reset_failed_for_scan",
        "apipeline_enqueue_error_documents",
        "arollback_failed_custom_chunk_patches",
        "aget_docs_by_ids",
        "aget_docs_by_track_id",
        "adelete_by_doc_id",
    }
    names = {name for name, _ in inspect.getmembers(LightRAG, inspect.iscoroutinefunction)}
    prefixed = {name for name in names if name.startswith("a")} - only_async
    for name in prefixed:
        own, twin = inspect.signature(getattr(LightRAG, name)), inspect.signature(getattr(LightRAG, name[1:]))
        expected = set(own.parameters) - {"progress_callback"}
        assert expected == set(twin.parameters), name
    assert len(prefixed) > 15


def test_the_guide_tells_what_becomes_of_every_argument() -> None:
    page = (PROJECT / "docs" / "coming-from-lightrag.md").read_text(encoding="utf-8")
    table = page[page.index("| what becomes of it |") :].split("\n\n", 1)[0]
    told = re.findall(r"`(\w+)`", "".join(line.split("|")[2] for line in table.splitlines()[2:]))
    expected = Counter(field.name for field in fields(LightRAG))
    assert Counter(told) - expected == {"cosine_better_than_threshold": 1}, "told of twice"
    assert not expected - Counter(told)


def test_positional_arguments_of_a_query_param() -> None:
    param = QueryParam("local", True, False, "One word", True, 5, None)
    assert (param.mode, param.only_need_context, param.stream, param.top_k) == ("local", True, True, 5)
    assert param.chunk_top_k is None and QueryParam().mode == "mix"


# ---- documents -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "ids", "paths", "expected"),
    [
        ("Ada", None, None, [document_id_of("Ada")]),
        (" Ada &amp; Bob ", None, None, [document_id_of("Ada & Bob")]),
        (["Ada", "Bob"], ["1", "2"], None, ["1", "2"]),
        (["Ada", "Ada"], None, None, [document_id_of("Ada")]),
        ("Ada", None, "x.txt", [document_id_of("x.txt")]),
        ("Ada", "1", "x.txt", ["1"]),
        (
            ["Ada", "Bob"],
            None,
            ["a/x.txt", "b/x.txt"],
            [document_id_of("a/x.txt"), document_id_of("b/x.txt")],
        ),
        (["Ada", "Bob"], None, ["x.txt", "x.txt"], [document_id_of("Ada"), document_id_of("Bob")]),
        (["Ada", "Ada"], None, ["x.txt", "x.txt"], [document_id_of("x.txt")]),
        ("Ada", None, "unknown_source", [document_id_of("Ada")]),
        ([], None, None, []),
    ],
)
def test_ids_of_documents(texts: Any, ids: Any, paths: Any, expected: list[str]) -> None:
    documents = documents_of(texts, ids, paths)
    assert [document.id for document in documents] == expected
    assert document_id_of("Ada") == "doc-1a382809b7c03f686e12dd15677c5497"  # md5sum of it
    if paths == "unknown_source":
        assert documents[0].source is None


def test_documents_is_a_part_of_the_class() -> None:
    assert issubclass(LightRAG, Documents) and "ImportReport" in interop.__all__


# ---- the LLM -------------------------------------------------------------------------------------------

ASKED = LLMRequest(prompt="P", system="S", history=(Message("user", "H"),), purpose="answer")


async def asked(function: Any, request: LLMRequest = ASKED, **options: Any) -> str:
    return (await llm_of(function, model=None, **options).complete(request)).text


async def test_functions_are_given_what_they_take() -> None:
    seen: dict[str, Any] = {}

    async def everything(
        prompt: str, system_prompt: Any = None, history_messages: Any = (), **kwargs: Any
    ) -> str:
        seen.update(prompt=prompt, system=system_prompt, history=list(history_messages), **kwargs)
        return "ok"

    assert await asked(everything, keywords={"temperature": 0}, configuration={"llm_model_name": "m"}) == "ok"
    assert (seen["prompt"], seen["system"]) == ("P", "S")
    assert seen["history"] == [{"role": "user", "content": "H"}]
    assert seen["enable_cot"] is True and seen["temperature"] == 0 and "stream" not in seen
    assert seen["hashing_kv"].global_config["llm_model_name"] == "m"
    seen.clear()
    await asked(everything, LLMRequest(prompt="P", json=True, purpose="keywords"))
    assert seen["response_format"] == {"type": "json_object"} and "enable_cot" not in seen


async def test_what_a_function_does_not_take_stands_before_the_prompt() -> None:
    async def plain(prompt: str) -> str:
        return prompt

    async def older(prompt: str, system_prompt: Any = None, keyword_extraction: bool = False) -> str:
        return f"{keyword_extraction}"

    assert await asked(plain) == "S\n\nuser: H\n\nP"
    assert await asked(older) == "False"
    assert await asked(older, LLMRequest(prompt="P", json=True, purpose="keywords")) == "True"
    assert await asked(lambda prompt, **kwargs: plain(prompt), LLMRequest(prompt="P")) == "P"
    assert await asked(functools.partial(answer, seed=1), LLMRequest(prompt="P")) == "P"


async def test_streaming_functions() -> None:
    async def pieces(prompt: str, stream: bool = False, **_: Any) -> Any:
        async def each() -> AsyncIterator[str]:
            for piece in ("<think>hm</think>", "one ", "two"):
                yield piece

        return each() if stream else "whole"

    llm = llm_of(pieces, model="m")
    assert [part.text async for part in llm.stream(ASKED) if part.text] == ["one ", "two"]
    assert (await llm.complete(ASKED)).text == "whole" and llm.model == "m"
    told = [part async for part in llm_of(answer, model=None).stream(LLMRequest(prompt="P"))]
    assert "".join(part.text for part in told) == "P"


async def test_a_role_may_have_less_time() -> None:
    import asyncio

    async def slow(prompt: str) -> str:
        await asyncio.sleep(10)
        return prompt

    with pytest.raises(TimeoutError):
        await asked(slow, timeout=0.01)


def test_providers_of_ours_are_taken_as_they_are() -> None:
    llm, embedder, reranker = DeterministicLLM(), DeterministicEmbedder(), DeterministicReranker()
    assert llm_of(llm, model=None) is llm and embedder_of(embedder, max_batch=3) is embedder
    assert reranker_of(reranker) is reranker and reranker_of(None) is None


@pytest.mark.parametrize(
    ("function", "name"),
    [(answer, "answer"), (functools.partial(answer, x=1), "answer"), (lambda: None, "otherwise")],
)
def test_names_of_functions(function: Any, name: str) -> None:
    assert name_of(function, "otherwise") == name


# ---- the embedder --------------------------------------------------------------------------------------


async def test_embedding_functions() -> None:
    seen: list[dict[str, Any]] = []

    async def noting(texts: list[str], **kwargs: Any) -> Any:
        seen.append(kwargs)
        return np.ones((len(texts), 4))

    plain = embedder_of(EmbeddingFunc(4, noting, 100, model_name="e5"), max_batch=7)
    assert (plain.model, plain.dimension, plain.max_tokens, plain.max_batch) == ("e5", 4, 100, 7)
    assert (await plain.embed(["a", "b"], role="query")).vectors.shape == (2, 4)
    asymmetric = EmbeddingFunc(4, noting, supports_asymmetric=True, send_dimensions=True)
    await embedder_of(asymmetric, max_batch=7).embed(["a"], role="query")
    assert seen == [{}, {"context": "query", "embedding_dim": 4}]
    assert (await asymmetric(["a"])).dtype == np.float32 and seen[-1]["context"] == "document"
    assert embedder_of(EmbeddingFunc(4, lambda texts: embed(texts)), max_batch=1).model == "embedding_func"


@pytest.mark.parametrize("answered", [np.ones((1, 3)), np.ones((2, 4)), np.ones(4), [["x"] * 4], None])
async def test_embeddings_of_another_shape(answered: Any) -> None:
    async def wrong(texts: list[str]) -> Any:
        return answered

    with pytest.raises(InvalidReply, match="embedding_func"):
        await EmbeddingFunc(4, wrong)(["a"])


@pytest.mark.parametrize(
    "arguments", [{"embedding_dim": 0}, {"func": None}, {"max_token_size": 0}, {"send_dimensions": 1}]
)
def test_bad_embedding_functions(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        EmbeddingFunc(**{"embedding_dim": 4, "func": embed, **arguments})


# ---- the reranker --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ([{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}], [(1, 0.9), (0, 0.1)]),
        ([{"index": 1, "score": 1}], [(1, 1.0)]),
        ([{"index": 9, "relevance_score": 1.0}, {"index": 0}, None, {"index": 0, "score": 2.0}], [(0, 2.0)]),
        ([{"index": 0, "score": 2.0}, {"index": 0, "score": 1.0}], [(0, 2.0)]),
        (["b", "a"], [(1, 1.0), (0, 0.5)]),
        ([{"content": "b"}], [(1, 1.0)]),
        ([], []),
    ],
)
async def test_rerankers(returned: list[Any], expected: list[tuple[int, float]]) -> None:
    async def rerank(query: str, documents: list[str], top_n: int | None = None) -> Any:
        assert (query, documents, top_n) == ("q", ["a", "b"], 2)
        return returned

    reranker = reranker_of(rerank)
    assert reranker is not None and reranker.model == "rerank"
    assert await reranker.rerank("q", ["a", "b"], top_n=2) == expected


async def test_what_is_no_ranking() -> None:
    async def rerank(**_: Any) -> Any:
        return "b, a"

    reranker = reranker_of(rerank)
    assert reranker is not None
    with pytest.raises(InvalidReply, match="rerank"):
        await reranker.rerank("q", ["a"], top_n=1)


# ---- tokenizers ----------------------------------------------------------------------------------------


class Bytes:
    """Bytes as tokens."""

    def encode(self, content: str) -> list[int]:
        return list(content.encode())

    def decode(self, tokens: list[int]) -> str:
        return bytes(tokens).decode(errors="replace")


@pytest.mark.parametrize("text", ["", "abc", "añb", "中文!", "a�b", "🙂x"])
def test_tokens_begin_at_their_characters(text: str) -> None:
    tokenizer = tokenizer_of(Bytes())
    expected = [place for place, character in enumerate(text) for _ in character.encode()]
    assert list(tokenizer.offsets(text)) == expected
    assert (tokenizer.count(text), tokenizer.name) == (len(text.encode()), "Bytes")
    own = O200kTokenizer()
    assert tokenizer_of(own) is own
