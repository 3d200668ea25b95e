"""How a command runs: where it works, what it opens, and how what it found is told.

@placed()
def status(place: Place, failed: …) -> None:
    place.run_on_engine(lambda engine: engine.documents(), lambda rows: …)
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from stateless_rag.cli.options import (
    AsJson,
    Exit,
    Key,
    Offline,
    Root,
    Server,
    Workspace,
    configuration,
    execute,
)
from stateless_rag.cli.output import Output
from stateless_rag.cli.progress import IngestProgress
from stateless_rag.cli.sources import Source, source_for

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
    from stateless_rag.protocols import Observer
    from stateless_rag.settings import Configuration
    from stateless_rag.stores.duckdb.store import Store

__all__ = ["Place", "placed"]

_INTERRUPTED = "Interrupted; nothing was left half done."

Found = TypeVar("Found")


def _done(_: object) -> Exit:
    return Exit.OK


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command works and what it prints on."""

    chosen: Configuration
    output: Output

    @property
    def source(self) -> Source:
        """The folder or the server that the configuration names."""
        return source_for(self.chosen, self.output.note)

    def of(self, workspace: str) -> Place:
        """The same, of another workspace."""
        return replace(self, chosen=replace(self.chosen, workspace=workspace))

    @asynccontextmanager
    async def engine(
        self, *, create: bool = False, progress: bool = False, observer: Observer | None = None
    ) -> AsyncIterator[Engine]:
        """An engine on the workspace, with the providers that the configuration, or the server, names.

        With `progress` what it takes in is shown as it comes.
        """
        bars = IngestProgress(self.output.err, None, quiet=self.output.as_json) if progress else None
        async with self.source.engine(create=create, observer=observer or bars) as engine:
            with nullcontext() if bars is None else bars:
                yield engine

    def looking(self) -> AbstractAsyncContextManager[Engine]:
        """An engine on the workspace, for what needs no provider."""
        return self.source.looking()

    def store(self, *, create: bool = False) -> AbstractAsyncContextManager[Store]:
        """The store, or the server with a store's names."""
        return self.source.store(create=create)

    def run(
        self,
        work: Callable[[], Awaitable[Found]],
        show: Callable[[Found], None],
        *,
        as_json: Callable[[Found], Any] | None = None,
        verdict: Callable[[Found], Exit] = _done,
        interrupted: str = _INTERRUPTED,
    ) -> None:
        """Do one thing, tell what came of it, and exit.

        With `--json` what was found is printed (what `as_json` makes of it), else `show` tells it to people.
        `verdict` comes after both: it may add notes, and its exit code is the command's.
        """

        async def command() -> Exit:
            found = await work()
            if not self.output.as_json:
                show(found)
            else:
                self.output.json(found if as_json is None else as_json(found))
            return verdict(found)

        execute(self.output, command, interrupted=interrupted)

    def run_on_engine(
        self,
        work: Callable[[Engine], Awaitable[Found]],
        show: Callable[[Found], None],
        *,
        create: bool = False,
        progress: bool = False,
        as_json: Callable[[Found], Any] | None = None,
        verdict: Callable[[Found], Exit] = _done,
        interrupted: str = _INTERRUPTED,
    ) -> None:
        """As `run`, with an engine."""

        async def opened() -> Found:
            async with self.engine(create=create, progress=progress) as engine:
                return await work(engine)

        self.run(opened, show, as_json=as_json, verdict=verdict, interrupted=interrupted)

    def run_looking(
        self,
        work: Callable[[Engine], Awaitable[Found]],
        show: Callable[[Found], None],
        *,
        as_json: Callable[[Found], Any] | None = None,
        verdict: Callable[[Found], Exit] = _done,
    ) -> None:
        """As `run`, with an engine for what needs no provider."""

        async def opened() -> Found:
            async with self.looking() as engine:
                return await work(engine)

        self.run(opened, show, as_json=as_json, verdict=verdict)


def placed(
    *, providers: bool = True, workspace: bool = True
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options that all have: --workspace, --root, --server, --key and --json.

    With `providers` --offline, too; without `workspace` not --workspace. The command's first parameter is the `Place`
    that they say.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def placed_command(context: typer.Context, **given: Any) -> None:
            named = {name: given.pop(name) for name in shared}
            chosen = configuration(
                context,
                named["root"],
                named.get("workspace"),
                offline=named.get("offline", False),
                server=named["server"],
                key=named["key"],
            )
            command(Place(chosen, Output(as_json=named["as_json"])), **given)

        shared = _shared(providers=providers, workspace=workspace)
        own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
        first = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (first, *own, *shared.values())]
        placed_command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        placed_command.__annotations__ = {p.name: p.annotation for p in parameters}
        return placed_command

    return decorate


def _shared(*, providers: bool, workspace: bool) -> dict[str, inspect.Parameter]:
    """The parameters that the options of all commands become."""
    options: list[tuple[str, Any, Any]] = [("workspace", Workspace, None)] if workspace else []
    options += [("root", Root, None), ("server", Server, None), ("key", Key, None)]
    options += [("offline", Offline, False)] if providers else []
    options += [("as_json", AsJson, False)]
    return {
        name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, annotation, default in options
    }
