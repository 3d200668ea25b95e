"""The graph of a server's workspace: looking at it, and changing it by hand."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from stateless_rag.checks import identifiers
from stateless_rag.errors import ServerError
from stateless_rag.types import Community, Curated, Curation, Duplicate, Entity, Subgraph

if TYPE_CHECKING:
    from stateless_rag.client.wire import Wire

__all__ = ["RemoteCurating"]

Value = TypeVar("Value")

_MOST = 10_000_000


class RemoteCurating:
    """What the library's engine has for the graph, under the same names."""

    def __init__(self, wire: Wire, at: str) -> None:
        self._wire = wire
        self._at = at
        self._graph = f"{at}/graph"

    # ---- looking ---------------------------------------------------------------------------------------

    async def labels(self) -> list[str]:
        """As `Engine.labels`."""
        return await self._wire.get(list[str], f"{self._graph}/labels", limit=_MOST)

    async def popular_labels(self, *, limit: int = 300) -> list[str]:
        """As `Engine.popular_labels`."""
        return await self._wire.get(list[str], f"{self._graph}/labels", order="relations", limit=limit)

    async def search_labels(self, query: str, *, limit: int = 50) -> list[str]:
        """As `Engine.search_labels`."""
        return await self._wire.get(list[str], f"{self._graph}/labels", search=query, limit=limit)

    async def type_counts(self) -> Mapping[str, int]:
        """As `Engine.type_counts`."""
        return await self._wire.get(Mapping[str, int], f"{self._graph}/types")  # type: ignore[type-abstract]

    async def subgraph(self, name: str, *, depth: int = 3, limit: int = 1000) -> Subgraph:
        """As `Engine.subgraph`."""
        return await self._wire.get(Subgraph, f"{self._graph}/subgraph", name=name, depth=depth, limit=limit)

    async def entity(self, name: str) -> Entity | None:
        """As `Engine.entity`."""
        return await self._get_or_none(Entity, f"{self._graph}/entity", name=name)

    async def communities(
        self, *, level: int | None = 0, resolution: float | None = None, limit: int | None = 100
    ) -> list[Community]:
        """As `Engine.communities`, of one level."""
        path = f"{self._graph}/communities"
        return await self._wire.get(list[Community], path, level=level, resolution=resolution, limit=limit)

    async def community(self, id: str, *, resolution: float | None = None) -> Community | None:  # noqa: A002
        """As `Engine.community`."""
        path = f"{self._graph}/communities/{quote(id, safe='')}"
        return await self._get_or_none(Community, path, resolution=resolution)

    async def _get_or_none(self, kind: type[Value], path: str, **params: Any) -> Value | None:
        try:
            return await self._wire.get(kind, path, **params)
        except ServerError as error:
            if error.status == 404:
                return None
            raise

    # ---- entities --------------------------------------------------------------------------------------

    async def create_entity(
        self,
        name: str,
        *,
        type: str | None = None,  # noqa: A002
        description: str | None = None,
    ) -> Curated:
        """As `Engine.create_entity`."""
        body = {"name": name, "type": type, "description": description}
        return await self._wire.post(Curated, f"{self._graph}/entity", body)

    async def edit_entity(
        self,
        name: str,
        *,
        type: str | None = None,  # noqa: A002
        description: str | None = None,
    ) -> Curated:
        """As `Engine.edit_entity`."""
        body = {"type": type, "description": description}
        return await self._wire.patch(Curated, f"{self._graph}/entity", body, name=name)

    async def rename_entity(self, name: str, new_name: str) -> Curated:
        """As `Engine.rename_entity`."""
        return await self._wire.patch(Curated, f"{self._graph}/entity", {"name": new_name}, name=name)

    async def merge_entities(
        self,
        sources: Collection[str] | str,
        target: str,
        *,
        type: str | None = None,  # noqa: A002
        description: str | None = None,
    ) -> Curated:
        """As `Engine.merge_entities`."""
        named = list(identifiers("sources", sources))
        body = {"sources": named, "target": target, "type": type, "description": description}
        return await self._wire.post(Curated, f"{self._graph}/merge", body)

    async def delete_entity(self, name: str) -> Curated:
        """As `Engine.delete_entity`."""
        return await self._wire.delete(Curated, f"{self._graph}/entity", name=name)

    # ---- relations -------------------------------------------------------------------------------------

    async def create_relation(
        self,
        source: str,
        target: str,
        *,
        keywords: Collection[str] | str | None = None,
        description: str | None = None,
        weight: float | None = None,
    ) -> Curated:
        """As `Engine.create_relation`."""
        body = _relation(source, target, keywords, description, weight)
        return await self._wire.post(Curated, f"{self._graph}/relation", body)

    async def edit_relation(
        self,
        source: str,
        target: str,
        *,
        keywords: Collection[str] | str | None = None,
        description: str | None = None,
        weight: float | None = None,
    ) -> Curated:
        """As `Engine.edit_relation`."""
        body = _relation(source, target, keywords, description, weight)
        return await self._wire.patch(Curated, f"{self._graph}/relation", body)

    async def delete_relation(self, source: str, target: str) -> Curated:
        """As `Engine.delete_relation`."""
        return await self._wire.delete(Curated, f"{self._graph}/relation", source=source, target=target)

    # ---- the log ---------------------------------------------------------------------------------------

    async def alias(self, name: str, target: str | None) -> int:
        """As `Engine.alias`."""
        body = {"name": name, "target": target}
        told = await self._wire.ask("POST", f"{self._graph}/aliases", json=body)
        return int(told["revision"])

    async def aliases(self) -> Mapping[str, str]:
        """As `Engine.aliases`."""
        return await self._wire.get(Mapping[str, str], f"{self._graph}/aliases")  # type: ignore[type-abstract]

    async def undo(self, number: int) -> Curated:
        """As `Engine.undo`."""
        return await self._wire.post(Curated, f"{self._graph}/changes/undo", {"number": number})

    async def history(self, name: str | None = None, *, limit: int = 100) -> list[Curation]:
        """As `Engine.history`."""
        return await self._wire.get(list[Curation], f"{self._graph}/changes", name=name, limit=limit)

    # ---- duplicates ------------------------------------------------------------------------------------

    async def propose_duplicates(
        self, *, least: float = 0.75, limit: int = 1000, ask_llm: bool = False
    ) -> list[Duplicate]:
        """As `Engine.propose_duplicates`."""
        body = {"least": least, "limit": limit, "ask_llm": ask_llm}
        return await self._wire.post(list[Duplicate], f"{self._graph}/duplicates", body)

    async def apply_duplicate(self, duplicate: Duplicate) -> Curated:
        """As `Engine.apply_duplicate`."""
        pair = {"source": duplicate.source, "target": duplicate.target}
        return await self._wire.post(Curated, f"{self._graph}/duplicates/apply", pair)

    async def reject_duplicate(self, duplicate: Duplicate) -> Curated:
        """As `Engine.reject_duplicate`."""
        pair = {"source": duplicate.source, "target": duplicate.target}
        return await self._wire.post(Curated, f"{self._graph}/duplicates/reject", pair)


def _relation(
    source: str, target: str, keywords: Any, description: str | None, weight: float | None
) -> dict[str, Any]:
    words = keywords if keywords is None else [keywords] if isinstance(keywords, str) else list(keywords)
    return {
        "source": source,
        "target": target,
        "keywords": words,
        "description": description,
        "weight": weight,
    }
