"""Answers kept by their idempotency key, so that a request that is sent again does nothing again."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from stateless_rag.checks import identifier
from stateless_rag.server.problems import Refused
from stateless_rag.text import digest

__all__ = ["Keyed", "key_tracking_id"]

Result = TypeVar("Result")
_KEPT = 10_000


def key_tracking_id(workspace: str, key: str) -> str:
    """The tracking id of an insert with an idempotency key: the same for the same key, also after a restart."""
    return f"key-{digest('idempotency', workspace, key)[:24]}"


class Keyed:
    """The last answers, by workspace and key. A key may be used again for the same request only."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, str], tuple[str, asyncio.Future[Any]]] = OrderedDict()

    async def once(
        self, workspace: str, key: str | None, body: str, work: Callable[[], Awaitable[Result]]
    ) -> Result:
        """The answer to a request; of one that was answered before, or is being answered, the same.

        Raises Refused (422) for a key that came with another body.
        """
        if key is None:
            return await work()
        identifier("Idempotency-Key", key)
        said = digest("body", body)
        known = self._answers.get((workspace, key))
        if known is not None:
            if known[0] != said:
                raise Refused(422, "this Idempotency-Key came with another request before; use a new one")
            kept: Result = await asyncio.shield(known[1])  # what `work` has returned
            return kept
        answer: asyncio.Future[Result] = asyncio.ensure_future(work())
        self._answers[workspace, key] = said, answer
        answer.add_done_callback(lambda done: self._answered((workspace, key), done))
        while len(self._answers) > _KEPT:
            self._answers.popitem(last=False)
        return await asyncio.shield(answer)

    def _answered(self, name: tuple[str, str], answer: asyncio.Future[Any]) -> None:
        """What has failed may be tried again, also if nobody waited for it any more."""
        failed = answer.cancelled() or answer.exception() is not None
        if failed and (known := self._answers.get(name)) is not None and known[1] is answer:
            del self._answers[name]

    def forget(self, workspace: str) -> None:
        """The workspace is gone."""
        for name in [name for name in self._answers if name[0] == workspace]:
            del self._answers[name]
