"""The engine shows what is there."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from stateless_rag.browsing import (
    labels,
    neighbours,
    popular_labels,
    relation_between,
    search_labels,
    subgraph,
    type_counts,
)
from stateless_rag.checks import identifier, text, whole
from stateless_rag.engine.core import Core
from stateless_rag.listing import Listing, Order, contents, page
from stateless_rag.lookups import document_of, entity_of, relations_of, whole_graph
from stateless_rag.types import (
    DocumentContents,
    DocumentPage,
    DocumentStatus,
    Neighbour,
    Status,
    Subgraph,
)

if TYPE_CHECKING:
    import rustworkx

    from stateless_rag.types import Document, Entity, Relation, WorkspaceInfo

__all__ = ["Looking"]


class Looking(Core):
    """Documents, the graph, and figures."""

    async def describe(self) -> WorkspaceInfo:
        """What the workspace holds and was made with."""
        self._check()
        return await self._store.describe(self.name)

    async def documents(self) -> list[DocumentStatus]:
        """The status of every document, by id."""
        self._check()
        return await self._workspace.documents()

    async def list_documents(
        self,
        *,
        status: Status | str | Collection[Status | str] | None = None,
        source: str | None = None,
        tracking_id: str | None = None,
        where: Mapping[str, Any] | None = None,
        order: Order = "id",
        descending: bool = False,
        offset: int = 0,
        limit: int | None = 100,
    ) -> DocumentPage:
        """Documents by page: those of a status (or several), a source, a tracking id, or a metadata filter.

        `order` is id, source, status, updated_at, characters or chunks; ties are in order of their ids.
        """
        listing = Listing.checked(
            status=status,
            source=source,
            tracking_id=tracking_id,
            where=where,
            order=order,
            descending=descending,
            offset=offset,
            limit=limit,
        )
        documents = await self.documents()
        return await asyncio.to_thread(page, documents, listing)

    async def tracked(self, tracking_id: str) -> list[DocumentStatus]:
        """The documents of a tracking id, by id: where those stand that one insert has brought, and none since.

        As `list_documents` with that tracking id, at a cost that follows their number, not that of all documents.
        """
        self._check()
        return list(await self._workspace.tracked(text("tracking_id", tracking_id)))

    async def document_status(self, document_id: str) -> DocumentStatus | None:
        """Where a document stands, None if there is none of that id."""
        self._check()
        identifier("document_id", document_id)
        return (await self._workspace.statuses([document_id])).get(document_id)

    async def contents(self, document_id: str) -> DocumentContents | None:
        """What was made of a document: its chunks, entities and relations; None if it is not committed."""
        self._check()
        identifier("document_id", document_id)
        return await self._workspace.read_basis(lambda snapshot: contents(snapshot, document_id))

    async def document(self, document_id: str) -> Document | None:
        """A committed document, None if there is none of that id."""
        self._check()
        identifier("document_id", document_id)
        return await self._workspace.read(lambda snapshot: document_of(snapshot, document_id))

    async def entity(self, name: str) -> Entity | None:
        """The entity of that name, aliases applied."""
        self._check()
        text("name", name)
        return await self._workspace.read(lambda snapshot: entity_of(snapshot, name))

    async def relations_of(self, name: str, *, limit: int = 100) -> list[Relation]:
        """The relations of an entity, heaviest first, at most `limit`."""
        self._check()
        text("name", name)
        whole("limit", limit)
        return await self._workspace.read(lambda snapshot: relations_of(snapshot, name, limit))

    async def relation(self, one: str, other: str) -> Relation | None:
        """The relation of two entities, whichever way it is stated; None if there is none."""
        self._check()
        text("one", one)
        text("other", other)
        return await self._workspace.read(lambda snapshot: relation_between(snapshot, one, other))

    async def neighbours(self, name: str, *, limit: int = 100) -> list[Neighbour]:
        """The entities that an entity is related to, the heaviest relation first."""
        self._check()
        text("name", name)
        whole("limit", limit)
        return await self._workspace.read(lambda snapshot: neighbours(snapshot, name, limit))

    async def subgraph(self, name: str, *, depth: int = 3, limit: int = 1000) -> Subgraph:
        """The part of the graph around an entity: breadth first, those with the most relations first.

        `depth` relations far, at most `limit` entities. "*" gives the entities with the most relations of all.
        An unknown name gives an empty part.
        """
        self._check()
        text("name", name)
        whole("depth", depth)
        whole("limit", limit, least=1)
        return await self._workspace.read(lambda snapshot: subgraph(snapshot, name, depth, limit))

    async def labels(self) -> list[str]:
        """The names of all entities, in code point order."""
        self._check()
        return await self._workspace.read(labels)

    async def popular_labels(self, *, limit: int = 300) -> list[str]:
        """The names of the entities with the most relations, ties by name."""
        self._check()
        whole("limit", limit)
        return await self._workspace.read(lambda snapshot: popular_labels(snapshot, limit))

    async def search_labels(self, query: str, *, limit: int = 50) -> list[str]:
        """Names that match: the same, those that begin so, those that hold it, those with a typo; best first."""
        self._check()
        text("query", query)
        whole("limit", limit)
        return await self._workspace.read(lambda snapshot: search_labels(snapshot, query, limit))

    async def type_counts(self) -> Mapping[str, int]:
        """How many entities there are of each type, most first."""
        self._check()
        return await self._workspace.read(type_counts)

    async def graph(self) -> rustworkx.PyGraph[Entity, Relation]:
        """The whole graph with entities and relations as payloads, for algorithms of rustworkx.

        Entities without relations are nodes too.
        """
        self._check()
        return await self._workspace.read(whole_graph)
