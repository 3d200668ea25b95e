"""The commands `workspaces list`, `describe`, `create` and `drop`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from stateless_rag.cli.options import Exit
from stateless_rag.cli.output import size, table
from stateless_rag.cli.running import Place, placed
from stateless_rag.errors import InvalidInput, StoreError, WorkspaceNotFound

if TYPE_CHECKING:
    from stateless_rag.types import WorkspaceInfo

__all__ = ["create_workspace", "describe_workspace", "drop_workspace", "list_workspaces"]

Name = Annotated[str, typer.Argument(help="Letters, digits, - and _; at most 64.")]


class Placement(StrEnum):
    """Where a workspace lies."""

    ROOT = "root"
    OWN = "own"


@placed(providers=False, workspace=False)
def list_workspaces(place: Place) -> None:
    """List the workspaces of a root folder with what they hold."""
    output = place.output

    async def work() -> tuple[list[WorkspaceInfo], dict[str, str]]:
        found: list[WorkspaceInfo] = []
        errors: dict[str, str] = {}
        async with place.store() as store:
            for name in await store.names():
                try:
                    found.append(await store.describe(name))
                except StoreError as error:  # of this one: the others are listed all the same
                    errors[name] = str(error)
        return found, errors

    def show(listed: tuple[list[WorkspaceInfo], dict[str, str]]) -> None:
        columns = ("NAME", ">DOCUMENTS", ">CHUNKS", ">ENTITIES", ">RELATIONS", ">ON DISK", "EMBEDDER")
        output.out.print(table(*columns, rows=[_row(info) for info in listed[0]]))

    def verdict(listed: tuple[list[WorkspaceInfo], dict[str, str]]) -> Exit:
        for name, told in listed[1].items():
            output.error(told, label=f"error: {name}: ")
        return Exit.ERROR if listed[1] else Exit.OK

    place.run(
        work,
        show,
        as_json=lambda listed: {"workspaces": listed[0], "errors": listed[1]},
        verdict=verdict,
    )


@placed(providers=False, workspace=False)
def describe_workspace(place: Place, name: Name) -> None:
    """Tell all about one workspace."""

    async def work() -> WorkspaceInfo:
        async with place.store() as store:
            return await store.describe(name)

    def show(info: WorkspaceInfo) -> None:
        place.output.out.print(table("", "", rows=[(label, text) for label, text in _facts(info)]))

    place.run(work, show)


@placed(workspace=False)
def create_workspace(
    place: Place,
    name: Name,
    placement: Annotated[
        Placement | None, typer.Option(help="root: in the root's file; own: in a file of its own.")
    ] = None,
) -> None:
    """Create an empty workspace, which `ingest` does by itself; here it can be given a file of its own."""

    async def work() -> WorkspaceInfo:
        return await place.of(name).source.create(None if placement is None else placement.value)

    place.run(work, lambda info: place.output.text(f"Workspace {name} created, embedder {info.embedder}."))


@placed(providers=False, workspace=False)
def drop_workspace(
    place: Place,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a workspace with all it holds, for good."""
    output = place.output

    async def work() -> str:
        async with place.store() as store:
            if name not in await store.names():
                raise WorkspaceNotFound(
                    f"there is no workspace {name!r}; `stateless-rag workspaces list` shows what is there"
                )
            if not yes and not (
                output.err.is_terminal and typer.confirm(f"Remove workspace {name} for good?", err=True)
            ):
                raise InvalidInput(f"workspace {name!r} was not removed; say --yes to remove it")
            await store.drop(name)
            return name

    place.run(
        work,
        lambda _: output.text(f"Workspace {name} removed."),
        as_json=lambda dropped: {"dropped": dropped},
    )


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
