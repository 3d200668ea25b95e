"""The command `import`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from stateless_rag.cli.engines import open_engine, open_store
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
from stateless_rag.cli.output import Output, counted
from stateless_rag.cli.progress import IngestProgress
from stateless_rag.client import Server as Remote
from stateless_rag.errors import InvalidInput, InvalidWorkspaceName, StoreError
from stateless_rag.interop import find_workspaces, import_lightrag
from stateless_rag.interop.folders import folder_of
from stateless_rag.stores.duckdb.names import check_name
from stateless_rag.types import Status

if TYPE_CHECKING:
    from stateless_rag.interop import ImportReport
    from stateless_rag.settings import Configuration

__all__ = ["import_folder"]

_NAMES = 5


def import_folder(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A working folder of LightRAG or nano-graphrag.")],
    workspace: Workspace = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Import every workspace in the folder, each into one of its own name."),
    ] = False,
    mapping: Annotated[
        list[str] | None,
        typer.Option(
            "--map", metavar="OLD=NEW", help="With --all: another name; OLD is empty for the one without."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--replace", help="Also replace documents that are there already.")
    ] = False,
    root: Root = None,
    server: Server = None,
    key: Key = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Bring in what LightRAG or nano-graphrag has built: documents, chunks, graph and vectors. No LLM is called."""
    chosen = configuration(context, root, workspace, offline=offline, server=server, key=key)
    output = Output(as_json=as_json)

    async def command() -> Exit:
        if overwrite and chosen.server is not None:
            raise InvalidInput(
                "a server makes a new workspace of what is imported; --replace is for a folder"
            )
        if everything:
            targets = _targets(find_workspaces(folder), mapping or (), chosen.workspace)
            for name, (_, target) in targets.items():
                output.note(f"{name or '(without a name)'} → workspace {target}")
        elif mapping:
            raise InvalidInput("--map renames what --all finds; name one workspace with --workspace")
        else:
            targets = {"": (folder_of(folder, None), chosen.workspace)}
        await _require_new(chosen, [target for _, target in targets.values()])
        reports = {}
        for source, target in targets.values():
            reports[target] = await _one(replace(chosen, workspace=target), source, output, overwrite)
            if not as_json:
                _tell(reports[target], output)
        if as_json:
            output.json({"imports": reports})
        lost = any(report.problems or Status.FAILED in report.documents for report in reports.values())
        return Exit.SOME_FAILED if lost else Exit.OK

    execute(
        output,
        command,
        interrupted="Interrupted. What was imported is kept; the same command does the rest."
        if chosen.server is None
        else "Interrupted. Workspaces that were imported are on the server; import the others again.",
    )


async def _require_new(chosen: Configuration, names: Sequence[str]) -> None:
    """Raise StoreError, before anything is done, where a server has one of the workspaces already."""
    if chosen.server is None:
        return
    async with Remote.open(chosen.server, key=chosen.server_key) as server:
        if there := sorted(set(names) & set(await server.names())):
            raise StoreError(
                f"{server.url} has {', '.join(there)} already, and makes a new workspace of what is imported; name "
                "another with --workspace (or --map), or drop that one"
            )


async def _one(chosen: Configuration, source: Path, output: Output, overwrite: bool) -> ImportReport:
    if chosen.server is None:
        return await _imported(chosen, source, output, overwrite)
    # A root that is served has an owner: what is imported goes there as a backup of a root that nobody has.
    with TemporaryDirectory(prefix="stateless-rag-import-") as folder:
        place, backup = replace(chosen, server=None, root=str(Path(folder) / "root")), Path(folder) / "backup"
        report = await _imported(place, source, output, overwrite)
        async with open_store(place, create=False) as store:
            await store.backup(chosen.workspace, backup)
        async with Remote.open(chosen.server, key=chosen.server_key) as server:
            await server.restore(backup, chosen.workspace)
    return report


async def _imported(chosen: Configuration, source: Path, output: Output, overwrite: bool) -> ImportReport:
    progress = IngestProgress(output.err, None, quiet=output.as_json)
    async with open_engine(chosen, create=True, note=output.note, observer=progress) as engine:
        with progress:
            return await import_lightrag(engine, source, replace=overwrite)


def _targets(found: Mapping[str, Path], mapping: Sequence[str], default: str) -> dict[str, tuple[Path, str]]:
    """Each workspace's folder and the name that it is given here, all checked before the first is imported."""
    if not found:
        raise InvalidInput(
            "there is no folder of LightRAG or nano-graphrag in it, nor right below; check the path"
        )
    renamed = dict(_renaming(entry, found) for entry in mapping)
    targets = {name: (path, renamed.get(name, name or default)) for name, path in found.items()}
    refused, owners = [], dict[str, str]()
    for name, (_, target) in targets.items():
        try:
            check_name(target)
        except InvalidWorkspaceName:
            refused.append(name)
        if owners.setdefault(target, name) != name:
            raise InvalidInput(
                f"{owners[target]!r} and {name!r} would both become workspace {target!r}; "
                f"rename one: --map '{name}=OTHER'"
            )
    if refused:
        shown = " ".join(f"--map '{name}=NEW'" for name in refused[:_NAMES])
        raise InvalidInput(
            f"{', '.join(map(repr, refused))}: no names of workspaces here (1 to 64 letters, digits, '_' or '-', "
            f"no device names); give others: {shown}"
        )
    return targets


def _renaming(entry: str, found: Mapping[str, Path]) -> tuple[str, str]:
    old, equals, new = entry.rpartition("=")
    if not equals or old not in found:
        names = ", ".join(repr(name) for name in found)
        raise InvalidInput(f"--map {entry!r} must be OLD=NEW, with OLD among {names}")
    return old, new


def _tell(report: ImportReport, output: Output) -> None:
    documents = ", ".join(f"{count} {status.value}" for status, count in report.documents.items() if count)
    there = f", {report.present} there already" if report.present else ""
    output.text(
        f"Workspace {report.workspace}: {documents or 'no documents'}{there}; {report.kind}, {report.folder}"
    )
    output.text(
        f"  chunks: {report.chunks_from_replies} from kept replies, {report.chunks_from_graph} from the graph, "
        f"{report.chunks_silent} say nothing; vectors: {report.vectors_taken} taken, "
        f"{report.vectors_embedded} embedded; {report.seconds:.1f} s"
    )
    if report.vectors_refused:
        output.text(f"  everything was embedded anew: of the folder's vectors, {report.vectors_refused}")
    if report.by_hand or report.edited:
        output.text(
            f"  by hand: {counted(report.by_hand, 'value')} added, {counted(report.edited, 'value')} edited"
        )
    if report.left_out:
        shown = ", ".join(report.left_out[:_NAMES]) + (", …" if len(report.left_out) > _NAMES else "")
        output.text(
            f"  not in the graph any more, left out: {counted(len(report.left_out), 'name')}: {shown}"
        )
    for problem in report.problems:
        output.note(f"  {problem}")
    if report.documents.get(Status.PENDING) or report.documents.get(Status.FAILED):
        output.note("`stateless-rag resume` extracts what is pending or failed.")
