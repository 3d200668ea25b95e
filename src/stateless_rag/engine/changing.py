"""The engine changes what is there."""

from __future__ import annotations

from collections.abc import Collection

from stateless_rag.changes import delete_documents
from stateless_rag.checks import flag, identifiers, optional
from stateless_rag.engine.core import Core
from stateless_rag.errors import InvalidInput
from stateless_rag.types import DeleteReport

__all__ = ["Changing"]

_PURPOSES = ("extract", "glean", "summarize", "keywords", "answer", "themes")


class Changing(Core):
    """Deleting documents, and replies that are kept."""

    async def delete(self, ids: Collection[str] | str, *, erase: bool = False) -> DeleteReport:
        """Delete documents with all that rests on them alone; one commit for all of them.

        What is pending of them is withdrawn as well. The rest of the workspace is as if they had never been
        there; entities and relations whose texts change may need a new summary.

        With `erase` no byte of them is left in any file of the root, whatever was made of them: replies of the LLM
        that are kept go with them (all that nothing in the workspace would ask for again, so also what documents
        deleted before have left), answers, and vectors; then the database file is rewritten, for which there must be
        room, and copies of it in an earlier format are removed. What is being ingested of them is stopped first. Ids
        that are not there are erased all the same: of documents that were deleted without `erase`. Backups and copies
        are not looked for. If it fails or is cancelled, call it again.
        """
        self._check()
        wanted = identifiers("ids", ids)
        if not flag("erase", erase):
            return await delete_documents(self._context, self._workspace, wanted)
        from stateless_rag.caring.erase import erase_documents, erased

        report = await erase_documents(self._context, self._workspace, wanted)
        return erased(report, await self._store.compact(self.name, keep_earlier=False))

    async def clear_cache(self, purposes: Collection[str] | str | None = None) -> int:
        """Drop the LLM's replies that are kept, all or those for some purposes; returns how many it were.

        Purposes are extract, glean, summarize, keywords, answer, themes. What is in the workspace stays as it is, and
        deleting stays exact: only what is asked again (after a failure, or because a text comes again) is paid
        again. `costs` still tells what was paid.
        """
        self._check()
        wanted = optional("purposes", purposes, identifiers)
        if unknown := sorted(set(wanted or ()) - set(_PURPOSES)):
            raise InvalidInput(f"purposes has {unknown}; there are {', '.join(_PURPOSES)}")
        return await self._workspace.forget_replies(wanted)
