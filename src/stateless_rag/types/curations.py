"""Changes made by hand, and what they give back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stateless_rag.types.evidence import Entity, Relation

__all__ = ["Curated", "Curation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curation:
    """One change made by hand: an entry of a workspace's log.

    `number` orders the log, `at` is the time in seconds since 1970 (0 for aliases that are older than the log).
    `kind` is one of create_entity, edit_entity, rename_entity, merge_entities, delete_entity, create_relation,
    edit_relation, delete_relation, alias, keep_apart and undo. `names` are those of the entities it is about, as
    they were shown then, `keys` their keys: of a rename the old and the new one, of a merge the sources and last the
    target, of keep_apart the two that are different, of an alias the name and what it stands for (nothing, where an
    alias was taken back). `payload` holds what was given, for an undo the `number` it undoes. `undone_by` is the
    number of the undo that is in force.
    """

    number: int
    at: float
    kind: str
    keys: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    payload: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    undone_by: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curated:
    """What a change by hand came to: its number in the log, the revision that it made, and the entity or the
    relation as it is now (None where there is none, or where an undo concerned several).
    """

    number: int
    revision: int
    entity: Entity | None = None
    relation: Relation | None = None
