"""What a workspace is made with and keeps: opened with anything else, its vectors and keys would not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stateless_rag.errors import WorkspaceMismatch

if TYPE_CHECKING:
    from stateless_rag.context import Context

__all__ = ["made_with", "require_match"]


def made_with(context: Context) -> dict[str, Any]:
    """What is recorded with a workspace that is created in this context."""
    merging = context.settings.merging
    return {
        "embedder": context.embedder.model,
        "tokenizer": context.tokenizer.name,
        "key_policy": merging.key_policy,
        "description_texts": merging.description_texts,
        "relation_keywords": merging.relation_keywords,
    }


def require_match(name: str, info: Mapping[str, Any], context: Context) -> None:
    """Raise WorkspaceMismatch if the record of a workspace differs from the context."""
    for what, value in {**made_with(context), "dimension": context.embedder.dimension}.items():
        recorded = info.get(what)
        if None not in (recorded, value) and recorded != value:
            raise WorkspaceMismatch(
                f"workspace {name!r} was made with {what} {recorded!r}, not {value!r}; open it with that one, "
                "or ingest the documents into a new workspace"
            )
