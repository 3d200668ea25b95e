"""The commands `status` and `delete`."""

from __future__ import annotations

from typing import Annotated

import typer

from stateless_rag.cli.engines import open_engine, open_store
from stateless_rag.cli.files import source_of
from stateless_rag.cli.options import AsJson, Exit, Offline, Root, Workspace, configuration, execute
from stateless_rag.cli.output import Output, counted, short_source, table
from stateless_rag.types import DocumentStatus, Status

__all__ = ["delete", "status"]


def status(
    context: typer.Context,
    failed: Annotated[bool, typer.Option("--failed", help="Only documents that failed.")] = False,
    workspace: Workspace = None,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Show every document: where it stands, and what kept which of its chunks."""
    chosen, output = configuration(context, root, workspace), Output(as_json=as_json)

    async def command() -> Exit:
        async with open_store(chosen, create=False) as store:
            info = await store.describe(chosen.workspace)
            async with store.workspace(chosen.workspace) as workspace:
                rows = await workspace.documents()
        shown = [row for row in rows if not failed or row.status is Status.FAILED]
        if as_json:
            output.json({"workspace": info, "documents": shown})
            return Exit.OK
        columns = ("STATUS", "ID", "SOURCE", ">CHUNKS", ">CHARACTERS")
        output.out.print(table(*columns, rows=[_row(row) for row in shown]))
        for row in shown:
            for line in _errors(row):
                output.text(line)
        counts = ", ".join(f"{count} {name}" for name, count in info.documents.items() if count)
        output.text(
            f"\nWorkspace {info.name}: {counts or 'no documents'}; {counted(info.chunks, 'chunk')}, "
            f"{counted(info.entities, 'entity')}, {counted(info.relations, 'relation')}; embedder {info.embedder}"
        )
        return Exit.OK

    execute(output, command)


def delete(
    context: typer.Context,
    ids: Annotated[
        list[str], typer.Argument(metavar="ID...", help="Documents, by id or by their file's path.")
    ],
    workspace: Workspace = None,
    root: Root = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Delete documents, with all that rests on them alone. The files they came from stay."""
    chosen, output = configuration(context, root, workspace, offline=offline), Output(as_json=as_json)

    async def command() -> Exit:
        async with open_engine(chosen, create=False, note=output.note) as engine:
            rows = await engine.documents()
            known = {row.id for row in rows}
            by_source = {row.source: row.id for row in rows if row.source is not None}
            named = [id_ if id_ in known else by_source.get(source_of(id_), id_) for id_ in ids]
            report = await engine.delete(named)
        if as_json:
            output.json(report)
        else:
            output.text(
                f"{counted(len(report.deleted), 'document')} deleted; entities: {report.entities_removed} removed, "
                f"{report.entities_changed} changed; relations: {report.relations_removed} removed, "
                f"{report.relations_changed} changed"
            )
        if report.missing:
            output.note(f"not there: {', '.join(report.missing)}; `stateless-rag status` lists what is")
        return Exit.NOTHING_FOUND if report.missing else Exit.OK

    execute(output, command)


def _row(row: DocumentStatus) -> tuple[str, ...]:
    state = f"{row.status.value}, stale" if row.stale else row.status.value
    return (state, row.id, short_source(row.source), str(row.chunks), str(row.characters))


def _errors(row: DocumentStatus) -> list[str]:
    if not (row.error or row.errors):
        return []
    head = f"\n{short_source(row.source) if row.source else row.id}: {row.error or 'failed'}"
    return [
        f"{head} (an older version still answers)" if row.stale else head,
        *(
            f"  chunk {e.ordinal} ({e.chunk_id}), tried {counted(e.attempts, 'time')}: {e.error}"
            for e in row.errors
        ),
    ]
