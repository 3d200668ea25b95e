"""Which summaries of communities would be made again of what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stateless_rag.calls import request_digest
from stateless_rag.errors import InvalidInput
from stateless_rag.retrieval.evidence import evidence_of
from stateless_rag.retrieval.plan import Plan
from stateless_rag.retrieval.summaries import summary_request
from stateless_rag.settings import QueryOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stateless_rag.context import Context
    from stateless_rag.protocols import Snapshot
    from stateless_rag.retrieval.evidence import Evidence
    from stateless_rag.stores.duckdb.checking import Inspection
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace

__all__ = ["summaries_left"]

_AT_ONCE = 200  # communities whose rows are read together


async def summaries_left(context: Context, workspace: DuckWorkspace) -> frozenset[str]:
    """The digests of requests for summaries that rest on nothing but what the workspace holds now: of all its
    communities, whatever level they are of, without a filter. Empty if no summary is kept.
    """
    llm = context.llm_for("themes")
    if llm is None or not await workspace.inspect(_kept):
        return frozenset()
    try:
        return await workspace.read(
            lambda snapshot: frozenset(
                request_digest(llm.model, summary_request(context, one)) for one in _all(context, snapshot)
            )
        )
    except InvalidInput:  # communities cannot be found here: then all of the summaries go
        return frozenset()


def _kept(inspection: Inspection) -> bool:
    return any(count for (count,) in inspection.rows("count_replies", False, ["themes"]))


def _all(context: Context, snapshot: Snapshot) -> Iterator[Evidence]:
    settings = context.settings.communities
    partition = snapshot.communities(settings)
    plan = Plan(
        question="",
        options=QueryOptions(mode="themes"),
        prompt="",
        count=context.tokenizer.count,
        communities=settings,
    )
    numbers = range(len(partition))
    for start in range(0, len(numbers), _AT_ONCE):
        shares = dict.fromkeys(numbers[start : start + _AT_ONCE], 0.0)
        yield from (one for one in evidence_of(snapshot, partition, plan, shares) if one.chunks > 1)
