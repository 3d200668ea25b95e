"""Changes by hand as plain Python: a list of steps, read anew at every question. And steps to try."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import strategies as st

from laws.generators import KEYS, KEYWORDS, TEXTS, TYPES
from stateless_rag.engine import Engine
from stateless_rag.text import entity_key

Pair = tuple[str, str]


class Step(NamedTuple):
    """A call of the engine's method of that name."""

    method: str
    arguments: tuple[Any, ...]
    options: Mapping[str, Any] = {}

    async def take(self, engine: Engine) -> Any:
        return await getattr(engine, self.method)(*self.arguments, **self.options)


class Entry(NamedTuple):
    number: int
    kind: str
    keys: tuple[str, ...]
    names: tuple[str, ...]
    values: Mapping[str, Any]


@dataclass
class Hand:
    """What was said of one entity or one relation."""

    hidden: bool = False
    made: bool = False
    values: dict[str, Any] = field(default_factory=dict)
    names: tuple[str | None, str | None] = (None, None)
    called: tuple[str, ...] = ()
    told: str | None = None


class Told(NamedTuple):
    """What the entries under one key, or pair of keys, add up to."""

    last: int
    hidden: bool
    made: Entry | None
    values: dict[str, Any]


@dataclass
class ByHand:
    """A log of changes by hand."""

    log: list[Entry] = field(default_factory=list)

    def add(self, kind: str, keys: Iterable[str], names: Iterable[str], **values: Any) -> None:
        given = {name: value for name, value in values.items() if value is not None}
        self.log.append(Entry(len(self.log) + 1, kind, tuple(keys), tuple(names), given))

    def undone(self) -> set[int]:
        gone: set[int] = set()
        for entry in reversed(self.log):
            if entry.kind == "undo" and entry.number not in gone:
                gone.add(entry.values["number"])
        return gone

    def live(self) -> list[Entry]:
        gone = self.undone()
        return [entry for entry in self.log if entry.number not in gone and entry.kind != "undo"]

    def aliases(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for entry in self.live():
            if entry.kind == "alias":
                found.pop(entry.keys[0], None)
                found.update([entry.keys] if len(entry.keys) == 2 else [])
            elif entry.kind in ("rename_entity", "merge_entities") and len(set(entry.keys)) > 1:
                found.pop(entry.keys[-1], None)
                found.update(dict.fromkeys(entry.keys[:-1], entry.keys[-1]))
        return found

    def in_circle(self) -> bool:
        aliases = self.aliases()
        for key in aliases:
            seen = [key]
            while (step := aliases.get(seen[-1])) is not None:
                if step in seen:
                    return True
                seen.append(step)
        return False

    def resolve(self, key: str) -> str:
        aliases = self.aliases()
        while key in aliases:
            key = aliases[key]
        return key

    # ---- what it says ----------------------------------------------------------------------------------

    def entity(self, key: str) -> Hand:
        told = self._told(lambda e: e.keys[-1] if e.kind.endswith(("_entity", "_entities")) else None)
        own = told.pop(key, None)
        if key in self.aliases():
            return Hand()
        if own is not None and own.hidden:
            return Hand(hidden=True)
        with_it = sorted(t for k, t in told.items() if self.resolve(k) == key and not t.hidden)
        everything = [*with_it, own] if own else with_it
        values = {name: value for t in everything for name, value in t.values.items()}
        hand = Hand(made=any(t.made for t in everything), values=dict(values))
        if "name" in values:
            hand.called = (values["name"],)
        if own is None or "name" not in own.values:
            hand.values.pop("name", None)
        else:
            hand.values["name"] = own.values["name"]
        for pair in sorted(self.pairs(), reverse=True):
            relation = self.relation(pair)
            if key in pair and relation.made:
                hand.made, hand.told = True, relation.values.get("description")
                called = relation.called[pair.index(key)]
                hand.called = (values.get("name", called),)
        return hand

    def relation(self, pair: Pair) -> Hand:
        told = self._told(lambda e: min(e.keys, e.keys[::-1]) if e.kind.endswith("_relation") else None)
        if {*pair} & self.aliases().keys():
            return Hand()
        if any(self._hidden(end) for end in pair):
            return Hand(hidden=True)
        own = told.pop(pair, None)
        with_it = sorted(t for p, t in told.items() if self.pair(p) == pair)
        if own.hidden if own else (with_it and all(t.hidden for t in with_it)):
            return Hand(hidden=True)
        shown = [t for t in with_it if not t.hidden] + ([own] if own else [])
        names = (self._name(pair[0]), self._name(pair[1]))
        hand = Hand(values={n: v for t in shown for n, v in t.values.items()}, names=names)
        for t in shown:
            if t.made is not None:
                forward = self.resolve(t.made.keys[0]) == pair[0]
                hand.made, hand.values["forward"] = True, forward
                hand.called = t.made.names if forward else t.made.names[::-1]
        return hand

    def pair(self, keys: Iterable[str]) -> Pair:
        one, other = sorted(map(self.resolve, keys))
        return one, other

    def pairs(self) -> set[Pair]:
        """The pairs that anything was said of."""
        found = {self.pair(entry.keys) for entry in self.live() if entry.kind.endswith("_relation")}
        return {pair for pair in found if pair[0] != pair[1]}

    def keys(self) -> set[str]:
        return {self.resolve(key) for entry in self.live() for key in entry.keys}

    def _hidden(self, key: str) -> bool:
        told = self._told(lambda e: e.keys[-1] if e.kind.endswith(("_entity", "_entities")) else None)
        return key in told and told[key].hidden

    def _name(self, key: str) -> str | None:
        told = self._told(lambda e: e.keys[-1] if e.kind.endswith(("_entity", "_entities")) else None)
        return told[key].values.get("name") if key in told else None

    def _told(self, where: Callable[[Entry], Any]) -> dict[Any, Told]:
        found: dict[Any, Told] = {}
        for entry in self.live():
            place = where(entry)
            if place is None:
                continue
            _, hidden, made, values = found.get(place) or Told(0, False, None, {})
            if entry.kind.startswith("create_"):
                hidden, made, values = False, entry, {}
            elif entry.kind.startswith("delete_"):
                hidden, made, values = True, None, {}
            elif entry.kind in ("rename_entity", "merge_entities"):
                hidden = False
            kept = {} if entry.kind.startswith("delete_") else {**values, **entry.values}
            found[place] = Told(entry.number, hidden, made, kept)
        return found


# ---- steps ---------------------------------------------------------------------------------------------

names = st.sampled_from((*KEYS, "Hopper", "COBOL"))


@st.composite
def _options(draw: st.DrawFn, *kinds: str) -> dict[str, Any]:
    everything = {
        "type": st.sampled_from(TYPES),
        "description": st.sampled_from((*TEXTS, "by hand", "")),
        "keywords": st.lists(st.sampled_from((*KEYWORDS, "by hand")), max_size=2),
        "weight": st.integers(0, 9),
    }
    return {kind: draw(everything[kind]) for kind in kinds if draw(st.booleans())}


def steps() -> st.SearchStrategy[Step]:
    """Any change by hand but aliases and undoing."""
    about, related = ("type", "description"), ("keywords", "description", "weight")
    one, two, several = st.tuples(names), st.tuples(names, names), st.lists(names, min_size=1, max_size=3)
    parts = (
        (("create_entity", "edit_entity"), one, _options(*about)),
        (("create_relation", "edit_relation"), two, _options(*related)),
        (("delete_entity",), one, _options()),
        (("delete_relation", "rename_entity"), two, _options()),
        (("merge_entities",), st.tuples(several, names), _options(*about)),
    )
    return st.one_of([st.tuples(st.sampled_from(methods), *rest).map(Step._make) for methods, *rest in parts])


# ---- which of them can be done -------------------------------------------------------------------------


def entry_of(
    hand: ByHand, step: Step, entities: Mapping[str, str], relations: Iterable[Pair]
) -> ByHand | None:
    """The log after a step, None if it cannot be taken; `entities` are the names that are shown, by key."""
    given = dict(step.options)
    if "type" in given:
        given["type"] = given["type"].lower()
    if "keywords" in given:
        given["keywords"] = sorted(set(given["keywords"]))
    following = ByHand(list(hand.log))

    def key_of(name: str) -> str:
        return hand.resolve(entity_key(name))

    if step.method.endswith("_relation"):
        keys = [key_of(name) for name in step.arguments]
        known = len(set(keys)) == 2 and all(key in entities for key in keys)
        exists = known and hand.pair(keys) in set(relations)
        if not known or exists == (step.method == "create_relation"):
            return None
        if step.method == "edit_relation" and not given:
            return None
        following.add(step.method, keys, [entities[key] for key in keys], **given)
        return following
    if step.method == "merge_entities":
        sources, target = step.arguments
        if not all(key_of(name) in entities for name in sources):
            return None
        into = key_of(target)
        merged = list(dict.fromkeys(key for key in map(key_of, sources) if key != into))
        if not merged:
            return None
        name = entities.get(into, target)
        shown = [*(entities[key] for key in merged), name]
        following.add(step.method, [*merged, into], shown, name=name, **given)
    else:
        name, *new = step.arguments
        key = key_of(name)
        if (key in entities) == (step.method == "create_entity"):
            return None
        if step.method == "edit_entity" and not given:
            return None
        if step.method == "create_entity":
            following.add(step.method, [key], [name], name=name, **given)
        elif step.method == "rename_entity":
            other = key_of(new[0])
            if (other in entities and other != key) or entities[key] == new[0]:
                return None
            raw = entity_key(new[0])
            target = raw if other in (raw, key) else other
            following.add(step.method, [key, target], [entities[key], new[0]], name=new[0])
        else:
            following.add(step.method, [key], [entities[key]], **given)
    return None if following.in_circle() else following
