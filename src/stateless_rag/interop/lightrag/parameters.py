"""How a question is asked: LightRAG's QueryParam, and what it becomes here."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stateless_rag.checks import choice, flag, instance, optional, text
from stateless_rag.interop.lightrag.errors import EmptyQueryError, RAGQueryTooShortError
from stateless_rag.settings import QueryOptions

if TYPE_CHECKING:
    from stateless_rag.interop.lightrag.options import Options

__all__ = ["QueryParam", "checked_query", "param_of", "query_options"]

_MODES = ("local", "global", "hybrid", "naive", "mix", "bypass", "walk", "themes")
_SHORTEST = 3


@dataclass
class QueryParam:
    """How a question is asked: LightRAG's names and defaults. `mode` may also be "walk".

    Where a query is given none, top_k and the bounds of tokens are those of the instance.
    """

    mode: str = "mix"
    only_need_context: bool = False
    only_need_prompt: bool = False
    response_type: str = "Multiple Paragraphs"
    stream: bool = False
    top_k: int = 40
    chunk_top_k: int | None = 20
    max_entity_tokens: int = 6000
    max_relation_tokens: int = 8000
    max_total_tokens: int = 30000
    hl_keywords: list[str] = field(default_factory=list)
    ll_keywords: list[str] = field(default_factory=list)
    conversation_history: list[dict[str, str]] = field(default_factory=list)
    user_prompt: str | None = None
    enable_rerank: bool = True
    include_references: bool = False
    disable_user_prompt_prefix: bool = False


def checked_query(query: Any, mode: str) -> str:
    """The question without space around it.

    Raises EmptyQueryError if nothing is left, RAGQueryTooShortError for less than three characters (but in mode
    bypass), where one of Chinese, Japanese or Korean counts as two.
    """
    question = text("query", query).strip()
    if not question:
        raise EmptyQueryError("the query is blank; ask for something")
    if mode != "bypass" and sum(map(_weight, question)) < _SHORTEST:
        raise RAGQueryTooShortError(f"the query {question!r} is too short to look up; ask for more")
    return question


def query_options(
    param: QueryParam | None, options: Options, system_prompt: str | None
) -> tuple[QueryOptions, bool]:
    """The same as options of a query, and whether the answer is to be streamed."""
    given = param_of(options) if param is None else instance("param", param, kind=QueryParam)
    flag("stream", given.stream)
    prefix = None if given.disable_user_prompt_prefix else options.user_prompt_prefix
    template = optional("system_prompt", system_prompt, text)
    if template is not None:
        template = template.replace("{context_data}", "{context}").replace("{content_data}", "{context}")
    return QueryOptions(
        mode=choice("mode", given.mode, among=_MODES),  # type: ignore[arg-type]
        top_k=given.top_k,
        chunk_top_k=given.top_k if given.chunk_top_k is None else given.chunk_top_k,
        max_entity_tokens=given.max_entity_tokens,
        max_relation_tokens=given.max_relation_tokens,
        max_total_tokens=given.max_total_tokens,
        min_similarity=options.least_similarity,
        related_chunks=options.related_chunk_number,
        high_level_keywords=tuple(given.hl_keywords),
        low_level_keywords=tuple(given.ll_keywords),
        history=tuple(given.conversation_history),  # type: ignore[arg-type]  # mappings are taken, too
        response_type=given.response_type,
        user_prompt="\n".join(filter(None, (prefix, given.user_prompt))),
        system_prompt=template,
        only_context=given.only_need_context,
        only_prompt=given.only_need_prompt,
        rerank=given.enable_rerank,
        min_rerank_score=options.min_rerank_score or None,
        cache=options.enable_llm_cache and given.mode != "bypass" and not given.conversation_history,
    ), given.stream


def param_of(options: Options) -> QueryParam:
    """How a question is asked that is given no QueryParam: by the arguments of the instance."""
    return QueryParam(
        top_k=options.top_k,
        chunk_top_k=options.chunk_top_k,
        max_entity_tokens=options.max_entity_tokens,
        max_relation_tokens=options.max_relation_tokens,
        max_total_tokens=options.max_total_tokens,
    )


def _weight(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
