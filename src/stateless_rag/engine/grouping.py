"""The engine tells which entities belong together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stateless_rag.checks import identifier, number, optional, whole
from stateless_rag.engine.core import Core

if TYPE_CHECKING:
    from stateless_rag.settings import CommunitySettings
    from stateless_rag.types import Community

__all__ = ["Grouping"]


class Grouping(Core):
    """Communities of entities."""

    async def communities(
        self, *, level: int | None = 0, resolution: float | None = None, limit: int | None = 100
    ) -> list[Community]:
        """Entities that belong together, by Leiden: the communities of a level, largest first, at most `limit`.

        At each level every entity is in one community: level 0 has the coarsest, and what is not divided any further
        belongs to every deeper level too. `level=None` gives those of all levels. The higher the `resolution` (by
        default that of the settings), the smaller they are. They follow from the graph alone, are found when they
        are first asked for, and again after it has changed. Raises InvalidInput, also where graspologic-native is not
        installed.
        """
        from stateless_rag.communities import communities

        optional("level", level, whole)
        optional("limit", limit, whole)
        settings = self._grouped(resolution)
        self._check()
        return await self._workspace.read(lambda snapshot: communities(snapshot, settings, level, limit))

    async def community(self, id: str, *, resolution: float | None = None) -> Community | None:  # noqa: A002
        """The community of an id, None if the graph as it is has none of these members."""
        from stateless_rag.communities import community

        identifier("id", id)
        settings = self._grouped(resolution)
        self._check()
        return await self._workspace.read(lambda snapshot: community(snapshot, settings, id))

    def _grouped(self, resolution: float | None) -> CommunitySettings:
        settings = self._context.settings.communities
        given = optional("resolution", resolution, number, above=0.0, most=1_000.0)
        return settings if given is None else replace(settings, resolution=given)
