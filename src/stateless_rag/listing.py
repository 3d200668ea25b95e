"""Listing documents, and what was made of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

from stateless_rag.checks import choice, flag, optional, text, whole
from stateless_rag.errors import InvalidInput
from stateless_rag.filters import MetadataFilter, checked_filter
from stateless_rag.text import relation_key, stable_id
from stateless_rag.types import DocumentContents, DocumentPage, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from stateless_rag.protocols import Basis
    from stateless_rag.types import DocumentStatus

__all__ = ["Listing", "Order", "contents", "page"]

Order = Literal["id", "source", "status", "updated_at", "characters", "chunks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Which documents are listed, and how. Raises InvalidInput for values that are none of these."""

    status: Collection[Status] | None = None
    source: str | None = None
    tracking_id: str | None = None
    where: MetadataFilter | None = None
    order: Order = "id"
    descending: bool = False
    offset: int = 0
    limit: int | None = None

    @classmethod
    def checked(
        cls,
        *,
        status: Status | str | Collection[Status | str] | None,
        source: str | None,
        tracking_id: str | None,
        where: Mapping[str, Any] | None,
        order: str,
        descending: bool,
        offset: int,
        limit: int | None,
    ) -> Listing:
        """From what a caller gives."""
        wanted = [status] if isinstance(status, str) else status
        try:
            statuses = None if wanted is None else frozenset(map(Status, wanted))
        except (ValueError, TypeError):
            raise InvalidInput(f"status is {status!r:.80}; there are {', '.join(Status)}") from None
        return cls(
            status=statuses,
            source=optional("source", source, text),
            tracking_id=optional("tracking_id", tracking_id, text),
            where=checked_filter("where", where),
            order=choice("order", order, among=get_args(Order)),  # type: ignore[arg-type]
            descending=flag("descending", descending),
            offset=whole("offset", offset),
            limit=optional("limit", limit, whole, least=1),
        )

    def holds(self, document: DocumentStatus) -> bool:
        """Whether a document is listed."""
        return (
            (self.status is None or document.status in self.status)
            and (self.source is None or document.source == self.source)
            and (self.tracking_id is None or document.tracking_id == self.tracking_id)
            and (self.where is None or self.where.holds(document.metadata, document.id, document.source))
        )


def page(documents: Sequence[DocumentStatus], listing: Listing) -> DocumentPage:
    """The documents that a listing asks for; ties in its order by id."""
    found = [document for document in documents if listing.holds(document)]
    found.sort(key=lambda document: document.id)
    key: Callable[[DocumentStatus], Any] = lambda document: getattr(document, listing.order) or ""  # noqa: E731
    if listing.order in ("updated_at", "characters", "chunks"):
        key = lambda document: getattr(document, listing.order)  # noqa: E731
    found.sort(key=key, reverse=listing.descending)
    stop = None if listing.limit is None else listing.offset + listing.limit
    return DocumentPage(
        documents=tuple(found[listing.offset : stop]),
        total=len(found),
        counts=MappingProxyType(dict(Counter(document.status for document in documents))),
    )


def contents(basis: Basis, document_id: str) -> DocumentContents | None:
    """What was made of a committed document; None if there is none of that id."""
    if not basis.document_rows([document_id]):
        return None
    rows = basis.chunk_rows([document_id])
    aliases = basis.aliases()

    def resolve(key: str) -> str:
        while (target := aliases.get(key)) is not None:
            key = target
        return key

    entities, relations = basis.mentions_in([row.id for row in rows])
    keys = sorted({resolve(mention.key) for mention in entities})
    pairs = sorted({relation_key(resolve(m.source_key), resolve(m.target_key)) for m in relations})
    entity_ids = [stable_id("entity", key) for key in keys]
    relation_ids = [stable_id("relation", *pair) for pair in pairs]
    entity_rows, relation_rows = basis.entity_rows(entity_ids), basis.relation_rows(relation_ids)
    return DocumentContents(
        chunks=tuple(row.chunk for row in rows),
        entities=tuple(entity_rows[id_].entity for id_ in entity_ids if id_ in entity_rows),
        relations=tuple(relation_rows[id_].relation for id_ in relation_ids if id_ in relation_rows),
    )
