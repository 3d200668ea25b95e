"""What a log of changes by hand says of an entity or a relation. Pure; every log has a meaning.

Curations are evidence. Each is kept under the keys that its names had when it was made; aliases are applied when the
log is read, as they are to mentions. Under one key they count in the order of their numbers. Where aliases bring
several keys together, values given for the key itself win over those that came with another one, whose name is not
taken over. What was undone counts as if it were not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from stateless_rag.text import relation_key

if TYPE_CHECKING:
    from stateless_rag.types import Curation

__all__ = ["CurationLog", "EntityByHand", "RelationByHand"]

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class EntityByHand:
    """What was said by hand of one entity; None in place of what was not.

    `made` entities are there without a mention, `hidden` ones are not there whatever mentions them. `called` and
    `told` stand in for a name and a description where no mention gives one: they come with a relation.
    """

    hidden: bool = False
    made: bool = False
    name: str | None = None
    type: str | None = None
    description: str | None = None
    called: str | None = None
    told: str | None = None


@dataclass(frozen=True, slots=True)
class RelationByHand:
    """What was said by hand of one relation; None in place of what was not.

    `forward` is whether it leads from the first key of the pair to the second. `left` and `right` are the names
    that were given to the entities; `called` are those that they had when the relation was made by hand.
    """

    hidden: bool = False
    made: bool = False
    forward: bool | None = None
    left: str | None = None
    right: str | None = None
    called: Pair | None = None
    keywords: tuple[str, ...] | None = None
    description: str | None = None
    weight: float | None = None

    @property
    def told(self) -> str | None:
        """No other says anything of a relation."""
        return None


@dataclass(frozen=True, slots=True)
class _State:
    """What the log says under one key or pair, before aliases bring several together."""

    last: int = -1
    hidden: bool = False
    made: bool = False
    values: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def then(self, entry: Curation) -> _State:
        if entry.kind.startswith("create_"):
            return _State(entry.number, False, True, entry.payload)
        if entry.kind.startswith("delete_"):
            return _State(entry.number, hidden=True)
        hidden = self.hidden and entry.kind not in ("rename_entity", "merge_entities")
        return _State(entry.number, hidden, self.made, {**self.values, **entry.payload})


@dataclass(frozen=True, slots=True, kw_only=True)
class CurationLog:
    """A log, and what is in force of it. Immutable; `following` is the log with one entry more.

    `entries` are all of them, in the order of their numbers. `aliases` maps keys to the keys they stand for.
    """

    entries: tuple[Curation, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    _entities: Mapping[str, _State] = field(default_factory=lambda: MappingProxyType({}))
    _relations: Mapping[Pair, _Stated] = field(default_factory=lambda: MappingProxyType({}))
    _ends: Mapping[str, frozenset[Pair]] = field(default_factory=lambda: MappingProxyType({}))
    _under: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, entries: Iterable[Curation]) -> CurationLog:
        """The log of entries in any order."""
        ordered = sorted(entries, key=lambda entry: entry.number)
        undone = _undone(ordered)
        told = tuple(_told(entry, undone.get(entry.number)) for entry in ordered)
        aliases = _aliases(entry for entry in told if entry.undone_by is None)
        log = cls(entries=told, aliases=MappingProxyType(aliases), _under=_under(aliases))
        entities: dict[str, _State] = {}
        relations: dict[Pair, _Stated] = {}
        for entry in told:
            if entry.undone_by is None:
                _apply(entry, entities, relations)
        ends: dict[str, set[Pair]] = {}
        for pair in relations:
            for end in pair:
                ends.setdefault(end, set()).add(pair)
        return replace(
            log,
            _entities=entities,
            _relations=relations,
            _ends={end: frozenset(pairs) for end, pairs in ends.items()},
        )

    def following(self, entry: Curation) -> CurationLog:
        """The log with one entry more, whose number is the next."""
        if entry.kind in ("undo", "alias", "rename_entity", "merge_entities"):
            return CurationLog.of((*self.entries, entry))
        entities, relations, ends = dict(self._entities), dict(self._relations), self._ends
        pair = _apply(entry, entities, relations)
        if pair is not None and pair not in self._relations:
            ends = {**ends, **{end: ends.get(end, frozenset()) | {pair} for end in pair}}
        return replace(
            self, entries=(*self.entries, entry), _entities=entities, _relations=relations, _ends=ends
        )

    @property
    def circle(self) -> str | None:
        """A key whose aliases lead back to it, if there is one; then no other question has an answer."""
        ends = {key for keys in self._under.values() for key in keys}
        return min(self.aliases.keys() - ends, default=None)

    @property
    def next_number(self) -> int:
        """The number of the next entry."""
        return self.entries[-1].number + 1 if self.entries else 1

    def entry(self, number: int) -> Curation | None:
        """The entry of a number."""
        found = (entry for entry in reversed(self.entries) if entry.number == number)
        return next(found, None)

    def subject(self, entry: Curation) -> Curation:
        """What an entry is about: itself, of an undo the entry that is taken out or brought back by it."""
        while entry.kind == "undo":
            target = self.entry(entry.payload["number"])
            if target is None:
                break
            entry = target
        return entry

    # ---- what is in force ------------------------------------------------------------------------------

    def resolve(self, key: str) -> str:
        """The key that a key stands for, at the end of its aliases."""
        while (target := self.aliases.get(key)) is not None:
            key = target
        return key

    def keys_under(self, key: str) -> tuple[str, ...]:
        """The keys that stand for a key, itself first."""
        return (key, *self._under.get(key, ()))

    def entity(self, key: str) -> EntityByHand | None:
        """What was said of the entity of a key, None if nothing was, or if the key stands for another."""
        if not self.entries or key in self.aliases:
            return None
        own = self._entities.get(key)
        if own is not None and own.hidden:
            return EntityByHand(hidden=True)
        carried = self._carried(self._entities.get(under) for under in self._under.get(key, ()))
        implied = self._implying(key)
        if own is None and not carried and implied is None:
            return None
        values = _joined(own, carried)
        return EntityByHand(
            made=implied is not None or any(state.made for state in (own, *carried) if state is not None),
            name=None if own is None else own.values.get("name"),
            type=values.get("type"),
            description=values.get("description"),
            called=values.get("name") or (implied and implied[0]),
            told=implied and implied[1],
        )

    def relation(self, pair: Pair) -> RelationByHand | None:
        """What was said of the relation of a pair of keys, in code point order, and of its entities, if anything."""
        left, right = pair
        if not self.entries or left in self.aliases or right in self.aliases:
            return None
        if self._is_hidden(left) or self._is_hidden(right):
            return RelationByHand(hidden=True)
        found = self._stated(pair)
        own = found.pop(pair, None)
        stated = sorted(found.values(), key=lambda one: one.state.last)
        every = [*stated, own] if own else stated
        names = (self._name(left), self._name(right))
        if not every:
            return None if names == (None, None) else RelationByHand(left=names[0], right=names[1])
        hidden = own.state.hidden if own else all(one.state.hidden for one in every)
        if hidden:
            return RelationByHand(hidden=True)
        values = _joined(
            None if own is None else own.state, [one.state for one in stated if not one.state.hidden]
        )
        makers = [one for one in every if one.state.made]
        forward = called = None
        if makers:
            source, _ = makers[-1].keys
            forward = self.resolve(source) == left
            called = makers[-1].names if forward else (makers[-1].names[1], makers[-1].names[0])
        keywords = values.get("keywords")
        return RelationByHand(
            made=bool(makers),
            forward=forward,
            left=names[0],
            right=names[1],
            called=called,
            keywords=None if keywords is None else tuple(keywords),
            description=values.get("description"),
            weight=values.get("weight"),
        )

    def pairs_of(self, key: str) -> set[Pair]:
        """The pairs, aliases applied, of relations that something was said of and that have this end."""
        kept = (pair for under in self.keys_under(key) for pair in self._ends.get(under, ()))
        return {pair for pair in map(self._final, kept) if pair[0] != pair[1]}

    # ---- plumbing --------------------------------------------------------------------------------------

    def _carried(self, states: Iterable[_State | None]) -> list[_State]:
        found = [state for state in states if state is not None and not state.hidden]
        return sorted(found, key=lambda state: state.last)

    def _is_hidden(self, key: str) -> bool:
        own = self._entities.get(key)
        return own is not None and own.hidden

    def _name(self, key: str) -> str | None:
        own = self._entities.get(key)
        name: str | None = None if own is None else own.values.get("name")
        return name

    def _final(self, pair: Pair) -> Pair:
        return relation_key(self.resolve(pair[0]), self.resolve(pair[1]))

    def _stated(self, pair: Pair) -> dict[Pair, _Stated]:
        """What was said of a relation, by the pairs of keys it was said of."""
        if not self._relations:
            return {}
        pairs = {kept for under in self.keys_under(pair[0]) for kept in self._ends.get(under, ())}
        return {kept: self._relations[kept] for kept in pairs if self._final(kept) == pair}

    def _implying(self, key: str) -> tuple[str, str | None] | None:
        """The name and the description that a relation made by hand gives its end: of the first such relation."""
        if not self._ends:
            return None
        for pair in sorted(self.pairs_of(key)):
            relation = self.relation(pair)
            if relation is not None and relation.made and relation.called is not None:
                return relation.called[pair[1] == key], relation.description
        return None


@dataclass(frozen=True, slots=True)
class _Stated:
    """As `_State`, of a relation; `keys` and `names` are those of its source and its target as it was made."""

    state: _State = field(default_factory=_State)
    keys: Pair = ("", "")
    names: Pair = ("", "")


def _apply(entry: Curation, entities: dict[str, _State], relations: dict[Pair, _Stated]) -> Pair | None:
    """Take an entry that is in force into account; returns the pair it is about, if it is about a relation."""
    if entry.kind.endswith("_relation"):
        pair = relation_key(*entry.keys)
        old = relations.get(pair, _Stated())
        made = entry.kind == "create_relation"
        keys, names = ((entry.keys, entry.names)) if made else (old.keys, old.names)
        relations[pair] = _Stated(old.state.then(entry), (keys[0], keys[1]), (names[0], names[1]))
        return pair
    if entry.kind.endswith(("_entity", "_entities")):
        key = entry.keys[-1]
        entities[key] = entities.get(key, _State()).then(entry)
    return None


def _joined(own: _State | None, carried: Sequence[_State]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for state in (*carried, own):
        if state is not None:
            values.update(state.values)
    return values


def _undone(entries: Sequence[Curation]) -> dict[int, int]:
    """By number, the undo that is in force: an undo that was undone itself is not."""
    undone: dict[int, int] = {}
    for entry in reversed(entries):
        if entry.kind == "undo" and entry.number not in undone:
            undone.setdefault(entry.payload["number"], entry.number)
    return undone


def _told(entry: Curation, undone_by: int | None) -> Curation:
    return entry if entry.undone_by == undone_by else replace(entry, undone_by=undone_by)


def _aliases(entries: Iterable[Curation]) -> dict[str, str]:
    aliases: dict[str, str] = {}
    for entry in entries:
        if entry.kind == "alias":
            aliases.pop(entry.keys[0], None)
            if len(entry.keys) > 1:
                aliases[entry.keys[0]] = entry.keys[1]
        elif entry.kind in ("rename_entity", "merge_entities"):
            *sources, target = entry.keys
            if sources != [target]:
                # The new name may have stood for the entity that bears it now.
                aliases.pop(target, None)
                aliases.update(dict.fromkeys(sources, target))
    return aliases


def _under(aliases: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """For each key the other keys that stand for it. Aliases in a circle stand for nothing."""
    under: dict[str, list[str]] = {}
    for key in aliases:
        end, passed = key, {key}
        while (step := aliases.get(end)) is not None and step not in passed:
            passed.add(step)
            end = step
        if end not in aliases:
            under.setdefault(end, []).append(key)
    return {key: tuple(keys) for key, keys in under.items()}
