"""The commands `ingest` and `resume`."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stateless_rag.cli.budgets import BudgetOption, MoneyOption, budget_given
from stateless_rag.cli.costs import PriceOption
from stateless_rag.cli.files import SUFFIXES, find_files, kind_of, read_documents
from stateless_rag.cli.options import Exit
from stateless_rag.cli.output import Output, counted, short_source, table
from stateless_rag.cli.progress import IngestProgress
from stateless_rag.cli.running import Place, placed
from stateless_rag.errors import StatelessRagError
from stateless_rag.types import InsertReport, Status

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
    from stateless_rag.types import Event, UsageByPurpose

__all__ = ["ingest", "report_costs", "resume", "tell_pause"]

_SHOWN = 20
_KINDS = 6


@placed()
def ingest(
    place: Place,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files, and folders of them.")],
    budget: BudgetOption = None,
    budget_money: MoneyOption = None,
    price: PriceOption = None,
) -> None:
    """Take files in: texts, PDF, Office and others; a file that is there already pays for its changed chunks only."""
    output, skipped = place.output, Skipped(place.output)
    own = budget_given(budget, budget_money, price)

    async def work() -> InsertReport:
        files = find_files(paths, skipped.pass_over)
        skipped.tell(len(files))
        async with place.engine(create=True) as engine:
            documents = read_documents(files, skipped.skip)
            async with aclosing(documents):
                return await _shown(engine.insert_events(documents, budget=own), output, len(files))

    again = f"Run the same command again, or `{_resume(place)}` for what was taken in already."
    _tell_run(place, work, skipped, f"Interrupted. What was finished is kept and paid for once. {again}")


@placed()
def resume(
    place: Place,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Only these documents.")] = None,
    truncated: Annotated[
        bool,
        typer.Option("--truncated", help="Ask again also where the LLM was cut off by its token limit."),
    ] = False,
    budget: BudgetOption = None,
    budget_money: MoneyOption = None,
    price: PriceOption = None,
) -> None:
    """Go on with documents that are pending or failed; only what is missing is paid for."""
    own = budget_given(budget, budget_money, price)

    async def work() -> InsertReport:
        progress = IngestProgress(place.output.err, None, quiet=place.output.as_json)
        async with place.engine(observer=progress) as engine:
            progress.expect(await _waiting(engine, ids, truncated=truncated))
            with progress:
                return await engine.resume(ids or None, truncated=truncated, budget=own)

    told = f"Interrupted. What was finished is kept; `{_resume(place)}` goes on."
    _tell_run(place, work, Skipped(place.output), told)


class Skipped:
    """Files that were not taken in: those that cannot be read, and those that are no text files by their names."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self.files: list[tuple[str, str]] = []
        self.passed_over: Counter[str] = Counter()

    def skip(self, file: Path, why: str) -> None:
        """A file that was to be taken in cannot be."""
        self.files.append((str(file), why))
        self._output.note(f"skipped {file}: {why}")

    def pass_over(self, file: Path) -> None:
        """A file in a folder is none that would be taken in."""
        self.passed_over[kind_of(file)] += 1

    def tell(self, taken: int) -> None:
        """Say what was passed over, and if nothing was left."""
        if self.passed_over:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.passed_over.most_common(_KINDS))
            more = ", …" if len(self.passed_over) > _KINDS else ""
            self._output.note(
                f"passed over {counted(self.passed_over.total(), 'file')} that are not {', '.join(SUFFIXES)}: "
                f"{kinds}{more}"
            )
        if not taken:
            self._output.note(f"There are no files to be read ({', '.join(SUFFIXES)}) in what was named.")


async def _waiting(engine: Engine, ids: Sequence[str] | None, *, truncated: bool) -> int:
    """How many documents there are to go on with."""
    rows = await engine.documents()
    return sum(
        (not ids or row.id in ids)
        and (row.status is not Status.PROCESSED or (truncated and bool(row.truncated)))
        for row in rows
    )


def tell_pause(place: Place, report: InsertReport) -> None:
    """Say, if a budget is used up, that not all is done."""
    if report.paused is not None:
        waiting = counted(report.counts.get(Status.PENDING, 0), "document")
        place.output.note(f"paused: {report.paused}. {waiting} not done; `{_resume(place)}` goes on")


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


def _resume(place: Place) -> str:
    return f"stateless-rag resume {place.source.options}"


def _tell_run(
    place: Place, work: Callable[[], Awaitable[InsertReport]], skipped: Skipped, interrupted: str
) -> None:
    """Run an ingest, and tell what became of the documents."""

    def as_json(report: InsertReport) -> Any:
        return {
            "workspace": place.chosen.workspace,
            "report": report,
            "counts": report.counts,
            "skipped": [{"path": path, "reason": why} for path, why in skipped.files],
            "passed_over": skipped.passed_over,
        }

    def verdict(report: InsertReport) -> Exit:
        for document in report.documents:
            if document.status is Status.PROCESSED and "empty" in document.warnings:
                source = short_source(document.source)
                place.output.note(f"warning: {source} is empty: there is no text in it to be found")
        cut = sum(len(document.truncated) for document in report.documents)
        if cut:
            place.output.note(
                f"warning: the LLM was cut off by its token limit in {counted(cut, 'chunk')}; what it said until "
                f"then is kept. `{_resume(place)} --truncated` asks again, `stateless-rag status` lists them"
            )
        tell_pause(place, report)
        return Exit.SOME_FAILED if report.failed or report.paused or skipped.files else Exit.OK

    def show(report: InsertReport) -> None:
        _tell(place, report, skipped)

    place.run(work, show, as_json=as_json, verdict=verdict, interrupted=interrupted)


def _tell(place: Place, report: InsertReport, skipped: Skipped) -> None:
    output = place.output
    if not (report.documents or skipped.files or skipped.passed_over):
        output.text("Nothing to do.")
        return
    done = [document for document in report.documents if document.status is Status.PROCESSED]
    unchanged = sum(document.unchanged for document in done)
    chunks = counted(sum(document.chunks for document in done), "chunk")
    left_out = len(skipped.files) + skipped.passed_over.total()
    output.text(
        f"{counted(len(done), 'document')} ready ({unchanged} unchanged), {chunks}, {len(report.failed)} failed, "
        f"{counted(left_out, 'file')} skipped, {report.seconds:.1f} s"
    )
    output.text(report_costs(report.usage))
    if report.failed:
        rows = [(short_source(d.source), d.id, d.error or "") for d in report.failed[:_SHOWN]]
        output.out.print(table("FAILED", "ID", "WHY", rows=rows))
        output.note(
            f"`{_resume(place)}` tries them again; `stateless-rag status` shows the errors of each chunk."
        )
