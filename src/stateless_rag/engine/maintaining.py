"""The engine changes what its documents were worked on with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from stateless_rag.checks import flag, identifier, identifiers, optional
from stateless_rag.enabling import set_enabled
from stateless_rag.engine.core import Core
from stateless_rag.errors import InvalidInput
from stateless_rag.filters import checked_filter
from stateless_rag.ingest import Ingest, new_tracking_id
from stateless_rag.limits import Priority
from stateless_rag.providers import as_embedder
from stateless_rag.reembedding import reembed
from stateless_rag.upgrading import chosen_documents, upgrades

if TYPE_CHECKING:
    from stateless_rag.protocols import Embedder
    from stateless_rag.types import Budget, EnableReport, InsertReport, ReembedReport

__all__ = ["Maintaining"]


class Maintaining(Core):
    """Another embedder or extractor for what is there; documents that are left out for a time."""

    async def reembed(
        self, embedder: Embedder | Callable[..., Any], *, cut: bool = False, budget: Budget | None = None
    ) -> ReembedReport:
        """Change the workspace to another embedder, whatever its dimension: its texts are embedded anew.

        No LLM is called.

        Questions are answered from the old vectors until all is there; then one commit changes over, and all
        engines of this process that are open on the workspace go on with the new embedder. Documents may be
        inserted and deleted meanwhile. If it fails, is cancelled or killed, call it again: what was embedded is not
        paid for twice. Called with the embedder that the workspace has, it forgets what another call has begun.
        Where the embedder takes less than a chunk holds, InvalidInput says so, unless `cut` is true: then the
        beginnings of such chunks are embedded. Raises ProviderError if the embedder fails, StoreError if the
        workspace is being re-embedded already, BudgetExhausted where `budget` or that of the workspace is used up;
        then the old vectors go on answering.
        """
        self._check()
        chosen, may_cut = as_embedder(embedder), flag("cut", cut)
        recorded: str | None = self._workspace.record.info.get("embedder")
        context = await self._allowed(budget, context=self._context.derive(embedder=chosen))
        report = await reembed(context, self._workspace, recorded, chosen, cut=may_cut)
        self._follow()
        return report

    async def upgrade(
        self,
        ids: Collection[str] | str | None = None,
        *,
        where: Mapping[str, Any] | None = None,
        tracking_id: str | None = None,
        budget: Budget | None = None,
    ) -> InsertReport:
        """Extract documents again with the extractor, the prompts and the LLM that the engine has now.

        Chosen are those of `ids`, those that meet a metadata filter (`where={}`: all), or both. Each goes on answering
        as it is until it is done. Chunks that were extracted in the same way before are kept, equal texts paid for
        once, and what a caller said of chunks (`insert_graph`) stays. The report tells of the documents with a chunk
        to extract; one that fails goes on answering as it was. Cancelling is safe: `resume` goes on, as it does where
        `budget`, or that of the workspace, is used up (`InsertReport.paused`). `describe` counts
        chunks by generation, which names what they were extracted with; nothing else extracts them again.
        Raises InvalidInput, and changes nothing, if nothing is chosen, or ids are not there.
        """
        self._check()
        wanted = optional("ids", ids, identifiers)
        condition = checked_filter("where", where)
        name = new_tracking_id() if tracking_id is None else identifier("tracking_id", tracking_id)
        if wanted is None and where is None:
            raise InvalidInput("nothing is chosen to be upgraded; give ids, or a filter (where={} for all)")
        context = (await self._allowed(budget)).derive(
            journal=self._workspace.journal, priority=Priority.INGEST
        )
        chosen = await chosen_documents(self._workspace, wanted, condition)
        submissions = upgrades(context, self._workspace, chosen, name)
        return await Ingest(context, self._workspace, name).take(submissions)

    async def disable(self, ids: Collection[str] | str) -> EnableReport:
        """Leave documents out of the graph and of every answer, as if they were deleted; one commit for all of them.

        What was extracted of them stays, so that `enable` costs no extraction. They stay disabled when they are
        updated, until they are enabled or deleted. Entities and relations whose texts change may need a new summary.
        `documents` shows them, as not `enabled`; exports, listings of the graph and filters leave them out.
        """
        self._check()
        return await set_enabled(self._context, self._workspace, identifiers("ids", ids), enabled=False)

    async def enable(self, ids: Collection[str] | str) -> EnableReport:
        """Take documents that were disabled into the graph again; the workspace is as if they had always been there.

        No LLM is called but for summaries that are not known, and nothing embedded whose vector is there still.
        """
        self._check()
        return await set_enabled(self._context, self._workspace, identifiers("ids", ids), enabled=True)
