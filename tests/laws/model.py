"""The workspace as plain Python: every question is answered by folding all evidence from scratch.

Written from the design, without the engine's merging, folding, committing or storing; shared with it are only
the normalisation of names, digests, the chunker, and the LLM's way to summarise.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

from laws.by_hand import ByHand, Step, entry_of
from laws.generators import (
    FAILING,
    SUMMARIZE_FROM,
    WORDS,
    K,
    records,
    settings,
    summary,
)
from stateless_rag.calls import vector_digest
from stateless_rag.context import Context
from stateless_rag.stages.chunk import chunk
from stateless_rag.testing import DeterministicEmbedder
from stateless_rag.text import chunk_row_id, digest, entity_key, normalize_name, stable_id
from stateless_rag.types import Chunk, Document
from unit.scripted import WordTokenizer


class EntitySaid(NamedTuple):
    chunk: str
    key: str
    name: str
    type: str
    text: str


class RelationSaid(NamedTuple):
    chunk: str
    source_key: str
    target_key: str
    source: str
    target: str
    words: tuple[str, ...]
    text: str


@dataclass
class Held:
    """A committed document; `broken` are ids of chunks that could not be extracted."""

    document: Document
    broken: frozenset[str] = frozenset()


@dataclass(eq=False)
class Submitted:
    """One submission; another of the same document is another."""

    document: Document
    attempts: int = 0


@dataclass
class Model:
    """What the workspace must hold."""

    generation: str
    accept_partial: bool = False
    held: dict[str, Held] = field(default_factory=dict)
    hand: ByHand = field(default_factory=ByHand)
    queue: list[Submitted] = field(default_factory=list)
    paid: set[str] = field(default_factory=set)
    broken: bool = False

    # ---- what is done to it ----------------------------------------------------------------------------

    def insert(self, documents: Iterable[Document]) -> None:
        for document in documents:
            self.queue.append(Submitted(document))
            self._take(self.queue[-1])

    def submit(self, documents: Iterable[Document]) -> None:
        self.queue.extend(map(Submitted, documents))

    def work(self, *, failed: bool) -> None:
        newest = {str(submitted.document.id): submitted for submitted in self.queue}
        for submitted in newest.values():
            if failed or not submitted.attempts:
                self._take(submitted)

    def delete(self, ids: Iterable[str]) -> None:
        gone = set(ids)
        self.held = {id_: held for id_, held in self.held.items() if id_ not in gone}
        self.queue = [submitted for submitted in self.queue if submitted.document.id not in gone]

    def alias(self, name: str, target: str | None) -> bool:
        """Whether it can be done."""
        key, other = entity_key(name), None if target is None else entity_key(target)
        if self.aliases.get(key) == other:
            return True
        named = [name] if target is None else [name, target]
        following = ByHand(list(self.hand.log))
        following.add("alias", map(entity_key, named), map(normalize_name, named))
        return self._follow(following)

    def curate(self, step: Step) -> bool:
        """Whether it can be done."""
        entities, relations = self.shown()
        return self._follow(entry_of(self.hand, step, entities, relations))

    def undo(self, number: int) -> bool:
        """Whether it can be done."""
        if not 0 < number <= len(self.hand.log) or number in self.hand.undone():
            return False
        following = ByHand(list(self.hand.log))
        following.add("undo", (), (), number=number)
        return self._follow(following)

    def _follow(self, following: ByHand | None) -> bool:
        if following is None or following.in_circle():
            return False
        self.hand = following
        return True

    @property
    def aliases(self) -> dict[str, str]:
        return self.hand.aliases()

    def shown(self) -> tuple[dict[str, str], set[tuple[str, str]]]:
        """The names of all entities by key, and the pairs of all relations."""
        entities, relations = self.said()
        names = {key: self._named(key, group) for key, group in self._entity_groups(entities).items()}
        return names, set(self._relation_groups(relations))

    def _take(self, submitted: Submitted) -> None:
        document = submitted.document
        id_ = str(document.id)
        held = self.held.get(id_)
        pieces = cut(document)
        broken = frozenset[str]()
        if held is None or held.broken or held.document.text != document.text:
            kept = {piece.id for piece in cut(held.document)} - held.broken if held else set()
            new = [piece for piece in pieces if piece.id not in kept]
            broken = frozenset(piece.id for piece in new if self._fails(piece.text))
            self.paid.update(piece.text for piece in new if piece.id not in broken)
        if broken:
            submitted.attempts += 1
        if broken and not self.accept_partial:
            return
        self.held[id_] = Held(document, broken)
        done = self.queue.index(submitted)
        self.queue = [
            other
            for place, other in enumerate(self.queue)
            if other.document.id != id_ or place > done or (broken and other is submitted)
        ]

    def _fails(self, text: str) -> bool:
        return self.broken and FAILING in text and text not in self.paid

    # ---- what it then holds ----------------------------------------------------------------------------

    def resolve(self, key: str) -> str:
        return self.hand.resolve(key)

    def said(self) -> tuple[set[EntitySaid], set[RelationSaid]]:
        entities: set[EntitySaid] = set()
        relations: set[RelationSaid] = set()
        for held in self.held.values():
            for piece in cut(held.document):
                if piece.id not in held.broken:
                    one, other = read(piece)
                    entities |= one
                    relations |= other
        return entities, relations

    def dump(self) -> dict[str, Any]:
        """As `stateless_rag.testing.dump.dump`."""
        embedded: dict[str, str] = {}

        def named(text: str) -> str:
            key = vector_digest(DeterministicEmbedder(16).model, text)
            embedded[key] = text
            return key

        entities, relations = self.said()
        found = {
            "documents": [self._document(held) for held in self.held.values()],
            "chunks": [
                self._chunk(piece, piece.id in held.broken, named(piece.text))
                for held in self.held.values()
                for piece in cut(held.document)
            ],
            "mentions": [*map(self._entity_mention, entities), *map(self._relation_mention, relations)],
            "entities": [self._entity(*group, named) for group in self._entity_groups(entities).items()],
            "relations": [
                self._relation(*group, named) for group in self._relation_groups(relations).items()
            ],
            "aliases": [{"key": key, "target": target} for key, target in self.aliases.items()],
            "pending": [
                pending(submitted.document) | {"failed": submitted.attempts} for submitted in self.queue
            ],
        }
        return {name: in_order(rows) for name, rows in found.items()} | {"vectors": vectors_of(embedded)}

    def _document(self, held: Held) -> dict[str, Any]:
        document = held.document
        return {
            "id": document.id,
            "source": document.source,
            "metadata": as_json(document.metadata),
            "text": document.text,
            "digest": digest("document", document.text),
            "chunks": len(cut(document)),
        }

    def _chunk(self, piece: Chunk, broken: bool, vector: str) -> dict[str, Any]:
        return {
            "id": chunk_row_id(piece.id),
            "document_id": piece.document_id,
            "ordinal": piece.ordinal,
            "start": piece.start,
            "stop": piece.stop,
            "text": piece.text,
            "tokens": piece.tokens,
            "digest": piece.digest,
            "generation": self.generation,
            "error": "ProviderUnavailable: broken" if broken else None,
            "vector": vector,
        }

    def _entity_mention(self, said: EntitySaid) -> dict[str, Any]:
        key = self.resolve(said.key)
        return {
            "id": None if self.hand.entity(key).hidden else stable_id("entity", key),
            "chunk": chunk_row_id(said.chunk),
            "generation": self.generation,
            "source_key": said.key,
            "target_key": None,
            "source": said.name,
            "target": None,
            "label": said.type,
            "description": said.text,
            "weight": None,
        }

    def _relation_mention(self, said: RelationSaid) -> dict[str, Any]:
        ends = self.hand.pair((said.source_key, said.target_key))
        gone = ends[0] == ends[1] or self.hand.relation(ends).hidden
        return {
            "id": None if gone else stable_id("relation", *ends),
            "chunk": chunk_row_id(said.chunk),
            "generation": self.generation,
            "source_key": said.source_key,
            "target_key": said.target_key,
            "source": said.source,
            "target": said.target,
            "label": "\x1f".join(said.words),
            "description": said.text,
            "weight": None,  # what an LLM says counts once a chunk
        }

    def _entity_groups(self, entities: Iterable[EntitySaid]) -> dict[str, list[EntitySaid]]:
        groups: dict[str, list[EntitySaid]] = {}
        for said in entities:
            groups.setdefault(self.resolve(said.key), []).append(said)
        hands = {key: self.hand.entity(key) for key in {*groups, *self.hand.keys()}}
        return {
            key: groups.get(key, [])
            for key, hand in hands.items()
            if not hand.hidden and (hand.made or key in groups)
        }

    def _relation_groups(
        self, relations: Iterable[RelationSaid]
    ) -> dict[tuple[str, str], list[tuple[bool, RelationSaid]]]:
        groups: dict[tuple[str, str], list[tuple[bool, RelationSaid]]] = {}
        for said in relations:
            source, target = self.resolve(said.source_key), self.resolve(said.target_key)
            if source != target:
                pair = (min(source, target), max(source, target))
                groups.setdefault(pair, []).append((source == pair[0], said))
        hands = {pair: self.hand.relation(pair) for pair in {*groups, *self.hand.pairs()}}
        return {
            pair: groups.get(pair, [])
            for pair, hand in hands.items()
            if not hand.hidden and (hand.made or pair in groups)
        }

    def _named(self, key: str, group: list[EntitySaid]) -> str:
        hand = self.hand.entity(key)
        if "name" in hand.values or not group:
            return str(hand.values.get("name", hand.called[0]))
        return majority(Counter(said.name for said in group))

    def _entity(self, key: str, group: list[EntitySaid], named: Any) -> dict[str, Any]:
        names = Counter(said.name for said in group)
        types = Counter(said.type for said in group if said.type)
        chosen = smallest(key, (said.text for said in group), K)
        chunks = len({said.chunk for said in group})
        hand, name = self.hand.entity(key), self._named(key, group)
        description = hand.values.get("description")
        if description is None:
            description = described(name, chosen) if chosen else hand.told or ""
        return {
            "id": stable_id("entity", key),
            "key": key,
            "name": name,
            "type": hand.values.get("type") or (majority(types) if types else "unknown"),
            "description": description,
            "weight": chunks,
            "state": state([chunks, ordered(names), ordered(types), chosen]),
            "vector": named(f"{name}\n{description}" if description else name),
        }

    def _relation(
        self, pair: tuple[str, str], group: list[tuple[bool, RelationSaid]], named: Any
    ) -> dict[str, Any]:
        left, right = pair
        left_names = Counter(said.source if forward else said.target for forward, said in group)
        right_names = Counter(said.target if forward else said.source for forward, said in group)
        ahead = sum(forward for forward, _ in group)
        back = len(group) - ahead
        words = smallest(left, (word for _, said in group for word in said.words), WORDS)
        chosen = smallest(f"{left}\n{right}", (said.text for _, said in group), K)
        chunks = len({said.chunk for _, said in group})
        hand = self.hand.relation(pair)
        ends = (
            hand.names[0] or (majority(left_names) if group else hand.called[0]),
            hand.names[1] or (majority(right_names) if group else hand.called[1]),
        )
        keys = pair
        if not hand.values.get("forward", ahead >= back):
            ends, keys = (ends[1], ends[0]), (right, left)
        description = hand.values.get("description")
        if description is None:
            description = described(f"({ends[0]}, {ends[1]})", chosen)
        shown = sorted(hand.values.get("keywords", words))
        return {
            "id": stable_id("relation", *pair),
            "left_id": stable_id("entity", left),
            "right_id": stable_id("entity", right),
            "source_key": keys[0],
            "target_key": keys[1],
            "source": ends[0],
            "target": ends[1],
            "keywords": "\x1f".join(shown),
            "description": description,
            "weight": hand.values.get("weight", chunks),
            "state": state([chunks, ahead, back, ordered(left_names), ordered(right_names), words, chosen]),
            "vector": named(
                f"{', '.join(shown)}\t{ends[0]}\n{ends[1]}" + (f"\n{description}" if description else "")
            ),
        }


# ---- evidence ------------------------------------------------------------------------------------------


def cut(document: Document) -> list[Chunk]:
    """The chunks of a document, in order."""
    context = Context.create(
        tokenizer=WordTokenizer(), embedder=DeterministicEmbedder(16), settings=settings()
    )
    return chunk(context, document)


def read(piece: Chunk) -> tuple[set[EntitySaid], set[RelationSaid]]:
    """What a chunk says."""
    entities, relations = records(piece.text)
    said: set[RelationSaid] = set()
    for source, target, words, text in relations:
        keys = (entity_key(source), entity_key(target))
        if keys[0] != keys[1]:
            names = (normalize_name(source), normalize_name(target))
            listed = tuple(sorted({word.strip() for word in words.split(",") if word.strip()}))
            said.add(RelationSaid(piece.id, *keys, *names, listed, text))
    named = {
        EntitySaid(piece.id, entity_key(name), normalize_name(name), type_.lower(), text)
        for name, type_, text in entities
    }
    known = {mention.key for mention in named}
    ends = [
        EntitySaid(piece.id, key, name, "", relation.text)
        for relation in said
        for key, name in (
            (relation.source_key, relation.source),
            (relation.target_key, relation.target),
        )
        if key not in known
    ]
    for key in {end.key for end in ends}:
        longest = sorted(
            (end for end in ends if end.key == key), key=lambda end: (-len(end.text), end.text, end.name)
        )
        named.add(longest[0])
    return named, said


# ---- folding -------------------------------------------------------------------------------------------


def majority(counts: Mapping[str, int]) -> str:
    return min(counts, key=lambda value: (-counts[value], value))


def smallest(salt: str, texts: Iterable[str], k: int) -> list[str]:
    return sorted(sorted({text for text in texts if text}, key=lambda text: digest(salt, text))[:k])


def described(subject: str, texts: list[str]) -> str:
    longest_first = sorted(texts, key=lambda text: (-len(text), text))
    return "\n".join(longest_first) if len(texts) < SUMMARIZE_FROM else summary(subject, longest_first)


# ---- plain values --------------------------------------------------------------------------------------


def ordered(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def state(value: list[Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def as_json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), ensure_ascii=False, sort_keys=True)


def pending(document: Document) -> dict[str, Any]:
    return {
        "document_id": document.id,
        "source": document.source,
        "metadata": as_json(document.metadata),
        "text": document.text,
    }


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: [(value is not None, str(value)) for value in row.values()])


def vectors_of(embedded: Mapping[str, str]) -> dict[str, str]:
    """A digest of the vector that each text must have."""
    keys = sorted(embedded)
    waiting = DeterministicEmbedder(16).embed([embedded[key] for key in keys], role="document")
    try:
        waiting.send(None)  # it never waits, and an event loop may be running here
    except StopIteration as done:
        vectors = done.value.vectors
    return {
        key: blake2b(vector.tobytes(), digest_size=16).hexdigest()
        for key, vector in zip(keys, vectors, strict=True)
    }
