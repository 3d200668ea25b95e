"""The interfaces that applications and stores implement: two or three verbs each, written for the caller."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stateless_rag.context import Context
    from stateless_rag.flights import Flights
    from stateless_rag.types import (
        Chunk,
        DocumentStatus,
        Entity,
        EntityMention,
        Event,
        Extraction,
        Message,
        Passage,
        Relation,
        RelationMention,
        Usage,
    )

    Vectors = NDArray[np.float32]

__all__ = [
    "LLM",
    "Basis",
    "Change",
    "ChunkRow",
    "Claim",
    "DocumentRow",
    "Embedder",
    "Embeddings",
    "EntityRow",
    "Extractor",
    "Hit",
    "Journal",
    "JournalEntry",
    "LLMReply",
    "LLMRequest",
    "Observer",
    "RelationRow",
    "Reranker",
    "Snapshot",
    "StreamPart",
    "Tokenizer",
    "VectorKind",
    "Workspace",
]

VectorKind = Literal["chunk", "entity", "relation"]
Result = TypeVar("Result")


# ---- providers -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMRequest:
    """One call of an LLM. The order of the messages is system, history, prompt.

    `purpose` (extract, glean, summarize, keywords, answer) is for ledgers; it does not change the answer.
    """

    prompt: str
    system: str | None = None
    history: tuple[Message, ...] = ()
    json: bool = False
    max_tokens: int | None = None
    purpose: str = "answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMReply:
    """What an LLM said. `truncated`: it was cut off by a token limit (finish reason "length").

    Tokens are the provider's count, or None where it gives none.
    """

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    truncated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPart:
    """A piece of a streamed answer; the last one carries `reply`, the whole answer with its tokens."""

    text: str = ""
    reply: LLMReply | None = None


@runtime_checkable
class LLM(Protocol):
    """A language model. Raises `ProviderError` (or a subclass) when it fails; it need not retry."""

    @property
    def model(self) -> str:
        """Names the model and whatever else changes its answers; part of the journal's key."""

    async def complete(self, request: LLMRequest) -> LLMReply:
        """Answer one request."""

    def stream(self, request: LLMRequest) -> AsyncIterator[StreamPart]:
        """Answer one request piece by piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """Vectors, float32 of shape (texts, dimension), and the tokens they cost where the provider says."""

    vectors: Vectors
    tokens: int | None = None


@runtime_checkable
class Embedder(Protocol):
    """An embedding model. One call takes at most `max_batch` texts and `max_batch_tokens` tokens together."""

    @property
    def model(self) -> str:
        """Names the model and whatever else changes its vectors."""

    @property
    def dimension(self) -> int | None:
        """The length of its vectors; None if that is known only after the first call."""

    @property
    def max_tokens(self) -> int | None:
        """The longest text it takes, in tokens; longer chunks are split before they are embedded."""

    @property
    def max_batch(self) -> int:
        """How many texts one call may carry."""

    @property
    def max_batch_tokens(self) -> int | None:
        """How many tokens one call may carry."""

    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
        """Embed texts, in order. Models that treat questions differently look at `role`."""


@runtime_checkable
class Reranker(Protocol):
    """Scores passages against a question."""

    @property
    def model(self) -> str:
        """Names the model."""

    async def rerank(self, query: str, texts: Sequence[str], *, top_n: int) -> Sequence[tuple[int, float]]:
        """The indexes of the best texts with their scores, best first."""


@runtime_checkable
class Tokenizer(Protocol):
    """Counts tokens and says where they begin."""

    @property
    def name(self) -> str:
        """Names the encoding; recorded with the workspace."""

    def count(self, text: str) -> int:
        """The number of tokens in the text."""

    def offsets(self, text: str) -> Sequence[int]:
        """For each token the offset in `text` (code points) of the character it begins in; never falls."""


class Extractor(Protocol):
    """Finds entities and relations in a chunk. Failures of providers are raised, not swallowed."""

    def generation(self, context: Context) -> str:
        """Names all that decides what is found: prompt, model, parameters, version of the rules."""

    async def extract(self, context: Context, chunk: Chunk) -> Extraction:
        """Extract one chunk."""


class Observer(Protocol):
    """Is told of every step, synchronously; must return quickly and not raise."""

    def __call__(self, event: Event) -> None:
        """Take note of one event."""


# ---- the journal ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """A paid LLM call: `digest` of all that determines the reply, the reply, and what it cost."""

    digest: str
    purpose: str
    model: str
    reply: LLMReply
    usage: Usage


class Journal(Protocol):
    """Keeps what was paid for. `put` returns when the entry will survive a crash."""

    @property
    def flights(self) -> Flights:
        """What is being paid for now; one object for all who share the journal, so that none pays twice."""

    async def get(self, digest: str) -> LLMReply | None:
        """The reply stored under the digest."""

    async def put(self, entry: JournalEntry) -> None:
        """Store one paid call."""

    async def get_vectors(self, digests: Collection[str]) -> Mapping[str, Vectors]:
        """Those of the vectors that are stored."""

    async def put_vectors(self, vectors: Mapping[str, Vectors], entry_usage: Usage, model: str) -> None:
        """Store paid vectors."""


# ---- reading -------------------------------------------------------------------------------------------


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


# ---- writing -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRow:
    """A committed document. `digest` depends on the text alone."""

    id: str
    source: str | None
    metadata: Mapping[str, Any]
    text: str
    digest: str
    chunks: int
    tracking_id: str | None
    updated_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRow:
    """A committed chunk: the generation of its extraction, and the digest under which its vector is kept.

    `warnings` are those of its extraction, `error` what kept it from being extracted (in a document that was
    accepted although partial).
    """

    id: int
    chunk: Chunk
    generation: str
    vector: str
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityRow:
    """A committed entity. `state` is its fold as JSON, `vector` the digest under which its vector is kept."""

    id: int
    entity: Entity
    state: str
    vector: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationRow:
    """A committed relation between the entities `left` and `right` (ids, in the order of the pair's keys)."""

    id: int
    left: int
    right: int
    relation: Relation
    state: str
    vector: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A document accepted but not committed, claimed by one worker until it commits, fails or lets go."""

    sequence: int
    document_id: str
    source: str | None
    metadata: Mapping[str, Any]
    text: str
    tracking_id: str
    attempts: int = 0
    errors: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """All that one commit changes; rows replace those of the same id.

    `base` is the revision it was computed from and `reads` the ids of the entities and relations whose folds
    it read: if another commit changed one of them since, the commit is refused with CommitConflict, and so it
    is if the aliases or one of its documents changed. `moved` are kept chunks whose place in the document
    changed. Mentions come with the id of the entity or relation they fold into (None for a relation of an entity
    with itself); stored mentions under the raw keys in `remention` are replaced by those given. `vectors` holds
    the vector of each digest that a row here names and no row did before. `aliases` maps raw keys to the key
    they stand for from now on, or None. The submissions in `requires` must still be pending (CommitConflict if
    not); those in `done` are pending no more.
    """

    base: int
    reads: frozenset[int] = frozenset()
    documents: tuple[DocumentRow, ...] = ()
    removed_documents: tuple[str, ...] = ()
    chunks: tuple[ChunkRow, ...] = ()
    moved: tuple[ChunkRow, ...] = ()
    removed_chunks: tuple[int, ...] = ()
    entity_mentions: tuple[tuple[int, EntityMention], ...] = ()
    relation_mentions: tuple[tuple[int | None, RelationMention], ...] = ()
    entities: tuple[EntityRow, ...] = ()
    removed_entities: tuple[int, ...] = ()
    relations: tuple[RelationRow, ...] = ()
    removed_relations: tuple[int, ...] = ()
    vectors: Mapping[str, Vectors]
    requires: tuple[int, ...] = ()
    done: tuple[int, ...] = ()
    aliases: Mapping[str, str | None] | None = None
    remention: frozenset[str] = frozenset()


class Basis(Protocol):
    """What a commit is computed from: one revision, read like a `Snapshot`, in the form it is stored in."""

    @property
    def revision(self) -> int:
        """The number of commits before it."""

    def aliases(self) -> Mapping[str, str]:
        """Raw keys and the keys they stand for."""

    def document_rows(self, ids: Collection[str]) -> Mapping[str, DocumentRow]:
        """Committed documents."""

    def chunk_rows(self, document_ids: Collection[str]) -> Sequence[ChunkRow]:
        """All chunks of the documents, in order."""

    def mentions_in(
        self, chunk_ids: Collection[int]
    ) -> tuple[Sequence[EntityMention], Sequence[RelationMention]]:
        """All mentions of the chunks."""

    def mentions_of(self, ids: Collection[int]) -> tuple[Sequence[EntityMention], Sequence[RelationMention]]:
        """All mentions that fold into the entities and relations."""

    def mentions_under(
        self, raw_keys: Collection[str]
    ) -> tuple[Sequence[EntityMention], Sequence[RelationMention]]:
        """All mentions of the raw keys, and of relations with such an end."""

    def entity_rows(self, ids: Collection[int]) -> Mapping[int, EntityRow]:
        """Entities with their folds."""

    def relation_rows(self, ids: Collection[int]) -> Mapping[int, RelationRow]:
        """Relations with their folds."""

    def vectors(self, digests: Collection[str]) -> Mapping[str, Vectors]:
        """Stored vectors."""


class Workspace(Protocol):
    """One workspace of a store, shared by all engines on it, from any thread and event loop."""

    @property
    def name(self) -> str:
        """The name it was created with."""

    @property
    def revision(self) -> int:
        """The last committed revision."""

    @property
    def journal(self) -> Journal:
        """Its journal."""

    async def read(self, query: Callable[[Snapshot], Result]) -> Result:
        """Run a function on a snapshot, in a thread of the store."""

    async def read_basis(self, query: Callable[[Basis], Result]) -> Result:
        """Run a function on the basis of a commit, in a thread of the store."""

    async def commit(self, change: Change) -> int:
        """Carry out a change, all or nothing; returns the new revision. Raises CommitConflict."""

    async def submit(
        self, claims: Sequence[Claim], *, claimed: bool
    ) -> tuple[Sequence[Claim], Sequence[Claim]]:
        """Make documents durable as pending. Gives all of them, numbered, and with `claimed` those that the
        caller works on from now on: all but those that somebody works on already.
        """

    async def claim(
        self,
        limit: int,
        *,
        ids: Collection[str] | None = None,
        tracking_id: str | None = None,
        failed: bool,
        tried: Collection[int] = (),
    ) -> Sequence[Claim]:
        """Take documents that nobody works on, oldest first; with `failed` also those that failed, but not
        the submissions in `tried`.
        """

    async def release(self, sequences: Collection[int]) -> None:
        """Let go of claims without having finished; another may take them."""

    async def fail(self, claim: Claim, errors: Sequence[Mapping[str, Any]]) -> None:
        """Record that a claimed document failed, and let go of it."""

    async def withdraw(self, sequences: Collection[int]) -> None:
        """Forget pending documents: they turned out to be there already, or were deleted."""

    def superseded(self, claim: Claim) -> Sequence[int]:
        """The claim and older submissions of the same document: all done once it commits."""

    def is_pending(self, sequence: int) -> bool:
        """Whether a submission is still waiting to be committed."""

    def unfinished(self, tracking_id: str) -> Collection[int]:
        """The submissions of one tracking id that neither were committed nor have failed."""

    async def statuses(self, ids: Collection[str]) -> Mapping[str, DocumentStatus]:
        """The status of documents, by id."""

    def waiting(self, ids: Collection[str] | None = None) -> Mapping[str, Sequence[int]]:
        """Submissions that are not committed, by document."""
