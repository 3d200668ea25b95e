"""The engine keeps its workspace in order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stateless_rag.checks import flag
from stateless_rag.engine.core import Core

if TYPE_CHECKING:
    from stateless_rag.types import BackupReport, CheckReport, CompactReport, RepairReport

__all__ = ["Caring"]


class Caring(Core):
    """Checking, repairing, backups."""

    async def check(self, *, deep: bool = False) -> CheckReport:
        """Look whether everything in the workspace follows from its documents and from what was paid for.

        Documents and chunks are checked against their digests, entities and relations against their mentions,
        vectors against their texts' digests, and what is held in memory and in FAISS files against the tables; with
        `deep` also mentions against the LLM's replies that are kept, which takes longer. Nothing is changed, and no
        provider is called.
        """
        from stateless_rag.caring.check import check

        self._check()
        return await check(self._context, self._workspace, deep=flag("deep", deep))

    async def repair(self) -> RepairReport:
        """Mend what `check` finds as far as it follows from what is there, and tell what does not.

        Evidence wins: entities, relations, vectors and views are made anew from it. Missing vectors are embedded
        again, and a summary that the journal does not have is paid for, so this may raise ProviderError. Each step is
        all or nothing; others may work meanwhile. `RepairReport.lost` names documents to be ingested again.
        """
        from stateless_rag.caring.repair import repair

        self._check()
        report = await repair(self._context, self._workspace)
        await self._workspace.batches.refresh()
        return report

    async def backup(self, path: str | Path, *, overwrite: bool = False) -> BackupReport:
        """Write the workspace as it is at one revision into a file, while others go on reading and writing.

        The file is there as a whole at the end, or not at all; one that is there is replaced only with `overwrite`.
        `Store.restore` makes a workspace of it. Raises InvalidInput for a path that cannot be used, StoreError.
        """
        self._check()
        return await self._store.backup(self.name, path, overwrite=overwrite)

    async def copy(self, to: str) -> None:
        """Make a second workspace in the same store that holds what this one holds, journal included.

        All or nothing. Raises InvalidInput if `to` is there already.
        """
        self._check()
        await self._store.copy(self.name, to)

    async def compact(self) -> CompactReport:
        """Write the database file of the workspace anew, so that it holds nothing that was deleted.

        As `Store.compact`.
        """
        self._check()
        return await self._store.compact(self.name)
