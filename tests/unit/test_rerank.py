"""Calls of a reranker."""

from __future__ import annotations

from typing import Any

import pytest

from stateless_rag.calls import rerank
from stateless_rag.errors import (
    InvalidInput,
    InvalidReply,
)
from stateless_rag.types import Usage
from unit.scripted import Ranker, idle, make


async def test_ranks_come_best_first_and_cut() -> None:
    context = make(reranker=Ranker([[(2, 0.1), (0, 0.9), (1, 0.9)]]))
    assert await rerank(context, "q", ["a", "b", "c"], 2) == [(0, 0.9), (1, 0.9)]
    assert context.meter.totals() == {"rerank": Usage(1)}
    assert await rerank(context, "q", [], 2) == []
    assert idle(context)


@pytest.mark.parametrize(
    "bad", [[(3, 0.1)], [(-1, 0.1)], [(0, 0.1), (0, 0.2)], [(0, float("nan"))], [(0,)], [(0, "x")], [0], []]
)
async def test_ranks_that_cannot_be_used_are_asked_for_again(bad: Any) -> None:
    assert await rerank(make(reranker=Ranker([bad, [(1, 1.0)]])), "q", [*"abc"], 3) == [(1, 1.0)]
    with pytest.raises(InvalidReply):
        await rerank(make(reranker=Ranker([bad] * 3)), "q", [*"abc"], 3)


async def test_a_context_without_reranker_is_refused() -> None:
    with pytest.raises(InvalidInput):
        await rerank(make(), "q", ["a"], 1)
