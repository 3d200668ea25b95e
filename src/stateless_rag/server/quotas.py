"""What one workspace may take: more is answered with 429, and when to come again."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from stateless_rag.pricing import is_free
from stateless_rag.server.problems import Refused

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
    from stateless_rag.server.settings import ServerSettings
    from stateless_rag.types import DocumentStatus

__all__ = ["Quotas"]

_WORKSPACES = 10_000
_DAY = 86_400
_FULL = "30"  # seconds, as clients of LightRAG know it


class Quotas:
    """The quotas of one application."""

    def __init__(self, settings: ServerSettings, wall: Callable[[], float]) -> None:
        self._quota = settings.quota
        self._max_pending = settings.max_pending
        self._wall = wall
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._rooms: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._coming: dict[str, list[Mapping[str, int]]] = {}

    def request(self, workspace: str) -> None:
        """Count a request. Raises Refused (429) if there were too many in the last minute."""
        most = self._quota.requests_per_minute
        if most is None:
            return
        now = self._wall()
        left, at = self._buckets.get(workspace, (float(most), now))
        left = min(float(most), left + (now - at) * most / 60.0)
        if left < 1.0:
            wait = max(1, int((1.0 - left) * 60.0 / most) + 1)
            raise _refused(f"{workspace!r} may be asked {most} times a minute", str(wait))
        self._buckets[workspace] = (left - 1.0, now)
        self._buckets.move_to_end(workspace)
        while len(self._buckets) > _WORKSPACES:
            self._buckets.popitem(last=False)

    @property
    def bounds_tokens(self) -> bool:
        """Whether the tokens of a day are bounded."""
        return self._quota.tokens_per_day is not None

    @property
    def bounds_room(self) -> bool:
        """Whether what a workspace may hold is bounded."""
        return bool(self._max_pending or self._quota.documents or self._quota.characters)

    async def tokens(self, engine: Engine) -> None:
        """Raise Refused (429) if the workspace has spent its tokens of today, as its ledger tells."""
        most = self._quota.tokens_per_day
        if most is None:
            return
        paid = await engine.paid_today()
        if sum(used.tokens for model, used in paid.items() if not is_free(model)) >= most:
            left = str(int(_DAY - self._wall() % _DAY) + 1)
            raise _refused(f"{engine.name!r} has spent its {most:,} tokens of today", left)

    @asynccontextmanager
    async def room(self, engine: Engine, sizes: Mapping[str, int]) -> AsyncGenerator[None]:
        """Raise Refused (429) if documents of these ids and so many characters would be too much.

        Those that are known are updated, and take the place of what they were. Others who ask for room in the same
        workspace wait until this one has done what it needs it for, which should be short.
        """
        if not self.bounds_room:
            yield
            return
        async with self._rooms.setdefault(engine.name, asyncio.Lock()):
            self._require_room(engine.name, await engine.documents(), sizes)
            yield

    @asynccontextmanager
    async def reserved(self, engine: Engine, sizes: Mapping[str, int]) -> AsyncGenerator[None]:
        """As `room`, for what takes long: others need not wait, and meanwhile what is asked for counts for them."""
        async with self.room(engine, sizes):
            coming = self._coming.setdefault(engine.name, [])
            coming.append(sizes)
        try:
            yield
        finally:
            coming.remove(sizes)
            if not coming:
                self._coming.pop(engine.name, None)

    def _require_room(self, name: str, known: Sequence[DocumentStatus], sizes: Mapping[str, int]) -> None:
        quota = self._quota
        there = {each.id: each.characters for each in known}
        for coming in self._coming.get(name, ()):
            there |= coming
        settled = {each.id for each in known if each.status in ("processed", "failed")}
        waiting = len(there.keys() - settled - sizes.keys())
        after = {**there, **sizes}
        if self._max_pending and waiting + len(sizes) > self._max_pending:
            raise _refused(f"{waiting} documents wait; at most {self._max_pending} may", _FULL)
        if quota.documents and len(there) < len(after) > quota.documents:
            raise _refused(f"the workspace has {len(there)} documents; at most {quota.documents} fit", _FULL)
        if quota.characters and sum(after.values()) > quota.characters:
            held = sum(size for id_, size in there.items() if id_ not in sizes)
            raise _refused(f"the workspace has {held:,} characters; at most {quota.characters:,} fit", _FULL)


def _refused(told: str, retry_after: str) -> Refused:
    return Refused(429, f"{told}; try again later, or have the quota raised", {"Retry-After": retry_after})
