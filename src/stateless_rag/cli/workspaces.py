"""The commands `workspaces list`, `describe`, `create` and `drop`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from stateless_rag.cli.engines import open_engine, open_store
from stateless_rag.cli.options import AsJson, Exit, Offline, Root, configuration, execute
from stateless_rag.cli.output import Output, size, table
from stateless_rag.errors import InvalidInput, StoreError, WorkspaceNotFound
from stateless_rag.settings import StoreSettings
from stateless_rag.types import WorkspaceInfo

__all__ = ["create_workspace", "describe_workspace", "drop_workspace", "list_workspaces"]

Name = Annotated[str, typer.Argument(help="Letters, digits, - and _; at most 64.")]


class Placement(StrEnum):
    """Where a workspace lies."""

    ROOT = "root"
    OWN = "own"


def list_workspaces(context: typer.Context, root: Root = None, as_json: AsJson = False) -> None:
    """List the workspaces of a root folder with what they hold."""
    chosen, output = configuration(context, root), Output(as_json=as_json)

    async def command() -> Exit:
        found: list[WorkspaceInfo] = []
        errors: dict[str, str] = {}
        async with open_store(chosen, create=False) as store:
            for name in await store.names():
                try:
                    found.append(await store.describe(name))
                except StoreError as error:  # of this one: the others are listed all the same
                    errors[name] = str(error)
        if as_json:
            output.json({"workspaces": found, "errors": errors})
        else:
            columns = ("NAME", ">DOCUMENTS", ">CHUNKS", ">ENTITIES", ">RELATIONS", ">ON DISK", "EMBEDDER")
            output.out.print(table(*columns, rows=[_row(info) for info in found]))
        for name, told in errors.items():
            output.error(told, label=f"error: {name}: ")
        return Exit.ERROR if errors else Exit.OK

    execute(output, command)


def describe_workspace(
    context: typer.Context, name: Name, root: Root = None, as_json: AsJson = False
) -> None:
    """Tell all about one workspace."""
    chosen, output = configuration(context, root), Output(as_json=as_json)

    async def command() -> Exit:
        async with open_store(chosen, create=False) as store:
            info = await store.describe(name)
        if as_json:
            output.json(info)
        else:
            rows = [(label, text) for label, text in _facts(info)]
            output.out.print(table("", "", rows=rows))
        return Exit.OK

    execute(output, command)


def create_workspace(
    context: typer.Context,
    name: Name,
    placement: Annotated[
        Placement, typer.Option(help="root: in the root's file; own: in a file of its own.")
    ] = Placement.ROOT,
    root: Root = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Create an empty workspace, which `ingest` does by itself; here it can be given a file of its own."""
    chosen, output = configuration(context, root, name, offline=offline), Output(as_json=as_json)
    settings = StoreSettings(placement=placement.value)

    async def command() -> Exit:
        async with open_store(chosen, create=True) as store:
            if name in await store.names():
                raise StoreError(f"workspace {name!r} is there already; choose another name")
        async with open_engine(chosen, create=True, note=output.note, settings=settings) as engine:
            info = await engine.describe()
        if as_json:
            output.json(info)
        else:
            output.text(f"Workspace {name} created, embedder {info.embedder}.")
        return Exit.OK

    execute(output, command)


def drop_workspace(
    context: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Remove a workspace with all it holds, for good."""
    chosen, output = configuration(context, root), Output(as_json=as_json)

    async def command() -> Exit:
        async with open_store(chosen, create=False) as store:
            if name not in await store.names():
                raise WorkspaceNotFound(
                    f"there is no workspace {name!r}; `stateless-rag workspaces list` shows what is there"
                )
            if not yes and not (
                output.err.is_terminal and typer.confirm(f"Remove workspace {name} for good?", err=True)
            ):
                raise InvalidInput(f"workspace {name!r} was not removed; say --yes to remove it")
            await store.drop(name)
        if as_json:
            output.json({"dropped": name})
        else:
            output.text(f"Workspace {name} removed.")
        return Exit.OK

    execute(output, command)


def _row(info: WorkspaceInfo) -> tuple[str, ...]:
    counts = (sum(info.documents.values()), info.chunks, info.entities, info.relations)
    return (info.name, *map(str, counts), size(info.bytes), info.embedder or "–")


def _embedder(info: WorkspaceInfo) -> str:
    told = f"{info.embedder or '–'}, dimension {info.dimension or 'not known yet'}"
    return told if info.reembedding is None else f"{told}; a change to {info.reembedding} is not complete"


def _facts(info: WorkspaceInfo) -> list[tuple[str, str]]:
    documents = ", ".join(f"{count} {state}" for state, count in info.documents.items() if count) or "none"
    generations = ", ".join(f"{count} by {name}" for name, count in info.generations.items())
    return [
        ("name", info.name),
        ("documents", f"{documents} ({info.disabled} of them disabled)" if info.disabled else documents),
        ("chunks", f"{info.chunks}" + (f" ({generations})" if generations else "")),
        ("entities", str(info.entities)),
        ("relations", str(info.relations)),
        ("embedder", _embedder(info)),
        ("tokenizer", info.tokenizer or "–"),
        ("names", info.key_policy),
        ("placement", info.placement),
        ("on disk", size(info.bytes)),
        ("revision", str(info.revision)),
    ]
