"""Entities that belong together, and what was made of them for a question."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Community", "Theme"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Community:
    """Entities that are more closely related among themselves than to others.

    `id` follows from the members alone. `level` is the one at which it comes to be, 0 the coarsest; `parent` is the
    id of the community that it is a part of, `children` are those of its own parts, largest first. `members` are
    names of entities, those that most chunks tell of first; `title` are the first few. `size` counts all members,
    `chunks` the chunks that tell of it more than of any other.
    """

    id: str
    level: int
    title: tuple[str, ...]
    members: tuple[str, ...]
    size: int
    chunks: int
    parent: str | None = None
    children: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """A community that was picked for a question of mode themes.

    `share` is how much of the question's weight it has, from 0 to 1. `summary` is what the LLM makes of its entities,
    relations and passages, with references of this retrieval; empty where none was made.
    """

    community: str
    title: tuple[str, ...]
    size: int
    chunks: int
    share: float
    summary: str = ""
