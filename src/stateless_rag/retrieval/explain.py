"""Explain: why each passage is where it is, read from the trace that the steps have left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stateless_rag.retrieval.retrieve import retrieve
from stateless_rag.retrieval.trace import relation_name
from stateless_rag.types import Edge, Explanation, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stateless_rag.context import Context
    from stateless_rag.protocols import Journal
    from stateless_rag.retrieval.retrieve import Read
    from stateless_rag.settings import QueryOptions
    from stateless_rag.types import Passage, Retrieval, Seed, Trace

__all__ = ["explain", "explanation"]


async def explain(
    context: Context,
    read: Read,
    question: str,
    options: QueryOptions,
    expect: str | None = None,
    *,
    kept: Journal | None = None,
) -> Explanation:
    """Retrieve, and say why each passage was found, and what became of the document `expect`.

    Raises as `retrieve` does.
    """
    return explanation(await retrieve(context, read, question, options, expect=expect, kept=kept))


def explanation(retrieval: Retrieval) -> Explanation:
    """The reasons for each passage of a retrieval, in order."""
    trace = retrieval.trace
    if trace is None:
        return Explanation(retrieval=retrieval, reasons=())
    before = {passage.chunk_id: rank for rank, passage in enumerate(trace.candidates, start=1)}
    reasons = (
        _reason(trace, passage, rank, before.get(passage.chunk_id, rank))
        for rank, passage in enumerate(retrieval.passages, start=1)
    )
    return Explanation(retrieval=retrieval, reasons=tuple(reasons), expected=trace.expected)


def _reason(trace: Trace, passage: Passage, rank: int, before: int) -> Reason:
    chunk = passage.chunk_id
    told = [entity.name for entity in trace.entities if chunk in trace.entity_chunks.get(entity.key, ())]
    stated = [
        relation
        for relation in trace.relations
        if chunk in trace.relation_chunks.get((relation.source_key, relation.target_key), ())
    ]
    named = {("entity", name) for name in told} | {("relation", relation_name(one)) for one in stated}
    scores = {seed.name: seed.score for seed in trace.seeds if seed.kind == "relation"}
    return Reason(
        rank=rank,
        before=before,
        passage=passage,
        seeds=tuple(_leading(trace.seeds, named | {("chunk", chunk)})),
        entities=tuple(told),
        edges=tuple(
            Edge(
                source=relation.source,
                target=relation.target,
                weight=relation.weight,
                score=scores.get(relation_name(relation)),
            )
            for relation in stated
        ),
    )


def _leading(seeds: Iterable[Seed], named: set[tuple[str, str]]) -> Iterable[Seed]:
    return (seed for seed in seeds if (seed.kind, seed.name) in named)
