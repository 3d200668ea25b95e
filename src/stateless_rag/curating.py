"""Changes by hand: creating, editing, renaming, merging and deleting entities and relations, aliases, undoing.

Each is one entry of the workspace's log, and one commit. What may be changed is decided on the revision that the
commit is computed from, so it still holds when it is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from stateless_rag.checks import iterable, optional, shown, text, texts, whole
from stateless_rag.checks import weight as checked_weight
from stateless_rag.commit import Batch, commit
from stateless_rag.context import Meter
from stateless_rag.errors import InvalidInput
from stateless_rag.kinds import entity_row_id, relation_row_id
from stateless_rag.stages.records import split_keywords
from stateless_rag.text import entity_key, normalize_name, relation_key
from stateless_rag.types import Curated, Curation

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.protocols import Basis, Workspace
    from stateless_rag.text import KeyPolicy
    from stateless_rag.types import Entity, Relation

__all__ = [
    "aliases_of",
    "checked_entity",
    "create_entity",
    "create_relation",
    "delete_entity",
    "delete_relation",
    "edit_entity",
    "edit_relation",
    "history",
    "keep_apart",
    "merge_duplicates",
    "merge_entities",
    "rename_entity",
    "set_alias",
    "undo",
]

_NAME_LIMIT, _DESCRIPTION_LIMIT, _KEYWORDS_LIMIT = 256, 10_000, 100  # characters, characters, how many

Ends = tuple["_Named", "_Named"]


@dataclass(frozen=True, slots=True)
class _Named:
    """A name as it was given, and its key before aliases."""

    argument: str
    name: str
    key: str


# ---- entities ------------------------------------------------------------------------------------------


async def create_entity(
    context: Context, workspace: Workspace, name: str, type_: str | None, description: str | None
) -> Curated:
    """Make an entity; what is not given comes from documents, should any mention it."""
    new = _named(context, "name", name)
    values = {"name": new.name, **_entity_values(type_, description)}

    def draft(basis: Basis) -> Curation:
        found = _entity(basis, new)
        if found is not None:
            raise InvalidInput(
                f"{new.argument} is {shown(name)}, but there is an entity {found.name!r}; edit that one"
            )
        return _entry(context, basis, "create_entity", [_resolved(basis, new)], [new.name], values)

    return await _curate(context, workspace, draft)


async def edit_entity(
    context: Context, workspace: Workspace, name: str, type_: str | None, description: str | None
) -> Curated:
    """Give an entity another type or description."""
    named, values = _named(context, "name", name), _entity_values(type_, description)
    if not values:
        raise InvalidInput(f"nothing to change of {shown(name)}; give a type or a description")

    def draft(basis: Basis) -> Curation:
        found = _known_entity(basis, named)
        return _entry(context, basis, "edit_entity", [found.key], [found.name], values)

    return await _curate(context, workspace, draft)


async def rename_entity(context: Context, workspace: Workspace, name: str, new_name: str) -> Curated:
    """Give an entity another name; the old one stands for it from now on."""
    old, new = _named(context, "name", name), _named(context, "new_name", new_name)

    def draft(basis: Basis) -> Curation:
        found, other = _known_entity(basis, old), _entity(basis, new)
        if other is not None and other.key != found.key:
            raise InvalidInput(
                f"new_name is {shown(new_name)}, but there is an entity {other.name!r}; merge the two instead"
            )
        if found.name == new.name:
            raise InvalidInput(f"new_name is {shown(new_name)}, which is the entity's name already")
        # Under a name that stands for what is not there the entity would be found under neither.
        target = new.key if _resolved(basis, new) in (new.key, found.key) else _resolved(basis, new)
        return _entry(
            context,
            basis,
            "rename_entity",
            [found.key, target],
            [found.name, new.name],
            {"name": new.name},
        )

    return await _curate(context, workspace, draft)


async def merge_entities(
    context: Context,
    workspace: Workspace,
    sources: Collection[str] | str,
    target: str,
    type_: str | None,
    description: str | None,
) -> Curated:
    """Make several entities one; the names of the sources stand for the target from now on."""
    given = [sources] if isinstance(sources, str) else texts("sources", sources)
    olds = [_named(context, f"sources[{place}]", name) for place, name in enumerate(given)]
    into, values = _named(context, "target", target), _entity_values(type_, description)

    def draft(basis: Basis) -> Curation:
        known = {found.key: found.name for found in (_known_entity(basis, old) for old in olds)}
        there = _entity(basis, into)
        key, name = (_resolved(basis, into), into.name) if there is None else (there.key, there.name)
        merged = {source: shown for source, shown in known.items() if source != key}
        if not merged:
            raise InvalidInput(f"sources is {shown(sources)}; it must name other entities than the target")
        return _entry(
            context,
            basis,
            "merge_entities",
            [*merged, key],
            [*merged.values(), name],
            {"name": name, **values},
        )

    return await _curate(context, workspace, draft)


async def merge_duplicates(context: Context, workspace: Workspace, source: str, target: str) -> Curated:
    """As `merge_entities`, of two entities that are both there."""
    ends = _ends(context, source, target)

    def draft(basis: Basis) -> Curation:
        one, other = _known_ends(basis, ends)
        keys, names = [one.key, other.key], [one.name, other.name]
        return _entry(context, basis, "merge_entities", keys, names, {"name": other.name})

    return await _curate(context, workspace, draft)


async def keep_apart(context: Context, workspace: Workspace, source: str, target: str) -> Curated:
    """Note that two entities are different; it changes neither."""
    ends = _ends(context, source, target)

    def draft(basis: Basis) -> Curation:
        one, other = _known_ends(basis, ends)
        return _entry(context, basis, "keep_apart", [one.key, other.key], [one.name, other.name], {})

    return await _curate(context, workspace, draft)


async def delete_entity(context: Context, workspace: Workspace, name: str) -> Curated:
    """Hide an entity with its relations, whatever mentions it, until it is created again."""
    named = _named(context, "name", name)

    def draft(basis: Basis) -> Curation:
        found = _known_entity(basis, named)
        return _entry(context, basis, "delete_entity", [found.key], [found.name], {})

    return await _curate(context, workspace, draft)


# ---- relations -----------------------------------------------------------------------------------------


async def create_relation(
    context: Context, workspace: Workspace, source: str, target: str, **given: Any
) -> Curated:
    """Make a relation between two entities that are there; it keeps both."""
    ends, values = _ends(context, source, target), _relation_values(**given)

    def draft(basis: Basis) -> Curation:
        one, other = _known_ends(basis, ends)
        if _relation(basis, one, other) is not None:
            raise InvalidInput(f"{one.name!r} and {other.name!r} are related already; edit that relation")
        return _entry(context, basis, "create_relation", [one.key, other.key], [one.name, other.name], values)

    return await _curate(context, workspace, draft)


async def edit_relation(
    context: Context, workspace: Workspace, source: str, target: str, **given: Any
) -> Curated:
    """Give a relation other keywords, another description or another weight."""
    ends, values = _ends(context, source, target), _relation_values(**given)
    if not values:
        raise InvalidInput("nothing to change; give keywords, a description or a weight")
    return await _curate(
        context, workspace, lambda basis: _about_relation(context, basis, "edit_relation", ends, values)
    )


async def delete_relation(context: Context, workspace: Workspace, source: str, target: str) -> Curated:
    """Hide a relation, whatever states it, until it is created again."""
    ends = _ends(context, source, target)
    return await _curate(
        context, workspace, lambda basis: _about_relation(context, basis, "delete_relation", ends, {})
    )


def _about_relation(
    context: Context, basis: Basis, kind: str, ends: Ends, values: Mapping[str, Any]
) -> Curation:
    one, other = _known_ends(basis, ends)
    if _relation(basis, one, other) is None:
        raise InvalidInput(f"{one.name!r} and {other.name!r} are not related; create the relation first")
    return _entry(context, basis, kind, [one.key, other.key], [one.name, other.name], values)


# ---- aliases -------------------------------------------------------------------------------------------


async def set_alias(context: Context, workspace: Workspace, name: str, target: str | None) -> int:
    """Commit an alias, or with None take it back; returns the revision, the old one if nothing changes.

    Raises InvalidInput for names that are none, and for aliases that would lead in a circle.
    """
    one = _named(context, "name", name)
    named = [one] if target is None else [one, _named(context, "target", target)]

    def draft(basis: Basis) -> Curation | None:
        stands_for = None if target is None else named[1].key
        if basis.aliases().get(one.key) == stands_for:
            return None
        return _entry(context, basis, "alias", [n.key for n in named], [n.name for n in named], {})

    changing = context.derive(meter=Meter(), journal=workspace.journal)
    return (await commit(changing, workspace, Batch(curation=draft))).revision


async def aliases_of(workspace: Workspace) -> Mapping[str, str]:
    """The aliases: keys and the keys they stand for."""
    return await workspace.read_basis(lambda basis: MappingProxyType(dict(basis.aliases())))


# ---- the log -------------------------------------------------------------------------------------------


async def undo(context: Context, workspace: Workspace, number: int) -> Curated:
    """Take a change by hand back; the workspace is as if it had not been made. Undoing an undo makes it again."""
    wanted = whole("number", number, least=1)

    def draft(basis: Basis) -> Curation:
        entry = basis.curations().entry(wanted)
        if entry is None:
            raise InvalidInput(f"number is {wanted}, but there is no change of that number; see the history")
        if entry.undone_by is not None:
            raise InvalidInput(f"number is {wanted}, which number {entry.undone_by} has undone already")
        return _entry(context, basis, "undo", [], entry.names, {"number": wanted})

    return await _curate(context, workspace, draft)


async def history(context: Context, workspace: Workspace, name: str | None, limit: int) -> list[Curation]:
    """Changes by hand, newest first; with a name, those of the entity and of its relations."""
    named = None if name is None else _named(context, "name", name)
    most = whole("limit", limit)

    def read(basis: Basis) -> list[Curation]:
        log = basis.curations()
        newest = reversed(log.entries)
        if named is None:
            return [entry for entry, _ in zip(newest, range(most), strict=False)]
        wanted = {named.key, log.resolve(named.key)}
        found = (
            entry
            for entry in newest
            if any(key in wanted or log.resolve(key) in wanted for key in log.subject(entry).keys)
        )
        return [entry for entry, _ in zip(found, range(most), strict=False)]

    return await workspace.read_basis(read)


# ---- what is given -------------------------------------------------------------------------------------


def checked_entity(
    context: Context,
    argument: str,
    name: str,
    *,
    type: str | None = None,  # noqa: A002
    description: str | None = None,
) -> str:
    """The name as it is shown. Raises InvalidInput if no entity can have it, the type or the description."""
    _entity_values(type, description)
    return _named(context, argument, name).name


def _named(context: Context, argument: str, name: str) -> _Named:
    policy: KeyPolicy = context.settings.merging.key_policy
    found = normalize_name(text(argument, name, most=_NAME_LIMIT))
    key = entity_key(found, policy)
    if not key:
        raise InvalidInput(f"{argument} is {shown(name)}; it must name an entity")
    return _Named(argument, found, key)


def _ends(context: Context, source: str, target: str) -> Ends:
    return _named(context, "source", source), _named(context, "target", target)


def _entity_values(type_: str | None, description: str | None) -> dict[str, Any]:
    """What is given of an entity, as it is kept."""
    values: dict[str, Any] = {}
    if type_ is not None:
        kind = normalize_name(text("type", type_, most=_NAME_LIMIT)).casefold()
        if not kind:
            raise InvalidInput(f"type is {shown(type_)}; it must be a word or two, such as person")
        values["type"] = kind
    if description is not None:
        values["description"] = text("description", description, most=_DESCRIPTION_LIMIT).strip()
    return values


def _relation_values(
    *, keywords: Sequence[str] | str | None, description: str | None, weight: float | None
) -> dict[str, Any]:
    """What is given of a relation, as it is kept."""
    values: dict[str, Any] = {}
    if keywords is not None:
        given = [keywords] if isinstance(keywords, str) else iterable("keywords", keywords, wanted="strings")
        words = split_keywords(
            *(text(f"keywords[{place}]", word, most=_DESCRIPTION_LIMIT) for place, word in enumerate(given))
        )
        if len(words) > _KEYWORDS_LIMIT:
            raise InvalidInput(f"keywords are {len(words)}; there may be at most {_KEYWORDS_LIMIT}")
        values["keywords"] = list(words)
    if description is not None:
        values["description"] = text("description", description, most=_DESCRIPTION_LIMIT).strip()
    if (heavy := optional("weight", weight, checked_weight)) is not None:
        values["weight"] = heavy
    return values


# ---- what there is -------------------------------------------------------------------------------------


def _resolved(basis: Basis, named: _Named) -> str:
    return basis.curations().resolve(named.key)


def _entity(basis: Basis, named: _Named) -> Entity | None:
    return _entity_at(basis, _resolved(basis, named))


def _entity_at(basis: Basis, key: str) -> Entity | None:
    rows = basis.entity_rows([entity_row_id(key)])
    return next((row.entity for row in rows.values()), None)


def _known_entity(basis: Basis, named: _Named) -> Entity:
    found = _entity(basis, named)
    if found is None:
        raise InvalidInput(
            f"{named.argument} is {shown(named.name)}, but there is no such entity; create it first"
        )
    return found


def _known_ends(basis: Basis, ends: Ends) -> tuple[Entity, Entity]:
    one, other = _known_entity(basis, ends[0]), _known_entity(basis, ends[1])
    if one.key == other.key:
        raise InvalidInput(f"source and target are both {one.name!r}; a relation needs two entities")
    return one, other


def _relation(basis: Basis, one: Entity, other: Entity) -> Relation | None:
    return _relation_at(basis, one.key, other.key)


def _relation_at(basis: Basis, one: str, other: str) -> Relation | None:
    rows = basis.relation_rows([relation_row_id(relation_key(one, other))])
    return next((row.relation for row in rows.values()), None)


def _entry(
    context: Context,
    basis: Basis,
    kind: str,
    keys: Sequence[str],
    names: Sequence[str],
    payload: Mapping[str, Any],
) -> Curation:
    return Curation(
        number=basis.curations().next_number,
        at=context.clock.wall(),
        kind=kind,
        keys=tuple(keys),
        names=tuple(names),
        payload=MappingProxyType(dict(payload)),
    )


async def _curate(context: Context, workspace: Workspace, draft: Callable[[Basis], Curation]) -> Curated:
    """Commit a change, and look at what it came to."""
    changing = context.derive(meter=Meter(), journal=workspace.journal)
    committed = await commit(changing, workspace, Batch(curation=draft))
    entry = committed.curation
    assert entry is not None  # noqa: S101 -- the draft always makes one

    def read(basis: Basis) -> Curated:
        log = basis.curations()
        about = log.subject(entry)
        entity = relation = None
        if about.kind.endswith("_relation"):
            relation = _relation_at(basis, log.resolve(about.keys[0]), log.resolve(about.keys[1]))
        elif about is entry or len(about.keys) == 1:
            entity = _entity_at(basis, log.resolve(about.keys[-1]))
        return Curated(number=entry.number, revision=committed.revision, entity=entity, relation=relation)

    return await workspace.read_basis(read)
