"""What each chunk of a folder says: from the LLM's replies where they were kept, else from the graph.

The replies say what a chunk says to the letter, so that deleting a document stays exact. The graph says what its
owners see: an entity that was deleted, renamed or merged by hand does not come back because of an old reply, and a
name that no reply of a chunk explains is taken from the graph. What no chunk tells of was written by hand.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Generic, TypeVar

from stateless_rag.interop.replies import parsed_passes, parsed_reply
from stateless_rag.text import KeyPolicy, entity_key, relation_key
from stateless_rag.types import Records

if TYPE_CHECKING:
    from stateless_rag.interop.folder import Folder, FolderEntity, FolderRelation
    from stateless_rag.interop.problems import Problems
    from stateless_rag.stages.records import EntityRecord, ParsedReply, RelationRecord

__all__ = ["Edit", "Evidence", "evidence_of"]

GRAPH = "the graph"

_SUMMARISED_FROM = 4  # texts; of fewer, no LLM is asked for a summary, whatever the usual settings

Value = TypeVar("Value", "FolderEntity", "FolderRelation")
KeyT = TypeVar("KeyT")
RecordT = TypeVar("RecordT")


@dataclass(frozen=True, slots=True)
class Edit:
    """Values that somebody gave an entity (one name) or a relation (two) by hand; None for what was left."""

    names: tuple[str, ...]
    type: str | None = None
    keywords: tuple[str, ...] | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The records of each chunk, and where they are from.

    `by_hand` are values that no chunk tells of, `edits` values given in place of what chunks say. `left_out` are
    names and pairs in replies that the graph does not have. `supplemented` are chunks with replies that the graph
    says more of.
    """

    records: Mapping[str, Records]
    by_hand: Records
    edits: tuple[Edit, ...]
    from_replies: int
    from_graph: int
    silent: int
    supplemented: int
    left_out: tuple[str, ...]


def evidence_of(folder: Folder, taken: Collection[str], policy: KeyPolicy, problems: Problems) -> Evidence:
    """What the chunks in `taken` say; those of other chunks are extracted again later."""
    said = {chunk.id: parsed_passes(chunk.replies, policy) for chunk in folder.chunks if chunk.id in taken}
    told = _Told.of(folder, policy)
    chunks = _Chunks(frozenset(chunk.id for chunk in folder.chunks), frozenset(taken))
    entities = _Side(
        {id_: _entity_keys(parsed, policy) for id_, parsed in said.items()},
        [(entity_key(entity.name, policy), entity) for entity in folder.entities],
    )
    relations = _Side(
        {id_: _pairs(parsed, policy) for id_, parsed in said.items()},
        [(_pair(relation.source, relation.target, policy), relation) for relation in folder.relations],
    )
    draft = _Draft(folder.graph_is_whole, entities.chunks())
    for id_, parsed in said.items():
        if parsed is not None:
            draft.add_said(id_, parsed, entities.values, relations.values, policy)
    _add_graph(draft, entities, told.entities, said, _entity_records)
    _add_graph(draft, relations, told.relations, said, _relation_records)
    made, edits = _entities_by_hand(entities, told, chunks, problems)
    related, more = _relations_by_hand(relations, told, chunks, problems)
    return draft.evidence(said, Records(tuple(made), tuple(related)), (*edits, *more))


def _pair(one: str, other: str, policy: KeyPolicy) -> tuple[str, str]:
    return relation_key(entity_key(one, policy), entity_key(other, policy))


def _entity_keys(parsed: ParsedReply | None, policy: KeyPolicy) -> frozenset[str]:
    """The keys that a reply names, also as ends of relations."""
    if parsed is None:
        return frozenset()
    names = chain((name for name, _, _ in parsed.entities), *(row[:2] for row in parsed.relations))
    return frozenset(entity_key(name, policy) for name in names)


def _pairs(parsed: ParsedReply | None, policy: KeyPolicy) -> frozenset[tuple[str, str]]:
    if parsed is None:
        return frozenset()
    return frozenset(_pair(source, target, policy) for source, target, _, _ in parsed.relations)


@dataclass(frozen=True, slots=True)
class _Chunks:
    """The ids of all chunks that are there, and of those whose documents are done."""

    there: frozenset[str]
    taken: frozenset[str]


class _Side(Generic[KeyT, Value]):
    """Entities or relations: what the replies about each chunk name, and the graph's values by key."""

    def __init__(self, named: Mapping[str, frozenset[KeyT]], values: Iterable[tuple[KeyT, Value]]) -> None:
        self.named = named
        self.values: dict[KeyT, list[Value]] = {}
        for key, value in values:
            self.values.setdefault(key, []).append(value)

    def chunks(self) -> frozenset[str]:
        """All chunks that the graph names as evidence."""
        return frozenset(id_ for value in self.each() for id_ in value.chunk_ids)

    def each(self) -> Iterator[Value]:
        return chain.from_iterable(self.values.values())

    def unexplained(self, value: Value, key: KeyT) -> list[str]:
        """The chunks of ours that are evidence of a value, and of which no reply names it."""
        return [id_ for id_ in value.chunk_ids if id_ in self.named and key not in self.named[id_]]


# ---- what replies have said ----------------------------------------------------------------------------


def _plain(text: str) -> str:
    """What of a text counts when two are compared: letters and digits."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))


@dataclass(frozen=True, slots=True)
class _Said:
    """What replies have said of one key, to be compared by `_plain`. `implied` are texts about an entity's relations,
    one of which describes it where nothing else does.
    """

    texts: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)
    implied: set[str] = field(default_factory=set)

    @property
    def is_summarised(self) -> bool:
        """Whether an LLM may have been asked for a summary, so that a new text need not be an edit."""
        return len(self.texts) >= _SUMMARISED_FROM


@dataclass(frozen=True, slots=True)
class _Told:
    """What all kept replies have said, also those of chunks that are gone; `summaries` are of any key."""

    entities: Mapping[str, _Said]
    relations: Mapping[tuple[str, str], _Said]
    summaries: frozenset[str]

    @classmethod
    def of(cls, folder: Folder, policy: KeyPolicy) -> _Told:
        entities: dict[str, _Said] = {}
        relations: dict[tuple[str, str], _Said] = {}
        for parsed in map(parsed_reply, folder.replies):
            for name, type_, text in parsed.entities:
                said = entities.setdefault(entity_key(name, policy), _Said())
                said.texts.add(_plain(text))
                said.labels.add(_plain(type_))
            for source, target, words, text in parsed.relations:
                for end in (source, target):
                    entities.setdefault(entity_key(end, policy), _Said()).implied.add(_plain(text))
                said = relations.setdefault(_pair(source, target, policy), _Said())
                said.texts.add(_plain(text))
                said.labels.update(map(_plain, words))
        return cls(entities, relations, frozenset(map(_plain, folder.summaries)))

    def new(self, texts: Sequence[str], said: _Said | None) -> list[str]:
        """Those of the texts that no reply explains."""
        known = set() if said is None else said.texts | said.implied
        return [
            text for text in texts if (plain := _plain(text)) not in known and plain not in self.summaries
        ]


# ---- records of chunks ---------------------------------------------------------------------------------


class _Draft:
    """The records of chunks, as they are put together."""

    def __init__(self, graph_is_whole: bool, in_graph: frozenset[str]) -> None:
        # A chunk that the graph does not know at all was added after the graph was written.
        self._judged = in_graph if graph_is_whole else frozenset()
        self.entities: dict[str, list[EntityRecord]] = {}
        self.relations: dict[str, list[RelationRecord]] = {}
        self.supplemented: set[str] = set()
        self._left_out: dict[str, None] = {}

    def add_said(
        self,
        chunk_id: str,
        parsed: ParsedReply,
        names: Collection[str],
        pairs: Collection[tuple[str, str]],
        policy: KeyPolicy,
    ) -> None:
        """Add what the replies say, but for what the graph does not have any more."""
        for record in parsed.entities:
            if self._has(chunk_id, entity_key(record[0], policy), names, record[0]):
                self.entities.setdefault(chunk_id, []).append(record)
        for relation in parsed.relations:
            source, target = relation[:2]
            if self._has(chunk_id, _pair(source, target, policy), pairs, f"{source} – {target}"):
                self.relations.setdefault(chunk_id, []).append(relation)

    def _has(self, chunk_id: str, key: KeyT, keys: Collection[KeyT], shown: str) -> bool:
        if chunk_id not in self._judged or key in keys:
            return True
        self._left_out[shown] = None
        return False

    def evidence(
        self, said: Mapping[str, ParsedReply | None], by_hand: Records, edits: tuple[Edit, ...]
    ) -> Evidence:
        records = {
            id_: Records(tuple(self.entities.get(id_, ())), tuple(self.relations.get(id_, ())))
            for id_ in said
        }
        silent = [id_ for id_, parsed in said.items() if parsed is None]
        from_graph = sum(bool(records[id_].entities or records[id_].relations) for id_ in silent)
        return Evidence(
            records=records,
            by_hand=by_hand,
            edits=edits,
            from_replies=len(said) - len(silent),
            from_graph=from_graph,
            silent=len(silent) - from_graph,
            supplemented=len(self.supplemented),
            left_out=tuple(self._left_out),
        )


def _add_graph(
    draft: _Draft,
    side: _Side[KeyT, Value],
    told: Mapping[KeyT, _Said],
    said: Mapping[str, ParsedReply | None],
    add: Callable[[_Draft, str, Value, Sequence[str]], None],
) -> None:
    """Add the graph's values to those of their chunks whose replies do not name them.

    What replies of other chunks explain of a description belongs to those chunks.
    """
    for key, values in side.values.items():
        known = told[key].texts | told[key].implied if key in told else frozenset()
        for value in values:
            own = tuple(text for text in value.texts if _plain(text) not in known)
            for chunk_id in side.unexplained(value, key):
                add(draft, chunk_id, value, own or value.texts)
                if said[chunk_id] is not None:
                    draft.supplemented.add(chunk_id)


def _entity_records(draft: _Draft, chunk_id: str, entity: FolderEntity, texts: Sequence[str]) -> None:
    records = [(entity.name, entity.type, text) for text in texts or ("",)]
    draft.entities.setdefault(chunk_id, []).extend(records)


def _relation_records(draft: _Draft, chunk_id: str, relation: FolderRelation, texts: Sequence[str]) -> None:
    records = [(relation.source, relation.target, relation.keywords, text) for text in texts or ("",)]
    draft.relations.setdefault(chunk_id, []).extend(records)


# ---- what was written by hand --------------------------------------------------------------------------


def _entities_by_hand(
    side: _Side[str, FolderEntity], told: _Told, chunks: _Chunks, problems: Problems
) -> tuple[list[EntityRecord], list[Edit]]:
    """Entities that no chunk tells of, and edits of those that chunks tell of."""
    records: list[EntityRecord] = []
    edits: list[Edit] = []
    for key, values in side.values.items():
        said = told.entities.get(key)
        for entity in values:
            if _is_by_hand(entity, chunks, entity.name, problems):
                records += [(entity.name, entity.type, text) for text in entity.texts or ("",)]
            elif said is not None and _is_settled(side, entity, key, chunks):
                type_ = entity.type if said.labels and _plain(entity.type) not in said.labels else ""
                new = told.new(entity.texts, said)
                records += [(entity.name, "", text) for text in new if said.is_summarised]
                description = entity.description if new and not said.is_summarised else None
                if type_ or description:
                    edits.append(Edit((entity.name,), type=type_ or None, description=description))
    return records, edits


def _relations_by_hand(
    side: _Side[tuple[str, str], FolderRelation], told: _Told, chunks: _Chunks, problems: Problems
) -> tuple[list[RelationRecord], list[Edit]]:
    """As `_entities_by_hand`."""
    records: list[RelationRecord] = []
    edits: list[Edit] = []
    for key, values in side.values.items():
        said = told.relations.get(key)
        for relation in values:
            ends = relation.source, relation.target
            if _is_by_hand(relation, chunks, " – ".join(ends), problems):
                records += [(*ends, relation.keywords, text) for text in relation.texts or ("",)]
            elif said is not None and _is_settled(side, relation, key, chunks):
                words = {_plain(word) for word in relation.keywords} - said.labels
                new = told.new(relation.texts, said)
                records += [(*ends, (), text) for text in new if said.is_summarised]
                description = relation.description if new and not said.is_summarised else None
                if words or description:
                    edits.append(
                        Edit(ends, keywords=relation.keywords if words else None, description=description)
                    )
    return records, edits


def _is_by_hand(
    value: FolderEntity | FolderRelation, chunks: _Chunks, shown: str, problems: Problems
) -> bool:
    """Whether no chunk was ever named for a value. Where all that were named are gone, it has no ground left."""
    if value.chunk_ids and not any(id_ in chunks.there for id_ in value.chunk_ids):
        problems.add(GRAPH, "a value whose chunks are not there is left out", shown)
    return not value.chunk_ids


def _is_settled(side: _Side[KeyT, Value], value: Value, key: KeyT, chunks: _Chunks) -> bool:
    """Whether replies account for all evidence of a value: then what they do not explain was edited."""
    return set(value.chunk_ids) <= set(chunks.taken) and not side.unexplained(value, key)
