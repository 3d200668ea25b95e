"""The commands `batch submit`, `status`, `collect` and `cancel`: the extraction in files, for half the price."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stateless_rag.cli.files import find_files, read_documents
from stateless_rag.cli.ingest import Skipped, report_costs
from stateless_rag.cli.options import Exit
from stateless_rag.cli.output import counted, table
from stateless_rag.cli.running import Place, placed

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
    from stateless_rag.types import BatchInfo, BatchReport

__all__ = ["batch_commands"]


def batch_commands() -> typer.Typer:
    """The group of commands."""
    group = typer.Typer(
        help="Hand the extraction over in files, which OpenAI answers within a day for half the price.",
        no_args_is_help=True,
    )
    group.command("submit")(_submit)
    group.command("status")(_status)
    group.command("collect")(_collect)
    group.command("cancel")(_cancel)
    return group


@placed()
def _submit(
    place: Place,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...", help="Files and folders to take in first, to be extracted later."
        ),
    ] = None,
) -> None:
    """Hand over what extracting the documents needs that are pending; what is known is left out."""
    skipped = Skipped(place.output)

    async def work() -> tuple[BatchInfo, ...]:
        files = find_files(paths or [], skipped.pass_over)
        if paths:
            skipped.tell(len(files))
        async with place.engine(create=bool(paths)) as engine:
            if not files:
                return await engine.submit_batch()
            async with aclosing(read_documents(files, skipped.skip)) as documents:
                return await engine.submit_batch(documents=documents)

    def show(made: Sequence[BatchInfo]) -> None:
        if made:
            requests = counted(sum(batch.requests for batch in made), "request")
            names = ", ".join(batch.id for batch in made)
            place.output.text(f"{requests} handed over as {names}; `batch collect` keeps the replies.")
        else:
            place.output.text("There is nothing to ask that is not known or handed over; `resume` ingests.")

    told = "Interrupted. What was handed over is known; run the same command again."
    place.run(work, show, verdict=lambda _: Exit.SOME_FAILED if skipped.files else Exit.OK, interrupted=told)


@placed(providers=False)
def _status(place: Place) -> None:
    """Show the batches as they were when they were last looked at; `batch collect` looks."""

    async def work(engine: Engine) -> list[BatchInfo]:
        return await engine.batches()

    place.run_looking(work, lambda found: _show(place, found))


@placed()
def _collect(
    place: Place,
    wait: Annotated[bool, typer.Option("--wait", help="Return when all batches have ended.")] = False,
    poll: Annotated[float, typer.Option("--poll", min=0.01, help="Seconds between two looks.")] = 60.0,
) -> None:
    """Keep the replies of batches that have ended, for `resume`, and delete their files at the provider."""

    async def work(engine: Engine) -> BatchReport:
        return await engine.collect_batches(wait=wait, poll=poll, progress=_Progress(place) if wait else None)

    def show(report: BatchReport) -> None:
        _show(place, report.batches)
        kept = f"{counted(report.replies, 'reply')} kept ({report_costs(report.usage)})"
        failed = f", {counted(report.failed, 'request')} to be asked again" if report.failed else ""
        waiting = f"; not ready yet: {report.waiting:,}" if report.waiting else ""
        place.output.text(f"{kept}{failed}{waiting}.")

    place.run_on_engine(
        work,
        show,
        verdict=lambda report: Exit.SOME_FAILED if report.failed else Exit.OK,
        interrupted="Interrupted. What was kept is kept; run the same command again.",
    )


@placed()
def _cancel(
    place: Place,
    batch: Annotated[str, typer.Argument(metavar="BATCH", help="As `batch status` names it.")],
    forget: Annotated[
        bool, typer.Option("--forget", help="Ask nothing of the provider, and never look for replies.")
    ] = False,
) -> None:
    """Ask the provider to stop a batch; `batch collect` keeps what was answered by then."""

    async def work(engine: Engine) -> BatchInfo:
        return await engine.cancel_batch(batch, forget=forget)

    place.run_on_engine(work, lambda found: place.output.text(f"Batch {found.id}: {found.status}."))


class _Progress:
    """Says on stderr how far batches are, when that has changed."""

    def __init__(self, place: Place) -> None:
        self._output = place.output
        self._last: dict[str, tuple[str, int]] = {}

    def __call__(self, batches: Sequence[BatchInfo]) -> None:
        for batch in batches:
            now = (batch.status, batch.done)
            if self._last.get(batch.id) != now:
                self._last[batch.id] = now
                self._output.note(f"{batch.id}: {batch.status}, {batch.done:,} of {batch.requests:,}")


def _show(place: Place, batches: Sequence[BatchInfo]) -> None:
    if not batches:
        place.output.text("There are no batches.")
        return
    rows = [
        (
            batch.id,
            batch.status,
            f"{batch.requests:,}",
            f"{batch.done:,}",
            f"{batch.replies:,}" if batch.collected else "–",
            datetime.fromtimestamp(batch.submitted_at, UTC).strftime("%Y-%m-%d %H:%M"),
            batch.error or "",
        )
        for batch in batches
    ]
    heads = ("BATCH", "STATUS", ">REQUESTS", ">DONE", ">KEPT", "SUBMITTED (UTC)", "ERROR")
    place.output.out.print(table(*heads, rows=rows))
