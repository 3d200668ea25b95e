"""The commands `status` and `delete`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stateless_rag.cli.budgets import budget_line
from stateless_rag.cli.files import source_of
from stateless_rag.cli.options import Exit
from stateless_rag.cli.output import counted, short_source, table
from stateless_rag.cli.running import Place, placed
from stateless_rag.types import Status

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
    from stateless_rag.types import BudgetStatus, DeleteReport, DocumentStatus, WorkspaceInfo

    _Found = tuple[WorkspaceInfo, list[DocumentStatus], BudgetStatus | None]

__all__ = ["delete", "status"]


@placed(providers=False)
def status(
    place: Place,
    failed: Annotated[bool, typer.Option("--failed", help="Only documents that failed.")] = False,
) -> None:
    """Show every document: where it stands, and what kept which of its chunks."""
    output = place.output

    async def work(engine: Engine) -> _Found:
        info, rows = await engine.describe(), await engine.documents()
        shown = [row for row in rows if not failed or row.status is Status.FAILED]
        return info, shown, await engine.budget()

    def show(found: _Found) -> None:
        info, rows, budget = found
        columns = ("STATUS", "ID", "SOURCE", ">CHUNKS", ">CHARACTERS")
        output.out.print(table(*columns, rows=[_row(row) for row in rows]))
        for row in rows:
            for line in (*_errors(row), *_truncated(row)):
                output.text(line)
        counts = ", ".join(f"{count} {name}" for name, count in info.documents.items() if count)
        output.text(
            f"\nWorkspace {info.name}: {counts or 'no documents'}; {counted(info.chunks, 'chunk')}, "
            f"{counted(info.entities, 'entity')}, {counted(info.relations, 'relation')}; embedder {info.embedder}"
        )
        if budget is not None:
            output.text(budget_line(budget))

    names = ("workspace", "documents", "budget")
    place.run_looking(work, show, as_json=lambda found: dict(zip(names, found, strict=True)))


@placed()
def delete(
    place: Place,
    ids: Annotated[
        list[str], typer.Argument(metavar="ID...", help="Documents, by id or by their file's path.")
    ],
    erase: Annotated[
        bool, typer.Option("--erase", help="Leave no byte of them in any file of the root; takes longer.")
    ] = False,
) -> None:
    """Delete documents, with all that rests on them alone. The files they came from stay."""
    output = place.output

    async def work(engine: Engine) -> DeleteReport:
        rows = await engine.documents()
        known = {row.id for row in rows}
        by_source = {row.source: row.id for row in rows if row.source is not None}
        wanted = [id_ if id_ in known else by_source.get(source_of(id_), id_) for id_ in ids]
        return await engine.delete(wanted, erase=erase)

    def show(report: DeleteReport) -> None:
        output.text(
            f"{counted(len(report.deleted), 'document')} deleted; entities: {report.entities_removed} removed, "
            f"{report.entities_changed} changed; relations: {report.relations_removed} removed, "
            f"{report.relations_changed} changed"
        )

        if report.erased is not None:
            replies = counted(sum(report.erased.replies.values()), "reply")
            vectors = counted(report.erased.vectors, "vector")
            output.text(
                f"erased besides: {replies} of the LLM that were kept, {vectors}; the file is rewritten"
            )

    def verdict(report: DeleteReport) -> Exit:
        for number in report.erased.curations if report.erased else ():
            output.note(
                f"change by hand {number} names what no document tells of any more; it stays in the history"
            )
        if report.missing:
            output.note(f"not there: {', '.join(report.missing)}; `stateless-rag status` lists what is")
        return Exit.NOTHING_FOUND if report.missing else Exit.OK

    place.run_on_engine(work, show, verdict=verdict)


def _row(row: DocumentStatus) -> tuple[str, ...]:
    state = f"{row.status.value}, stale" if row.stale else row.status.value
    state = state if row.enabled else f"{state}, disabled"
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


def _truncated(row: DocumentStatus) -> list[str]:
    if not row.truncated:
        return []
    chunks = ", ".join(map(str, row.truncated))
    named = short_source(row.source) if row.source else row.id
    told = f"the LLM was cut off by its token limit in chunk {chunks}"
    return [f"\n{named}: {told}; `stateless-rag resume --truncated` asks again"]
