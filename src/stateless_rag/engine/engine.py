"""The engine: the async façade on one workspace. Each part of it is a file beside this one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stateless_rag.checks import callback, flag, optional, path
from stateless_rag.context import Clock, Context
from stateless_rag.engine.asking import Asking
from stateless_rag.engine.batching import Batching
from stateless_rag.engine.caring import Caring
from stateless_rag.engine.changing import Changing
from stateless_rag.engine.configuring import Configuring
from stateless_rag.engine.costing import Costing
from stateless_rag.engine.curating import Curating
from stateless_rag.engine.grouping import Grouping
from stateless_rag.engine.ingesting import Ingesting
from stateless_rag.engine.looking import Looking
from stateless_rag.engine.maintaining import Maintaining
from stateless_rag.engine.moving import Moving
from stateless_rag.engine.trusting import Trusting
from stateless_rag.identity import Fit, made_with
from stateless_rag.limits import Limits
from stateless_rag.opening import Opening
from stateless_rag.prompts import Prompts
from stateless_rag.settings import Settings

if TYPE_CHECKING:
    from stateless_rag.protocols import LLM, Embedder, Extractor, FileReader, Observer, Reranker, Tokenizer
    from stateless_rag.stores.duckdb.store import Store

__all__ = ["Engine"]


class Engine(
    Ingesting,
    Changing,
    Curating,
    Asking,
    Looking,
    Grouping,
    Moving,
    Configuring,
    Maintaining,
    Caring,
    Costing,
    Batching,
    Trusting,
):
    """One workspace, ready to take documents in and to answer questions.

    Get one by `await Engine.open(…)` or `async with Engine.open(…) as engine`; there is no other way. Any
    number of engines work side by side, also on one workspace, where they see each other's commits.
    """

    @classmethod
    def open(
        cls,
        store: Store | str | Path,
        workspace: str = "default",
        *,
        settings: Settings | None = None,
        llm: LLM | Callable[..., Any] | None = None,
        roles: Mapping[str, LLM | Callable[..., Any]] | None = None,
        models: Callable[[str], LLM | Callable[..., Any]] | None = None,
        embedder: Embedder | Callable[..., Any] | None = None,
        reranker: Reranker | Callable[..., Any] | None = None,
        tokenizer: Tokenizer | None = None,
        extractor: Extractor | None = None,
        converter: FileReader | None = None,
        prompts: Prompts | None = None,
        limits: Limits | None = None,
        observer: Observer | None = None,
        clock: Clock | None = None,
        create: bool = True,
    ) -> Opening[Engine]:
        """Open an engine on a workspace of a store, or of a root folder that this engine then owns.

        Without an `llm` the built-in extractor works and answers are passages; without an `embedder` the
        built-in hashing embedder does; without a `tokenizer`, that of the store counts, which all its engines
        share. Providers may be any async callables. `roles` gives other
        LLMs than `llm` to some work: extract, summarize, keywords, answer; `models` makes the LLM of a name, once,
        for models that the workspace's settings name for such work. Engines may share `limits`. A `converter` makes
        texts of files (`FileDocument`); it stays the caller's to close.
        What `settings` and `prompts` say otherwise than by default holds for this engine, and is kept with a
        workspace that is created; the rest is as the workspace's settings say (`configure`).
        A workspace that does not exist is created, unless `create` is false (WorkspaceNotFound). Raises
        StoreLocked if another store owns the root, and WorkspaceMismatch if the workspace was written with
        another embedder, tokenizer or key policy.
        """
        optional("models", models, callback)
        context = Context.create(
            llm=llm,
            roles=roles,
            embedder=embedder,
            tokenizer=tokenizer,
            extractor=extractor,
            reranker=reranker,
            converter=converter,
            settings=Settings() if settings is None else settings,
            prompts=Prompts() if prompts is None else prompts,
            limits=Limits() if limits is None else limits,
            observer=observer,
            clock=Clock() if clock is None else clock,
            workspace=workspace,
        )
        flag("create", create)
        shared = tokenizer is None

        async def enter() -> Engine:
            fit = Fit(context, models, extracts=extractor is not None)
            return await _open(fit, store, workspace, create=create, shared_tokenizer=shared)

        return Opening(enter, lambda engine: engine.close())


async def _open(
    fit: Fit, store: Store | str | Path, name: str, *, create: bool, shared_tokenizer: bool
) -> Engine:
    from stateless_rag.stores.duckdb.store import Store

    owns = not isinstance(store, Store)
    opened = store if isinstance(store, Store) else await Store.open(path("store", store))
    fit.context = fit.context.derive(way=opened.way)
    if shared_tokenizer:
        fit.context = fit.context.derive(tokenizer=opened.tokenizer)
    workspace = None
    try:
        workspace = await opened.workspace(name, create=made_with(fit.context) if create else None)
        return Engine(fit, opened, workspace, owns_store=owns)
    except BaseException:
        if workspace is not None:
            opened.release(workspace)
        if owns:
            await opened.close()
        raise
