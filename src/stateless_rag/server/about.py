"""What `/health` tells of a configuration, by the names that LightRAG's web UI knows. No secrets."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from stateless_rag.providers.http import server_of

if TYPE_CHECKING:
    from stateless_rag.server.configuration import ServerConfiguration
    from stateless_rag.settings import Configuration

__all__ = ["about"]

_OPENAI = "https://api.openai.com/v1"
_ROLES = MappingProxyType({"extract": "extract", "keyword": "keywords", "query": "answer"})


def about(found: ServerConfiguration) -> Mapping[str, Any]:
    """The providers that are reached, and how engines work."""
    engine, embedding, rerank = found.engine, found.embedding, found.reranking
    host = None if rerank is None or rerank.base_url is None else server_of(rerank.base_url)
    return MappingProxyType(
        {
            **_named("llm", found.llm, found.llm.llm_model),
            **_named("embedding", embedding, embedding.embed_model),
            "enable_rerank": rerank is not None and engine.query.rerank,
            "rerank_binding": "null" if rerank is None else rerank.style,
            "rerank_model": None if rerank is None else rerank.model,
            "rerank_binding_host": host,
            "min_rerank_score": engine.query.min_rerank_score or 0.0,
            "llm_timeout": engine.calls.llm_timeout,
            "embedding_timeout": engine.calls.embed_timeout,
            "rerank_timeout": engine.calls.rerank_timeout,
            "summary_language": engine.extraction.language,
            "summary_max_tokens": engine.merging.summary_max_tokens,
            "summary_context_size": engine.merging.summary_context_tokens,
            "force_llm_summary_on_merge": engine.merging.summarize_from,
            "cosine_threshold": engine.query.min_similarity,
            "related_chunk_number": engine.query.related_chunks,
            "role_llm_config": {name: _role(found, ours) for name, ours in _ROLES.items()},
        }
    )


def _role(found: ServerConfiguration, role: str) -> dict[str, Any]:
    chosen = found.roles.get(role, found.llm)
    told = _named("", chosen, chosen.llm_model)
    return {
        "binding": told["_binding"],
        "model": told["_model"],
        "host": told["_binding_host"],
        "is_cross_provider": told["_binding_host"] != _host(found.llm),
        "max_async": found.server.llm_calls,
        "timeout": found.engine.calls.llm_timeout,
    }


def _named(kind: str, reached: Configuration, model: str) -> dict[str, str | None]:
    own = reached.offline or (kind == "embedding" and model == "hashing")
    return {
        f"{kind}_binding": "built-in" if own else "openai",
        f"{kind}_binding_host": None if own else _host(reached),
        f"{kind}_model": "built-in" if own else model,
    }


def _host(reached: Configuration) -> str | None:
    return None if reached.offline else server_of(reached.base_url or _OPENAI)
