"""The commands `ingest` and `resume`."""

from __future__ import annotations

import shlex
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stateless_rag.cli.engines import open_engine
from stateless_rag.cli.files import SUFFIXES, find_files, read_documents
from stateless_rag.cli.options import AsJson, Exit, Offline, Root, Workspace, configuration, execute
from stateless_rag.cli.output import Output, counted, short_source, table
from stateless_rag.cli.progress import IngestProgress
from stateless_rag.errors import StatelessRagError
from stateless_rag.types import InsertReport, Status

if TYPE_CHECKING:
    from stateless_rag.settings import Configuration
    from stateless_rag.types import Event, UsageByPurpose

__all__ = ["ingest", "report_costs", "resume"]

_SHOWN = 20


def ingest(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Text files, and folders of them.")],
    workspace: Workspace = None,
    root: Root = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Take text and Markdown files in; a file that is there already pays for its changed chunks only."""
    chosen, output = configuration(context, root, workspace, offline=offline), Output(as_json=as_json)
    skipped: list[tuple[str, str]] = []

    def skip(file: Path, why: str) -> None:
        skipped.append((str(file), why))
        output.note(f"skipped {file}: {why}")

    async def command() -> Exit:
        files = find_files(paths)
        if not files:
            output.note(f"There are no text files ({', '.join(SUFFIXES)}) in what was named.")
        async with open_engine(chosen, create=True, note=output.note) as engine:
            documents = read_documents(files, skip)
            async with aclosing(documents):
                report = await _shown(engine.insert_events(documents), output, len(files))
        return _tell(output, chosen, report, skipped)

    again = f"Run the same command again, or `{_resume(chosen)}` for what was taken in already."
    execute(output, command, interrupted=f"Interrupted. What was finished is kept and paid for once. {again}")


def resume(
    context: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Only these documents.")] = None,
    workspace: Workspace = None,
    root: Root = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Go on with documents that are pending or failed; only what is missing is paid for."""
    chosen, output = configuration(context, root, workspace, offline=offline), Output(as_json=as_json)

    async def command() -> Exit:
        progress = IngestProgress(output.err, None, quiet=output.as_json)
        async with open_engine(chosen, create=False, note=output.note, observer=progress) as engine:
            with progress:
                report = await engine.resume(ids or None)
        if not (report.documents or output.as_json):
            output.text("Nothing to resume.")
            return Exit.OK
        return _tell(output, chosen, report, [])

    execute(
        output, command, interrupted=f"Interrupted. What was finished is kept; `{_resume(chosen)}` goes on."
    )


def report_costs(usage: UsageByPurpose) -> str:
    """Calls and tokens in one line."""
    parts = [
        f"{purpose}: {counted(used.calls, 'call')}, {counted(used.tokens, 'token')}"
        + (f", {used.cached} known" if used.cached else "")
        for purpose, used in usage.items()
    ]
    return "; ".join(parts) or "no calls"


async def _shown(events: AsyncGenerator[Event], output: Output, documents: int) -> InsertReport:
    with IngestProgress(output.err, documents, quiet=output.as_json) as progress:
        async with aclosing(events):
            async for event in events:
                progress(event)
                if isinstance(event.report, InsertReport):
                    return event.report
    raise StatelessRagError("the ingest ended without a report; run the same command again")


def _resume(chosen: Configuration) -> str:
    place = shlex.join(["--root", chosen.root, "--workspace", chosen.workspace])
    return f"stateless-rag resume {place}"


def _tell(
    output: Output, chosen: Configuration, report: InsertReport, skipped: list[tuple[str, str]]
) -> Exit:
    code = Exit.SOME_FAILED if report.failed or skipped else Exit.OK
    for document in report.documents:
        if document.status is Status.PROCESSED and "empty" in document.warnings:
            output.note(
                f"warning: {short_source(document.source)} is empty: there is no text in it to be found"
            )
    if output.as_json:
        names = [{"path": path, "reason": why} for path, why in skipped]
        output.json(
            {"workspace": chosen.workspace, "report": report, "counts": report.counts, "skipped": names}
        )
        return code
    done = [document for document in report.documents if document.status is Status.PROCESSED]
    unchanged = sum(document.unchanged for document in done)
    chunks = counted(sum(document.chunks for document in done), "chunk")
    output.text(
        f"{counted(len(done), 'document')} ready ({unchanged} unchanged), {chunks}, {len(report.failed)} failed, "
        f"{counted(len(skipped), 'file')} skipped, {report.seconds:.1f} s"
    )
    output.text(report_costs(report.usage))
    if report.failed:
        rows = [(short_source(d.source), d.id, d.error or "") for d in report.failed[:_SHOWN]]
        output.out.print(table("FAILED", "ID", "WHY", rows=rows))
        output.note(
            f"`{_resume(chosen)}` tries them again; `stateless-rag status` shows the errors of each chunk."
        )
    return code
