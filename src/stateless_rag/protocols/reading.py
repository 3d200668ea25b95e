"""What a query sees of a workspace: one revision, by rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stateless_rag.filters import MetadataFilter
    from stateless_rag.protocols.partition import Partition
    from stateless_rag.protocols.providers import Vectors
    from stateless_rag.settings import CommunitySettings
    from stateless_rag.types import Entity, EntityMention, Passage, Relation, RelationMention

    Ids = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

__all__ = ["Allowed", "Edges", "Hit", "Links", "Snapshot", "VectorKind"]

VectorKind = Literal["chunk", "entity", "relation"]


@dataclass(frozen=True, slots=True)
class Hit:
    """A row found by vector search: its id and its cosine similarity."""

    id: int
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class Allowed:
    """What a filter leaves of a revision: chunks of the documents that meet it, entities and relations that at
    least one of these chunks tells of.

    Ids are arrays int64, ascending. `entity_weights` and `relation_weights` count, for each, those chunks.
    """

    chunks: Ids
    entities: Ids
    entity_weights: Ids
    relations: Ids
    relation_weights: Ids

    def ids(self, kind: VectorKind) -> Ids:
        """The ids of one kind."""
        return {"chunk": self.chunks, "entity": self.entities, "relation": self.relations}[kind]


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """Edges from some nodes: edge `i` leads from the `owners[i]`-th of them to node `targets[i]`."""

    owners: Ids
    targets: Ids
    weights: Floats


class Links(Protocol):
    """The graph of a revision to walk on: entities, chunks and their titles are its nodes, addressed by position.

    Relations and mentions weigh 1, what leads to a chunk's title more. A title is the entity of that name, if
    there is one. Under `allowed` there are only the relations that an allowed chunk states, and allowed chunks.
    """

    def __len__(self) -> int: ...

    def positions(self, ids: Ids) -> Ids:
        """The positions of nodes by id, -1 for what is none."""

    def ids(self, positions: Ids) -> Ids:
        """The ids of the nodes at some positions."""

    def is_chunk(self, positions: Ids) -> Flags:
        """Which of the nodes are chunks."""

    def title(self, chunk_id: int) -> int | None:
        """The id of the node of a chunk's title."""

    def edges(self, positions: Ids, allowed: Allowed | None = None) -> Edges:
        """All edges from some nodes, parallel ones apart; none from -1."""

    def pushed(
        self, positions: Ids, mass: Floats, allowed: Allowed | None = None, *, titles: float
    ) -> tuple[Ids, Floats]:
        """Where mass goes that moves from some nodes, none of them -1, along all of their edges, to each by its weight:
        targets and amounts. `titles` is the weight of the edge between a chunk and its title.
        """

    def chunk_counts(self, positions: Ids, allowed: Allowed | None = None) -> Ids:
        """For each node, how many chunks it is linked with."""


class Snapshot(Protocol):
    """One revision of a workspace. Synchronous, and usable only inside the function given to `read`.

    Rows are addressed by 64-bit ids that follow from their keys. Unknown ids are left out of answers.
    Mappings keep the order of the ids that were asked for.
    """

    @property
    def revision(self) -> int:
        """The number of commits before it."""

    @property
    def embedder(self) -> str | None:
        """The model that its vectors were made by; None if that is not known."""

    def search(
        self,
        kind: VectorKind,
        vector: Vectors,
        top_k: int,
        min_similarity: float = -1.0,
        allowed: Allowed | None = None,
    ) -> list[Hit]:
        """The nearest rows by cosine, best first, ties by id. `vector` has shape (dimension,).

        Of what is `allowed` the nearest are found exactly, however little it is.
        """

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

    def chunk_names(self, ids: Sequence[int]) -> Mapping[int, str]:
        """The ids that chunks have for callers, by row id; for what search has found, where no more is wanted."""

    def entity_ids(self) -> Sequence[int]:
        """All entities, also those without relations."""

    def entity_labels(self) -> tuple[Sequence[int], Sequence[str], Sequence[str]]:
        """All entities: ids, names and types, in no certain order."""

    def entity_id(self, name: str) -> int | None:
        """The id of the entity of that name, aliases applied; None if there is none."""

    def edges(self, entity_ids: Sequence[int]) -> Mapping[int, Sequence[tuple[int, int]]]:
        """For each entity its relations as (relation id, id of the other end), by relation id."""

    def endpoints(self, relation_ids: Sequence[int]) -> Mapping[int, tuple[int, int]]:
        """For each relation the ids of its two entities."""

    def degrees(self, entity_ids: Sequence[int]) -> Mapping[int, int]:
        """For each entity the number of its relations."""

    def reached(self, entity_ids: Sequence[int]) -> tuple[Ids, Ids]:
        """The relations of some entities, each once, ascending, and for each the sum of its two ends' degrees."""

    def entity_chunks(
        self, entity_ids: Sequence[int], limit: int, allowed: Allowed | None = None
    ) -> Mapping[int, Sequence[int]]:
        """For each entity the ids of chunks that mention it, by id, at most `limit` each."""

    def relation_chunks(
        self, relation_ids: Sequence[int], limit: int, allowed: Allowed | None = None
    ) -> Mapping[int, Sequence[int]]:
        """For each relation the ids of chunks that state it, by id, at most `limit` each."""

    def match_words(self, text: str, top_k: int, allowed: Allowed | None = None) -> list[Hit]:
        """Chunks that share words with the text by BM25, best first, ties by id; function words do not count.

        Statistics are those of this revision, under `allowed` of the allowed chunks alone.
        """

    def coverage(self, text: str, ids: Sequence[int], allowed: Allowed | None = None) -> tuple[Floats, Flags]:
        """How rare each word of a text is (its idf), and which chunks have it: shapes (words,) and (ids, words)."""

    def links(self) -> Links:
        """Entities, chunks and titles as nodes of a graph, to walk on."""

    def node(self, name: str) -> int | None:
        """The id that an entity or title of that name has among the links, if there is one; aliases applied."""

    def communities(self, settings: CommunitySettings, allowed: Allowed | None = None) -> Partition:
        """The communities that the entities fall into; under `allowed` those of allowed entities and of the relations
        that allowed chunks state. Found when they are first asked for. Raises InvalidInput without the library.
        """

    @property
    def mask(self) -> Allowed | None:
        """What the snapshot is limited to; None if it is whole."""

    def document(self, document_id: str) -> Mapping[str, Any] | None:
        """One document's row: id, source, metadata, text, digest."""

    # ---- under a metadata filter -----------------------------------------------------------------------

    def allowed(self, condition: MetadataFilter) -> Allowed:
        """What a filter leaves of this revision."""

    def mentions(
        self, ids: Sequence[int], allowed: Allowed, limit: int, coming: Sequence[int] = ()
    ) -> tuple[Sequence[EntityMention], Sequence[RelationMention]]:
        """What allowed chunks say of entities and relations, for each row those of its first `limit` chunks by id.

        Ids of chunks are hashes, so these are a sample that depends on the row's allowed chunks alone. Those of the
        rows that are `coming` will be asked for: they may be looked up together with these.
        """

    def stated_weights(
        self, ids: Sequence[int], allowed: Allowed
    ) -> Mapping[int, tuple[int, Sequence[float]]]:
        """For relations of which allowed chunks say what they weigh: how many chunks, and all that they say."""

    def expect(self, entity_ids: Sequence[int], relation_ids: Sequence[int]) -> None:
        """Tells that these rows will be asked for: who must look for them elsewhere may do it for all at once."""

    def told_once(self, ids: Sequence[int]) -> frozenset[int]:
        """Those of the rows that rest on a single mention and nothing else: it is all that their values say."""

    def aliases(self) -> Mapping[str, str]:
        """The aliases: keys and the keys they stand for."""
