"""How a reranker is reached, by the names that LightRAG's server has for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from stateless_rag.errors import InvalidInput

__all__ = ["RERANK_NAMES", "Reranking", "reranking_of"]

RERANK_NAMES = frozenset({"RERANK_BINDING", "RERANK_MODEL", "RERANK_BINDING_HOST", "RERANK_BINDING_API_KEY"})

_Style = Literal["cohere", "jina", "aliyun"]
_STYLES: tuple[_Style, ...] = ("cohere", "jina", "aliyun")
_MODELS = MappingProxyType(
    {"cohere": "rerank-v3.5", "jina": "jina-reranker-v2-base-multilingual", "aliyun": "gte-rerank-v2"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reranking:
    """A reranking model behind HTTP; `style` says how its server speaks. Without `base_url` it is the style's own."""

    style: _Style
    model: str
    base_url: str | None = None
    api_key: str | None = None


def reranking_of(names: Mapping[str, str]) -> Reranking | None:
    """The reranker that is named; None for none. Raises InvalidInput for a binding that there is not."""
    binding = names.get("RERANK_BINDING", "").strip().lower()
    if binding in ("", "null", "none"):
        return None
    style = next((each for each in _STYLES if each == binding), None)
    if style is None:
        raise InvalidInput(
            f"RERANK_BINDING is {binding[:40]!r}; here it can be {', '.join(_STYLES)}, or a server like one, or null"
        )
    return Reranking(
        style=style,
        model=names.get("RERANK_MODEL", "").strip() or _MODELS[style],
        base_url=names.get("RERANK_BINDING_HOST", "").strip() or None,
        api_key=names.get("RERANK_BINDING_API_KEY", "").strip() or None,
    )
