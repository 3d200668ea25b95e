"""What a query sees of a workspace: one revision, by rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from stateless_rag.protocols.providers import Vectors
    from stateless_rag.types import Entity, Passage, Relation

__all__ = ["Hit", "Snapshot", "VectorKind"]

VectorKind = Literal["chunk", "entity", "relation"]


@dataclass(frozen=True, slots=True)
class Hit:
    """A row found by vector search: its id and its cosine similarity."""

    id: int
    score: float


class Snapshot(Protocol):
    """One revision of a workspace. Synchronous, and usable only inside the function given to `read`.

    Rows are addressed by 64-bit ids that follow from their keys. Unknown ids are left out of answers.
    Mappings keep the order of the ids that were asked for.
    """

    @property
    def revision(self) -> int:
        """The number of commits before it."""

    def search(
        self, kind: VectorKind, vector: Vectors, top_k: int, min_similarity: float = -1.0
    ) -> list[Hit]:
        """The nearest rows by cosine, best first, ties by id. `vector` has shape (dimension,)."""

    def similarities(self, kind: VectorKind, vector: Vectors, ids: Sequence[int]) -> Mapping[int, float]:
        """The cosine of the vector with each of the rows."""

    def count(self, kind: VectorKind) -> int:
        """How many rows there are."""

    def entities(self, ids: Sequence[int]) -> Mapping[int, Entity]:
        """Entities by id."""

    def relations(self, ids: Sequence[int]) -> Mapping[int, Relation]:
        """Relations by id."""

    def passages(self, ids: Sequence[int]) -> Mapping[int, Passage]:
        """Chunks by id, with their documents' source and metadata, score 0."""

    def entity_id(self, name: str) -> int | None:
        """The id of the entity of that name, aliases applied; None if there is none."""

    def edges(self, entity_ids: Sequence[int]) -> Mapping[int, Sequence[tuple[int, int]]]:
        """For each entity its relations as (relation id, id of the other end), by relation id."""

    def endpoints(self, relation_ids: Sequence[int]) -> Mapping[int, tuple[int, int]]:
        """For each relation the ids of its two entities."""

    def degrees(self, entity_ids: Sequence[int]) -> Mapping[int, int]:
        """For each entity the number of its relations."""

    def entity_chunks(self, entity_ids: Sequence[int], limit: int) -> Mapping[int, Sequence[int]]:
        """For each entity the ids of chunks that mention it, by id, at most `limit` each."""

    def relation_chunks(self, relation_ids: Sequence[int], limit: int) -> Mapping[int, Sequence[int]]:
        """For each relation the ids of chunks that state it, by id, at most `limit` each."""

    def match_words(self, text: str, top_k: int) -> list[Hit]:
        """Chunks that share words with the text, best first: what is left when no embedder answers."""

    def document(self, document_id: str) -> Mapping[str, Any] | None:
        """One document's row: id, source, metadata, text, digest."""
