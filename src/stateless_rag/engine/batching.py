"""The engine hands the extraction over in files, for who can wait: half the price, within a day."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from stateless_rag.checks import callback, flag, identifier, identifiers, number, optional
from stateless_rag.engine.core import Core
from stateless_rag.errors import InvalidInput

if TYPE_CHECKING:
    from stateless_rag.ingest import Documents
    from stateless_rag.types import BatchInfo, BatchReport

__all__ = ["Batching"]


class Batching(Core):
    """Batches: submit, look, collect, cancel."""

    async def submit_batch(
        self, ids: Collection[str] | str | None = None, *, documents: Documents | None = None
    ) -> tuple[BatchInfo, ...]:
        """Hand over to the provider what extracting pending documents (or those of `ids`) needs, as files of requests.

        `submit` makes documents pending; so does this with `documents`, which nobody else works on in between, before
        it hands over what is pending. What is known, or with the provider already, is left out. The LLM must take
        batches (`BatchLLM`, as `OpenAILLM` does), else InvalidInput is raised. More than one batch is made where the
        provider's bounds ask for it, none if there is nothing to ask. Until the replies are collected, `work` and
        `resume` leave these documents alone unless their ids are given. When the first passes are collected, call it
        again for those that look for what was missed (`ExtractSettings.gleaning`), or let `resume` ask for these, and
        for summaries and embeddings, one by one. Raises ProviderError if the provider fails; a batch of which it is
        not known whether it arrived is found out about by the next call, and not submitted twice; BudgetExhausted,
        if the workspace's budget is used up.
        """
        from stateless_rag.batching import submit_batches

        self._check()
        wanted = optional("ids", ids, identifiers)
        if wanted is not None and documents is not None:
            raise InvalidInput("name pending documents by ids or give new documents, not both")
        return tuple(await submit_batches(await self._allowed(), self._workspace, wanted, documents))

    async def batches(self) -> list[BatchInfo]:
        """All batches that were submitted, oldest first, as they were when they were last looked at."""
        from stateless_rag.batching import info_of

        self._check()
        return [info_of(record) for record in await self._workspace.batches.all()]

    async def collect_batches(
        self,
        *,
        wait: bool = False,
        poll: float = 60.0,
        progress: Callable[[Sequence[BatchInfo]], None] | None = None,
    ) -> BatchReport:
        """Keep the replies of batches that have ended, and delete their files at the provider.

        They are kept where an ingest looks for them: `resume` then calls for what is left. With `wait` it returns when
        all batches have ended, looking every `poll` seconds and telling `progress` each time. Requests without a
        usable reply are in the report, and asked again by the next batch or by `resume`. Cancelling is safe: what was
        kept is kept. Raises ProviderError if the provider fails, after the other batches were looked at; with `wait`
        only for errors that do not pass.
        """
        from stateless_rag.batching import collect_batches

        self._check()
        return await collect_batches(
            self._context,
            self._workspace,
            wait=flag("wait", wait),
            poll=number("poll", poll, above=0.0),
            progress=optional("progress", progress, callback),
        )

    async def cancel_batch(self, batch_id: str, *, forget: bool = False) -> BatchInfo:
        """Ask the provider to stop a batch; `collect_batches` keeps what was answered by then.

        With `forget` nothing is asked of the provider, and its replies are never looked at: for a batch at a server
        that is gone. Its requests are free to be asked again, and what the provider does is paid for all the same.
        Raises InvalidInput if no such batch is with the provider.
        """
        from stateless_rag.batching import cancel_batch

        self._check()
        name = identifier("batch_id", batch_id)
        return await cancel_batch(self._context, self._workspace, name, forget=flag("forget", forget))
