"""Rerank: the passages that search found, ranked anew by a model that reads question and passage together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stateless_rag import calls
from stateless_rag.errors import ProviderError
from stateless_rag.types import Dropped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stateless_rag.context import Context
    from stateless_rag.settings import QueryOptions
    from stateless_rag.types import Passage

__all__ = ["Reranked", "reranked", "reranks"]


@dataclass(frozen=True, slots=True)
class Reranked:
    """The passages that are left, best first, what was dropped, and notes on what fell back."""

    passages: Sequence[Passage]
    dropped: tuple[Dropped, ...] = ()
    notes: tuple[str, ...] = ()


def reranks(context: Context, options: QueryOptions) -> bool:
    """Whether there is a reranker and the caller wants it. Mode themes has an order of its own, across communities."""
    return options.rerank and context.reranker is not None and options.mode != "themes"


async def reranked(
    context: Context, question: str, options: QueryOptions, passages: Sequence[Passage]
) -> Reranked:
    """The best `chunk_top_k` passages by the reranker's scores, without those below `min_rerank_score`.

    Where the reranker fails and `on_provider_error` is "degrade", the passages stay as they are, whatever their
    score would have been; else its ProviderError is raised.
    """
    if not passages or not reranks(context, options):
        return Reranked(passages)
    context.emit("reranking", total=len(passages))
    texts = [passage.text for passage in passages]
    try:
        ranks = await calls.rerank(context, question, texts, min(options.chunk_top_k, len(texts)))
    except ProviderError as error:
        if options.on_provider_error == "raise":
            raise
        return Reranked(passages, notes=(f"rerank: left out ({type(error).__name__}: {error})",))
    scored = [replace(passages[index], score=score) for index, score in ranks]
    least = options.min_rerank_score
    good = [passage for passage in scored if least is None or passage.score >= least]
    ranked = {index for index, _ in ranks}
    unranked = [passage for index, passage in enumerate(passages) if index not in ranked]
    dropped = (
        Dropped(step="rerank", passages=tuple(unranked)),
        Dropped(step="min_rerank_score", passages=tuple(scored[len(good) :])),
    )
    return Reranked(good, tuple(drop for drop in dropped if drop.passages))
