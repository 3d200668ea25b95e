"""What one workspace may take: more is answered with 429, and when to come again."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from stateless_rag.server.problems import Refused

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
    from stateless_rag.server.board import Board
    from stateless_rag.server.settings import ServerSettings
    from stateless_rag.types import DocumentStatus

__all__ = ["Quotas"]

_WORKSPACES = 10_000
_DAY = 86_400
_FULL = "30"  # seconds, as clients of LightRAG know it


class Quotas:
    """The quotas of one application."""

    def __init__(self, settings: ServerSettings, board: Board, wall: Callable[[], float]) -> None:
        self._quota = settings.quota
        self._max_pending = settings.max_pending
        self._board = board
        self._wall = wall
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._rooms: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

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

    def tokens(self, workspace: str) -> None:
        """Raise Refused (429) if the workspace has spent its tokens of today."""
        most = self._quota.tokens_per_day
        now = self._wall()
        day = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}"
        if most is not None and self._board.job(workspace).tokens[day] >= most:
            left = str(int(_DAY - now % _DAY) + 1)
            raise _refused(f"{workspace!r} has spent its {most:,} tokens of today", left)

    @asynccontextmanager
    async def room(self, engine: Engine, sizes: Mapping[str, int]) -> AsyncGenerator[None]:
        """Raise Refused (429) if documents of these ids and so many characters would be too much.

        Those that are known are updated, and take the place of what they were. Others who ask for room in the same
        workspace wait until this one has done what it needs it for.
        """
        quota = self._quota
        if not (self._max_pending or quota.documents or quota.characters):
            yield
            return
        async with self._rooms.setdefault(engine.name, asyncio.Lock()):
            self._require_room(await engine.documents(), sizes)
            yield

    def _require_room(self, known: Sequence[DocumentStatus], sizes: Mapping[str, int]) -> None:
        quota = self._quota
        others = [each for each in known if each.id not in sizes]
        waiting = sum(each.status not in ("processed", "failed") for each in others)
        held = sum(each.characters for each in others)
        if self._max_pending and waiting + len(sizes) > self._max_pending:
            raise _refused(f"{waiting} documents wait; at most {self._max_pending} may", _FULL)
        if quota.documents and len(known) < len(others) + len(sizes) > quota.documents:
            raise _refused(f"the workspace has {len(known)} documents; at most {quota.documents} fit", _FULL)
        if quota.characters and held + sum(sizes.values()) > quota.characters:
            raise _refused(f"the workspace has {held:,} characters; at most {quota.characters:,} fit", _FULL)


def _refused(told: str, retry_after: str) -> Refused:
    return Refused(429, f"{told}; try again later, or have the quota raised", {"Retry-After": retry_after})
