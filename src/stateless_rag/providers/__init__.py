"""Providers: LLMs, embedders, rerankers and tokenizers. Each name is loaded when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stateless_rag.providers.absent import AbsentEmbedder
    from stateless_rag.providers.callables import as_embedder, as_llm, as_reranker
    from stateless_rag.providers.cooccurrence import CooccurrenceExtractor
    from stateless_rag.providers.embedder import TextEmbedder
    from stateless_rag.providers.hashing import HashingEmbedder
    from stateless_rag.providers.local import FastEmbedder, FastReranker
    from stateless_rag.providers.openai import OpenAIEmbedder, OpenAILLM
    from stateless_rag.providers.rerank import HTTPReranker
    from stateless_rag.providers.tokenizer import O200kTokenizer

__all__ = [
    "AbsentEmbedder",
    "CooccurrenceExtractor",
    "FastEmbedder",
    "FastReranker",
    "HTTPReranker",
    "HashingEmbedder",
    "O200kTokenizer",
    "OpenAIEmbedder",
    "OpenAILLM",
    "TextEmbedder",
    "as_embedder",
    "as_llm",
    "as_reranker",
]

_HOMES = MappingProxyType(
    {
        "AbsentEmbedder": "absent",
        "CooccurrenceExtractor": "cooccurrence",
        "FastEmbedder": "local",
        "FastReranker": "local",
        "HTTPReranker": "rerank",
        "HashingEmbedder": "hashing",
        "O200kTokenizer": "tokenizer",
        "OpenAIEmbedder": "openai",
        "OpenAILLM": "openai",
        "TextEmbedder": "embedder",
        "as_embedder": "callables",
        "as_llm": "callables",
        "as_reranker": "callables",
    }
)


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    home = _HOMES.get(name)
    if home is None:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return list(__all__)
