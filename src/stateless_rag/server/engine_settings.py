"""How engines work, by the names that LightRAG's server has for it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from stateless_rag.server.values import flag_of, number_of, said
from stateless_rag.settings import (
    CallSettings,
    ChunkSettings,
    ExtractSettings,
    MergeSettings,
    QueryOptions,
    Settings,
)

__all__ = ["ENGINE_NAMES", "engine_settings"]

# The fields of each group, and their kinds.
_QUERY = MappingProxyType(
    {
        "TOP_K": ("top_k", int),
        "CHUNK_TOP_K": ("chunk_top_k", int),
        "MAX_ENTITY_TOKENS": ("max_entity_tokens", int),
        "MAX_RELATION_TOKENS": ("max_relation_tokens", int),
        "MAX_TOTAL_TOKENS": ("max_total_tokens", int),
        "RELATED_CHUNK_NUMBER": ("related_chunks", int),
        "COSINE_THRESHOLD": ("min_similarity", float),
    }
)
_CHUNKS = MappingProxyType({"CHUNK_SIZE": ("max_tokens", int), "CHUNK_OVERLAP_SIZE": ("overlap_tokens", int)})
_EXTRACTION = MappingProxyType({"SUMMARY_LANGUAGE": ("language", str), "MAX_GLEANING": ("gleaning", int)})
_MERGING = MappingProxyType(
    {
        "FORCE_LLM_SUMMARY_ON_MERGE": ("summarize_from", int),
        "SUMMARY_MAX_TOKENS": ("summary_max_tokens", int),
        "SUMMARY_CONTEXT_SIZE": ("summary_context_tokens", int),
        "SUMMARY_LENGTH_RECOMMENDED": ("summary_length", int),
    }
)
_CALLS = MappingProxyType(
    {
        "LLM_TIMEOUT": ("llm_timeout", float),
        "EMBEDDING_TIMEOUT": ("embed_timeout", float),
        "RERANK_TIMEOUT": ("rerank_timeout", float),
    }
)
_RERANKED = frozenset({"RERANK_BY_DEFAULT", "MIN_RERANK_SCORE"})

ENGINE_NAMES = frozenset({*_QUERY, *_CHUNKS, *_EXTRACTION, *_MERGING, *_CALLS, *_RERANKED})
"""The variables that are read."""


def engine_settings(names: Mapping[str, str]) -> Settings:
    """The settings that variables say, else those by default. Raises InvalidInput for what cannot be one."""
    query = _fields(names, _QUERY)
    if value := said(names, "RERANK_BY_DEFAULT"):
        query["rerank"] = flag_of("RERANK_BY_DEFAULT", value)
    if value := said(names, "MIN_RERANK_SCORE"):
        query["min_rerank_score"] = number_of("MIN_RERANK_SCORE", value, float) or None  # 0 drops nothing
    return Settings(
        query=QueryOptions(**query),
        chunking=ChunkSettings(**_fields(names, _CHUNKS)),
        extraction=ExtractSettings(**_fields(names, _EXTRACTION)),
        merging=MergeSettings(**_fields(names, _MERGING)),
        calls=CallSettings(**_fields(names, _CALLS)),
    )


def _fields(names: Mapping[str, str], group: Mapping[str, tuple[str, type[Any]]]) -> dict[str, Any]:
    return {
        field: number_of(theirs, value, kind)
        for theirs, (field, kind) in group.items()
        if (value := said(names, theirs))
    }
