"""The command `serve`: all workspaces of a root over HTTP."""

from __future__ import annotations

import gc
import json
import logging
import socket
import ssl
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stateless_rag.cli.engines import embedder_for, llm_for, named_embedder
from stateless_rag.cli.options import Exit, Offline, Root, Workspace
from stateless_rag.errors import InvalidInput, StatelessRagError
from stateless_rag.settings import Settings

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from stateless_rag.providers import HTTPReranker
    from stateless_rag.server.configuration import ServerConfiguration
    from stateless_rag.server.reranking import Reranking

__all__ = ["serve"]

_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_SWITCH = 0.001  # seconds
_INSTALL = "the server needs more: pip install 'stateless-rag[server]'"


def serve(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Where to listen [HOST, else 127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="[PORT, else 9621].")] = None,
    root: Root = None,
    workspace: Workspace = None,
    key: Annotated[
        str | None, typer.Option(help="An API key that may do everything; better in the environment.")
    ] = None,
    api_prefix: Annotated[
        str | None, typer.Option(help="What a proxy has before all paths, like /rag.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A config file, in TOML.")] = None,
    env_file: Annotated[
        Path | None, typer.Option(help="A .env file; by default the one in this folder.")
    ] = None,
    allow_open: Annotated[bool, typer.Option(help="Listen for others although nobody needs a key.")] = False,
    log_level: Annotated[
        str | None, typer.Option(help="DEBUG, INFO, WARNING or ERROR [LOG_LEVEL, else INFO].")
    ] = None,
    ssl_certfile: Annotated[Path | None, typer.Option(help="For HTTPS [SSL_CERTFILE].")] = None,
    ssl_keyfile: Annotated[Path | None, typer.Option(help="For HTTPS [SSL_KEYFILE].")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Show the settings, secrets masked, and end.")
    ] = False,
    offline: Offline = False,
) -> None:
    """Serve all workspaces of a root folder over HTTP, until it is interrupted."""
    given = {
        "host": host,
        "port": port,
        "root": root,
        "default_workspace": workspace,
        "api_prefix": api_prefix,
    }
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    try:
        found = _configuration(_environ(context), config, env_file, changes, key)
        if offline:
            found = replace(
                found, llm=_without(found.llm), embedding=_without(found.embedding), roles={}, reranking=None
            )
        if ssl_certfile or ssl_keyfile:
            found = replace(found, tls=(str(ssl_certfile or ""), str(ssl_keyfile or "")))
        found = replace(found, log_level=(log_level or found.log_level).upper())
        if check:
            _show(found)
            return
        _require_closed(found, allow_open=allow_open)
        _run(found)
    except InvalidInput as error:
        _fail(str(error), Exit.USAGE)
    except (StatelessRagError, OSError) as error:
        _fail(str(error), Exit.ERROR)


def _environ(context: typer.Context) -> Mapping[str, str]:
    environ: Mapping[str, str] = context.obj.environ
    return environ


def _configuration(
    environ: Mapping[str, str],
    config: Path | None,
    env_file: Path | None,
    changes: dict[str, Any],
    key: str | None,
) -> ServerConfiguration:
    from stateless_rag.server.configuration import read_configuration
    from stateless_rag.server.dotenv import parse_dotenv
    from stateless_rag.server.settings import ApiKey

    if key is not None:
        changes["keys"] = (ApiKey(key=key, name="--key"),)
    beside = Path(".env")
    chosen = env_file or (beside if beside.is_file() else None)
    dotenv = {} if chosen is None else parse_dotenv(_text(chosen))
    found = read_configuration(
        environ, dotenv=dotenv, config="" if config is None else _text(config), changes=changes
    )
    return _local_names(found)


def _local_names(found: ServerConfiguration) -> ServerConfiguration:
    """Where everybody on this machine may do everything, only under this machine's own names: see `KnownHosts`."""
    if found.server.protected or found.server.allowed_hosts or found.host not in _LOCAL:
        return found
    return replace(found, server=replace(found.server, allowed_hosts=(*sorted(_LOCAL),)))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}") from error


def _require_closed(found: ServerConfiguration, *, allow_open: bool) -> None:
    """Raise InvalidInput where everybody could do everything from elsewhere."""
    if found.host in _LOCAL or found.server.protected or allow_open:
        return
    raise InvalidInput(
        f"without keys or accounts everybody who reaches {found.host} could read and delete everything; set "
        "LIGHTRAG_API_KEY or STATELESS_RAG_SERVER_KEYS, listen on 127.0.0.1, or say --allow-open"
    )


def _show(found: ServerConfiguration) -> None:
    from stateless_rag.server.configuration import changed_settings, masked

    shown = {
        "host": found.host,
        "port": found.port,
        "server": masked(found.server),
        "llm": "built-in" if found.llm.offline else found.llm.llm_model,
        "llm_server": _place(found.llm.base_url),
        "llms_by_role": {name: role.llm_model for name, role in found.roles.items()},
        "embedder": "built-in" if found.embedding.offline else found.embedding.embed_model,
        "embedder_server": _place(found.embedding.base_url),
        "reranker": masked(found.reranking),
        "engine": changed_settings(found.engine),
        "https": found.tls is not None,
        "log_level": found.log_level,
        "ignored": list(found.ignored),
    }
    typer.echo(json.dumps(shown, indent=2, ensure_ascii=False))


def _place(url: str | None) -> str | None:
    """An address without the credentials that it may hold."""
    from stateless_rag.providers.http import server_of

    return None if url is None else server_of(url)


def _run(found: ServerConfiguration) -> None:
    try:
        import uvicorn
    except ImportError as error:
        raise InvalidInput(_INSTALL) from error
    _log(found.log_level)
    logger = logging.getLogger("stateless_rag.server")
    for name in found.ignored:
        logger.warning("%s of the .env file means nothing here and is ignored", name)
    if not found.server.protected:
        logger.warning("no keys and no accounts: everybody who reaches %s may do everything", found.host)
    certificate, key = found.tls or (None, None)
    try:
        app = _app(found)
        config = uvicorn.Config(
            app,
            host=found.host,
            port=found.port,
            log_config=None,
            access_log=False,
            lifespan="on",
            server_header=False,
            timeout_graceful_shutdown=max(1, int(found.server.grace)),
            ssl_certfile=certificate or None,
            ssl_keyfile=key or None,
        )
        server = _letting_go(app)(config)
        with _requests_first():
            server.run()
    except ssl.SSLError as error:
        raise InvalidInput(f"the certificate or its key cannot be used: {error}") from error
    except KeyboardInterrupt:
        return
    if not server.started:
        raise typer.Exit(int(Exit.ERROR))


@contextmanager
def _requests_first() -> Iterator[None]:
    """Let requests wait less for work that goes on beside them. Only who owns the process may do this: a library not.

    Threads that fold and write documents hand Python's lock on after a millisecond instead of five. What the server
    freezes when it has started, the collector's full passes, which stop all threads, do not look at.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(min(usual, _SWITCH))
    try:
        yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(usual)


def _letting_go(app: FastAPI) -> type[uvicorn.Server]:
    """A server that ends the streams of who watches progress, before it waits for the others."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            gc.collect()
            gc.freeze()  # all modules are loaded by now: a full pass over them takes 60 ms

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            service = getattr(app.state, "service", None)
            if service is not None:
                service.board.close()
            await super().shutdown(sockets)

    return Server


def _app(found: ServerConfiguration) -> FastAPI:
    from stateless_rag.server import create_app
    from stateless_rag.server.about import about

    providers = _Providers(found)
    return create_app(
        found.server,
        engine_options=providers.options,
        on_close=providers.close,
        embedders=providers.embedder,
        about=about(found),
    )


class _Providers:
    """The LLMs and the embedder of all workspaces; a workspace keeps the embedder that it was made with."""

    def __init__(self, found: ServerConfiguration) -> None:
        self._found = found
        self._llm = llm_for(found.llm)
        self._roles = {
            role: made for role, each in found.roles.items() if (made := llm_for(each)) is not None
        }
        self._embedders: dict[str | None, Any] = {}
        self._models: dict[str, Any] = {}
        self._reranker = _reranker(found.reranking)

    def options(self, name: str, recorded: str | None) -> Mapping[str, Any]:
        """The keyword arguments of `Engine.open` for a workspace."""
        if recorded not in self._embedders:
            chosen = replace(self._found.embedding, workspace=name)
            note = logging.getLogger("stateless_rag.server").info
            self._embedders[recorded] = embedder_for(chosen, recorded, note)
        given = {"llm": self._llm, "embedder": self._embedders[recorded], "reranker": self._reranker}
        if self._roles:
            given["roles"] = self._roles
        if not self._found.llm.offline:
            given["models"] = self._model
        if self._found.engine != Settings():  # else each workspace goes by its own
            given["settings"] = self._found.engine
        return given

    def embedder(self, name: str) -> Any:
        """The embedder that a workspace is to be changed to. Kept under the name that it will be recorded by."""
        made = named_embedder(replace(self._found.embedding, embed_model=name))
        return self._embedders.setdefault(made.model, made)

    def _model(self, name: str) -> Any:
        """The LLM of a name that a workspace's settings say."""
        if name not in self._models:
            self._models[name] = llm_for(replace(self._found.llm, llm_model=name))
        return self._models[name]

    async def close(self) -> None:
        """Close the connections of all of them."""
        made = (*self._roles.values(), *self._models.values(), *self._embedders.values())
        for provider in (self._llm, self._reranker, *made):
            if (close := getattr(provider, "close", None)) is not None:
                await close()


def _reranker(reranking: Reranking | None) -> HTTPReranker | None:
    if reranking is None:
        return None
    from stateless_rag.providers import HTTPReranker

    return HTTPReranker(
        reranking.model, style=reranking.style, api_key=reranking.api_key, base_url=reranking.base_url
    )


def _without(configuration: Any) -> Any:
    return replace(configuration, api_key=None, base_url=None)


def _log(level: str) -> None:
    from stateless_rag.server.logs import JsonLines

    if level not in _LEVELS:
        raise InvalidInput(f"log level is {level[:40]!r}; there are {', '.join(_LEVELS)}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def _fail(told: str, code: Exit) -> None:
    typer.echo(f"error: {told}", err=True)
    raise typer.Exit(int(code))
