"""The commands `check`, `repair`, `backup`, `restore`, `copy` and `compact`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stateless_rag.cli.options import Exit
from stateless_rag.cli.output import Output, counted, size, table
from stateless_rag.cli.running import Place, placed
from stateless_rag.cli.workspaces import Placement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stateless_rag.engine import Engine
    from stateless_rag.types import (
        BackupReport,
        CheckReport,
        CompactReport,
        Fault,
        RepairReport,
        WorkspaceInfo,
    )

__all__ = ["backup", "check", "compact", "copy", "repair", "restore"]

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Placed = Annotated[
    Placement | None, typer.Option(help="root: in the root's file; own: in a file of its own.")
]


@placed()
def check(
    place: Place,
    deep: Annotated[
        bool,
        typer.Option("--deep", help="Also compare what chunks say with the LLM's replies that are kept."),
    ] = False,
) -> None:
    """Look whether a workspace is whole: everything that follows from something else is computed again."""
    output = place.output

    async def work(engine: Engine) -> CheckReport:
        return await engine.check(deep=deep)

    def show(report: CheckReport) -> None:
        counts = ", ".join(
            counted(report.counts[table], noun)
            for table, noun in (
                ("documents", "document"),
                ("chunks", "chunk"),
                ("mentions", "mention"),
                ("entities", "entity"),
                ("relations", "relation"),
                ("vectors", "vector"),
            )
        )
        _show_faults(output, report.faults)
        verdict = "nothing wrong" if report.ok else f"{counted(len(report.faults), 'fault')} found"
        output.text(f"Workspace {report.workspace}, revision {report.revision}: {verdict} in {counts}.")
        if report.unverified:
            descriptions = counted(report.unverified, "description")
            output.text(f"{descriptions} could not be verified: the LLM's replies are not kept.")

    def verdict(report: CheckReport) -> Exit:
        for advice in dict.fromkeys(fault.advice for fault in report.faults):
            output.note(f"next: {advice}")
        return Exit.OK if report.ok else Exit.SOME_FAILED

    place.run_on_engine(work, show, verdict=verdict)


@placed()
def repair(place: Place) -> None:
    """Mend what `check` finds, as far as it follows from what is there."""
    output = place.output

    async def work(engine: Engine) -> RepairReport:
        return await engine.repair()

    def show(report: RepairReport) -> None:
        mended = len(report.found) - len(report.left)
        _show_faults(output, report.left)
        output.text(
            f"Workspace {report.workspace}, revision {report.revision}: {counted(len(report.found), 'fault')} found, "
            f"{max(mended, 0)} mended."
        )

    def verdict(report: RepairReport) -> Exit:
        for id_ in report.lost:
            output.note(f"part of document {id_} is lost: ingest it again from where it came")
        return Exit.OK if report.ok else Exit.SOME_FAILED

    place.run_on_engine(work, show, verdict=verdict)


def _show_faults(output: Output, faults: Sequence[Fault]) -> None:
    if faults:
        rows = [(f"{fault.count:,}", fault.where, fault.what, ", ".join(fault.examples)) for fault in faults]
        output.out.print(table(">COUNT", "WHERE", "WHAT", "FOR EXAMPLE", rows=rows))


@placed(providers=False)
def backup(
    place: Place,
    path: Annotated[Path, typer.Argument(help="The file to write.")],
    overwrite: Overwrite = False,
) -> None:
    """Write the workspace into one file, as it is at one revision."""

    async def work() -> BackupReport:
        async with place.store() as store:
            return await store.backup(place.chosen.workspace, path, overwrite=overwrite)

    def show(report: BackupReport) -> None:
        place.output.text(
            f"Workspace {report.workspace}, revision {report.revision}, is backed up in {path}, {size(report.bytes)}."
        )

    place.run(work, show, interrupted=f"Interrupted; {path} is as it was.")


@placed(providers=False)
def restore(
    place: Place,
    path: Annotated[Path, typer.Argument(help="The file that `backup` has written.")],
    name: Annotated[
        str | None, typer.Option("--as", help="The name of the workspace, that of the backup unless given.")
    ] = None,
    placement: Placed = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a workspace of a backup. The root is made if there is none; --workspace is not looked at."""

    async def work() -> WorkspaceInfo:
        async with place.store(create=True) as store:
            where = None if placement is None else placement.value
            restored = await store.restore(path, name, placement=where, overwrite=overwrite)  # type: ignore[arg-type]
            return await store.describe(restored)

    def show(info: WorkspaceInfo) -> None:
        documents = counted(sum(info.documents.values()), "document")
        place.output.text(f"Workspace {info.name} is restored: revision {info.revision}, {documents}.")

    place.run(work, show)


@placed(providers=False)
def copy(
    place: Place,
    to: Annotated[str, typer.Argument(help="The name of the new workspace.")],
    placement: Placed = None,
) -> None:
    """Make a second workspace that holds what one holds."""

    async def work() -> WorkspaceInfo:
        async with place.store() as store:
            where = None if placement is None else placement.value
            await store.copy(place.chosen.workspace, to, placement=where)  # type: ignore[arg-type]
            return await store.describe(to)

    def show(info: WorkspaceInfo) -> None:
        place.output.text(f"Workspace {place.chosen.workspace} is copied to {info.name}.")

    place.run(work, show)


@placed(providers=False)
def compact(place: Place) -> None:
    """Write the database file of a workspace anew, without what was deleted."""

    async def work() -> CompactReport:
        async with place.store() as store:
            return await store.compact(place.chosen.workspace)

    def show(report: CompactReport) -> None:
        place.output.text(
            f"The file of workspace {report.workspace}: {size(report.before)} before, {size(report.after)} now."
        )

    place.run(work, show)
