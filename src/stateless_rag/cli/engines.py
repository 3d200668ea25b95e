"""Which providers a workspace is opened with."""

from __future__ import annotations

import re
import shlex
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from stateless_rag.converting import Converter
from stateless_rag.engine import Engine
from stateless_rag.errors import InvalidInput, WorkspaceMismatch, WorkspaceNotFound
from stateless_rag.limits import Limits
from stateless_rag.stores.duckdb.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from stateless_rag.protocols import LLM, Embedder, Observer
    from stateless_rag.settings import Configuration, StoreSettings

__all__ = ["embedder_for", "llm_for", "looking_engine", "named_embedder", "open_engine", "open_store"]

_HASHING = re.compile(r"hashing-1-(\d+)")


@asynccontextmanager
async def open_store(
    configuration: Configuration, *, create: bool, settings: StoreSettings | None = None
) -> AsyncIterator[Store]:
    """The store on the root folder. Unless it may be created, a folder without one is an error."""
    if not create:
        _check_there(configuration.root)
    async with Store.open(configuration.root, settings) as store:
        yield store


@asynccontextmanager
async def open_engine(
    configuration: Configuration,
    *,
    create: bool,
    note: Callable[[str], None],
    settings: StoreSettings | None = None,
    observer: Observer | None = None,
) -> AsyncIterator[Engine]:
    """An engine on the workspace, with the embedder that the workspace was made with."""
    name = configuration.workspace
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(configuration, create=create, settings=settings))
        recorded = (await store.describe(name)).embedder if name in await store.names() else None
        llm, embedder = llm_for(configuration), embedder_for(configuration, recorded, note)
        for provider in (llm, embedder):
            close = getattr(provider, "close", None)
            if close is not None:
                stack.push_async_callback(close)
        converter = await stack.enter_async_context(Converter())
        yield await stack.enter_async_context(
            Engine.open(
                store,
                name,
                converter=converter,
                llm=llm,
                models=None if configuration.offline else partial(_served_llm, configuration, stack),
                embedder=embedder,
                limits=Limits(llm=configuration.llm_calls),
                observer=observer,
                create=create,
            )
        )


@asynccontextmanager
async def looking_engine(
    configuration: Configuration, *, observer: Observer | None = None
) -> AsyncIterator[Engine]:
    """An engine for what asks no provider, on a workspace that is there; the embedder that it has need not be."""
    from stateless_rag.providers import AbsentEmbedder

    name = configuration.workspace
    async with open_store(configuration, create=False) as store:
        recorded = (await store.describe(name)).embedder
        embedder = None if recorded is None else AbsentEmbedder(recorded)
        opening = Engine.open(store, name, embedder=embedder, observer=observer, create=False)
        async with opening as engine:
            yield engine


def _served_llm(configuration: Configuration, stack: AsyncExitStack, model: str) -> LLM:
    """The LLM of a model that the workspace's settings name."""
    from stateless_rag.providers import OpenAILLM

    llm = OpenAILLM(model, api_key=configuration.api_key, base_url=configuration.base_url)
    stack.push_async_callback(llm.close)
    return llm


def _check_there(root: str) -> None:
    if not (Path(root).expanduser() / "stateless_rag.duckdb").exists():
        raise WorkspaceNotFound(
            f"there is no store in {root!r} yet; `stateless-rag ingest PATH… --root {shlex.quote(root)}` makes "
            "one, or name another folder with --root"
        )


def llm_for(configuration: Configuration) -> LLM | None:
    """The LLM, None without a server to ask."""
    if configuration.offline:
        return None
    from stateless_rag.providers import OpenAILLM

    return OpenAILLM(configuration.llm_model, api_key=configuration.api_key, base_url=configuration.base_url)


def embedder_for(configuration: Configuration, recorded: str | None, note: Callable[[str], None]) -> Embedder:
    """The configured embedder for a new workspace, else the recorded one."""
    from stateless_rag.providers import HashingEmbedder

    built_in = _HASHING.fullmatch(recorded or "")
    if built_in:
        if not (configuration.offline or configuration.embed_model == "hashing"):
            note(
                "note: this workspace was made with the built-in hashing embedder and stays with it; "
                f"`stateless-rag reembed {configuration.workspace} --embedder {configuration.embed_model}` changes it"
            )
        return HashingEmbedder(int(built_in[1]))
    wanted = _configured(configuration)
    if recorded in (None, wanted.model):
        return wanted
    if recorded.startswith("fastembed-") or ";" in recorded:
        raise WorkspaceMismatch(
            f"workspace {configuration.workspace!r} was made with embedder {recorded!r}; set "
            "STATELESS_RAG_EMBED_MODEL to it (fastembed:FOLDER for a local model), or use another workspace"
        )
    if configuration.offline:
        raise WorkspaceMismatch(
            f"workspace {configuration.workspace!r} was made with embedder {recorded!r}, which needs a server; "
            "set OPENAI_API_KEY or OPENAI_BASE_URL (and leave out --offline)"
        )
    return _served(configuration, recorded)


def named_embedder(configuration: Configuration) -> Embedder:
    """The configured embedder. Raises InvalidInput for a model of a server where there is none."""
    model = configuration.embed_model
    if configuration.offline and model != "hashing" and not model.startswith("fastembed:"):
        raise InvalidInput(
            f"embedder {model!r} needs a server; set OPENAI_API_KEY or OPENAI_BASE_URL (and leave out --offline), or "
            "name hashing or fastembed:FOLDER"
        )
    return _configured(configuration)


def _configured(configuration: Configuration) -> Embedder:
    from stateless_rag.providers import FastEmbedder, HashingEmbedder

    kind, _, model = configuration.embed_model.partition(":")
    if kind == "fastembed" and model:
        return FastEmbedder(model)
    if configuration.offline or configuration.embed_model == "hashing":
        return HashingEmbedder()
    return _served(configuration, configuration.embed_model)


def _served(configuration: Configuration, model: str) -> Embedder:
    from stateless_rag.providers import OpenAIEmbedder

    return OpenAIEmbedder(model, api_key=configuration.api_key, base_url=configuration.base_url)
