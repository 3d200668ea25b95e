"""The application: what is open while it runs, what goes around each request, and all routes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from stateless_rag.context import Clock
from stateless_rag.errors import InvalidInput

try:
    from fastapi import FastAPI
    from starlette.middleware import Middleware
    from starlette.middleware.cors import CORSMiddleware
except ImportError as error:
    raise InvalidInput("the server needs FastAPI: pip install 'stateless-rag[server]'") from error

from stateless_rag import __version__
from stateless_rag.checks import callback, instance
from stateless_rag.server import routes
from stateless_rag.server.guards import KeysFirst, KnownHosts
from stateless_rag.server.metrics import Metrics
from stateless_rag.server.problems import add_handlers
from stateless_rag.server.requests import BodyLimits, RequestLog, limits_of
from stateless_rag.server.service import Embedders, open_service
from stateless_rag.server.settings import ServerSettings
from stateless_rag.server.workspace_of import WorkspacePaths

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stateless_rag.server.leases import EngineOptions
    from stateless_rag.settings import StoreSettings

__all__ = ["create_app"]


def create_app(
    settings: ServerSettings,
    *,
    engine_options: EngineOptions | None = None,
    store_settings: StoreSettings | None = None,
    clock: Clock | None = None,
    on_close: Callable[[], Awaitable[None]] | None = None,
    embedders: Embedders | None = None,
    about: Mapping[str, Any] = MappingProxyType({}),
) -> FastAPI:
    """An ASGI application that serves the workspaces of a root folder. Nothing is opened before it starts.

    `engine_options(name, embedder)` gives the keyword arguments of `Engine.open` for a workspace: its providers,
    settings and prompts; `embedder` names the one that the workspace is known to be made with, or is None. Without
    it the built-in parts work. `embedders(name)` gives the embedder of a name, for workspaces that are to be
    changed to it; without it there is "hashing", the built-in one. `about` is what `/health` tells of the
    providers, to who may know, as `configuration`. `store_settings` hold in place of `settings.placement`.
    `on_close` is awaited when all is closed: to close those providers. May be called many times in a process; each
    application has its own of everything, and must have a root of its own.
    """
    instance("settings", settings, kind=ServerSettings)
    options = _nothing if engine_options is None else callback("engine_options", engine_options)
    named = _built_in if embedders is None else callback("embedders", embedders)
    metrics = Metrics()

    def lifespan(app: FastAPI) -> AbstractAsyncContextManager[None]:
        @asynccontextmanager
        async def running() -> AsyncGenerator[None]:
            async with open_service(
                settings, metrics, options, store_settings, clock or Clock(), named, about
            ) as service:
                app.state.service = service
                yield
            if on_close is not None:
                await on_close()

        return running()

    app = FastAPI(
        title=settings.title,
        description=settings.description,
        version=__version__,
        root_path_in_servers=False,
        docs_url=None,  # FastAPI's own pages run scripts from elsewhere: see `routes.api_page`
        redoc_url=None,
        openapi_url="/openapi.json" if settings.docs else None,
        lifespan=lifespan,
        middleware=_middleware(settings, metrics),
    )
    add_handlers(app)
    for made in routes.ALL:
        # `include_router` would make each route a second time, within the first request: 0.15 s of a processor.
        app.router.routes.extend(made(settings).routes)
    return app


def _middleware(settings: ServerSettings, metrics: Metrics) -> list[Middleware]:
    """What goes around each request, outermost first."""
    origins = settings.cors_origins
    around = [Middleware(RequestLog, metrics=metrics)]
    if settings.allowed_hosts and "*" not in settings.allowed_hosts:
        around.append(Middleware(KnownHosts, names=settings.allowed_hosts))
    if origins:
        around.append(
            Middleware(
                CORSMiddleware,
                allow_origins=["*"] if "*" in origins else list(origins),
                allow_credentials="*" not in origins,
                allow_methods=["*"],
                allow_headers=["*"],
                expose_headers=["X-New-Token", "X-Request-ID"],
            )
        )
    limit_of: Callable[[str], int] = limits_of(settings)
    return [
        *around,
        Middleware(WorkspacePaths, prefix=settings.api_prefix),
        *([Middleware(KeysFirst)] if settings.protected else []),
        Middleware(BodyLimits, limit_of=limit_of),
    ]


def _built_in(name: str) -> Any:
    from stateless_rag.providers import HashingEmbedder

    if name != "hashing":
        raise InvalidInput(f"this server knows no embedder {name!r}; there is hashing")
    return HashingEmbedder()


def _nothing(_name: str, _embedder: str | None) -> Mapping[str, Any]:
    return {}
