"""The engine changes the graph by hand."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from stateless_rag import curating
from stateless_rag.engine.core import Core

if TYPE_CHECKING:
    from stateless_rag.types import Curated, Curation

__all__ = ["Curating"]


class Curating(Core):
    """Changes by hand. They are evidence like what documents say, and come last: whatever is ingested or deleted
    later, they hold until they are undone.

    All raise InvalidInput, and change nothing, if what they are to change is not there, if what they are to make
    is there already, and for texts that are too long. Names may be aliases, here as everywhere.
    """

    async def create_entity(
        self,
        name: str,
        *,
        type: str | None = None,  # noqa: A002
        description: str | None = None,
    ) -> Curated:
        """Make an entity that no document need mention; its weight is the number of chunks that do.

        A type or a description that is not given is the documents', should any mention it.
        """
        self._check()
        return await curating.create_entity(self._context, self._workspace, name, type, description)

    async def edit_entity(
        self,
        name: str,
        *,
        type: str | None = None,  # noqa: A002
        description: str | None = None,
    ) -> Curated:
        """Give an entity another type or description, in place of what the documents say."""
        self._check()
        return await curating.edit_entity(self._context, self._workspace, name, type, description)

    async def rename_entity(self, name: str, new_name: str) -> Curated:
        """Give an entity another name, also where its relations show it.

        The old name stands for it from now on, in documents and in questions.
        """
        self._check()
        return await curating.rename_entity(self._context, self._workspace, name, new_name)

    async def merge_entities(
        self,
        sources: Collection[str] | str,
        target: str,
        *,
        type: str | None = None,  # noqa: A002
        description: str | None = None,
    ) -> Curated:
        """Make several entities one, under the name of the target, as if they had been called that all along.

        Their names stand for the target from now on. What was said by hand of the target wins over what was said
        of the sources. The target need not be there before.
        """
        self._check()
        return await curating.merge_entities(
            self._context, self._workspace, sources, target, type, description
        )

    async def delete_entity(self, name: str) -> Curated:
        """Delete an entity with its relations, whatever documents say of it, now or later.

        It is there again when this is undone, or when it is created again.
        """
        self._check()
        return await curating.delete_entity(self._context, self._workspace, name)

    async def create_relation(
        self,
        source: str,
        target: str,
        *,
        keywords: Collection[str] | str | None = None,
        description: str | None = None,
        weight: float | None = None,
    ) -> Curated:
        """Relate two entities; the relation keeps both, also when no document mentions them any more.

        Without a `weight` it is the number of chunks that state the relation (or what they say that it weighs).
        """
        self._check()
        return await curating.create_relation(
            self._context,
            self._workspace,
            source,
            target,
            keywords=keywords,
            description=description,
            weight=weight,
        )

    async def edit_relation(
        self,
        source: str,
        target: str,
        *,
        keywords: Collection[str] | str | None = None,
        description: str | None = None,
        weight: float | None = None,
    ) -> Curated:
        """Give a relation other keywords, another description or another weight. Its direction stays."""
        self._check()
        return await curating.edit_relation(
            self._context,
            self._workspace,
            source,
            target,
            keywords=keywords,
            description=description,
            weight=weight,
        )

    async def delete_relation(self, source: str, target: str) -> Curated:
        """Delete a relation, whatever documents say of it, now or later; its entities stay."""
        self._check()
        return await curating.delete_relation(self._context, self._workspace, source, target)

    async def alias(self, name: str, target: str | None) -> int:
        """Let an entity's name stand for another entity from now on (or, with None, for itself again).

        Stored evidence stays as it is: an alias can be taken back exactly. Returns the new revision. Raises
        InvalidInput for aliases that would lead in a circle.
        """
        self._check()
        return await curating.set_alias(self._context, self._workspace, name, target)

    async def aliases(self) -> Mapping[str, str]:
        """The aliases: keys and the keys they stand for."""
        self._check()
        return await curating.aliases_of(self._workspace)

    async def undo(self, number: int) -> Curated:
        """Take a change by hand back: the workspace is as if it had not been made, whatever came after it.

        An undo is a change, too: undoing it makes the other one again. Raises InvalidInput for a number that
        there is not, or that is undone already.
        """
        self._check()
        return await curating.undo(self._context, self._workspace, number)

    async def history(self, name: str | None = None, *, limit: int = 100) -> list[Curation]:
        """Changes by hand, newest first, at most `limit`; with a name, those of the entity and of its relations."""
        self._check()
        return await curating.history(self._context, self._workspace, name, limit)
