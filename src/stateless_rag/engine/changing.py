"""The engine changes what is there."""

from __future__ import annotations

from collections.abc import Collection

from stateless_rag.changes import delete_documents
from stateless_rag.checks import identifiers
from stateless_rag.engine.core import Core
from stateless_rag.types import DeleteReport

__all__ = ["Changing"]


class Changing(Core):
    """Deleting documents."""

    async def delete(self, ids: Collection[str] | str) -> DeleteReport:
        """Delete documents with all that rests on them alone; one commit for all of them.

        What is pending of them is withdrawn as well. The rest of the workspace is as if they had never been
        there; entities and relations whose texts change may need a new summary.
        """
        self._check()
        return await delete_documents(self._context, self._workspace, identifiers("ids", ids))
