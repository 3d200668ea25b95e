"""The commands `reembed`, `upgrade`, `disable` and `enable`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stateless_rag.cli.budgets import BudgetOption, MoneyOption, budget_given
from stateless_rag.cli.costs import PriceOption
from stateless_rag.cli.files import source_of
from stateless_rag.cli.ingest import report_costs, tell_pause
from stateless_rag.cli.options import Exit
from stateless_rag.cli.output import counted
from stateless_rag.cli.progress import RowProgress
from stateless_rag.cli.running import Place, placed
from stateless_rag.errors import InvalidInput
from stateless_rag.types import Status

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
    from stateless_rag.types import EnableReport, InsertReport, ReembedReport

__all__ = ["disable", "enable", "reembed", "upgrade"]

Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Documents, by id or by their file's path.")]


@placed(workspace=False)
def reembed(
    place: Place,
    name: Annotated[str, typer.Argument(metavar="WORKSPACE", help="The workspace to change.")],
    embedder: Annotated[
        str,
        typer.Option(
            "--embedder",
            help="A model of the server, hashing, or fastembed: and a local model's name or folder.",
        ),
    ],
    cut: Annotated[
        bool, typer.Option("--cut", help="Embed the beginnings of chunks that are too long for the embedder.")
    ] = False,
) -> None:
    """Change a workspace to another embedder: its texts are embedded anew, no LLM is asked.

    Interrupted, the same command goes on. The embedder that it has need not be at hand.
    """
    output = place.output

    async def work() -> ReembedReport:
        with RowProgress(output.err, quiet=output.as_json) as progress:
            return await place.of(name).source.reembed(embedder, cut=cut, observer=progress)

    def show(report: ReembedReport) -> None:
        if report.changed:
            output.text(
                f"Workspace {name} has embedder {report.embedder} now: {counted(report.chunks, 'chunk')}, "
                f"{counted(report.entities, 'entity')}, {counted(report.relations, 'relation')}; "
                f"{report_costs(report.usage)}"
            )
        else:
            output.text(f"Workspace {name} has embedder {report.embedder} already.")

    place.run(work, show, interrupted="Interrupted. What was embedded is kept; the same command goes on.")


@placed()
def upgrade(
    place: Place,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Documents, by id or by their file's path.")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option("--where", help='Those that meet a metadata filter: \'{"year": {"gt": 1900}}\'.'),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every document.")] = False,
    budget: BudgetOption = None,
    budget_money: MoneyOption = None,
    price: PriceOption = None,
) -> None:
    """Extract documents again with the LLM, the prompts and the settings there are now.

    What was extracted with the same before is kept. Interrupted, `resume` goes on.
    """
    condition = {} if every else _filter(where)
    own = budget_given(budget, budget_money, price)

    async def work(engine: Engine) -> InsertReport:
        wanted = await _known(engine, ids) if ids else None
        return await engine.upgrade(wanted, where=condition, budget=own)

    def show(report: InsertReport) -> None:
        done = report.counts.get(Status.PROCESSED, 0)
        place.output.text(f"{counted(done, 'document')} upgraded; {report_costs(report.usage)}")
        for document in report.failed:
            place.output.text(f"  {document.id}: {document.error}")

    def verdict(report: InsertReport) -> Exit:
        tell_pause(place, report)
        return Exit.SOME_FAILED if report.failed or report.paused else Exit.OK

    place.run_on_engine(
        work,
        show,
        progress=True,
        verdict=verdict,
        interrupted="Interrupted. What was finished is kept; `stateless-rag resume` goes on.",
    )


@placed()
def disable(place: Place, ids: Ids) -> None:
    """Leave documents out of the graph and of every answer, without deleting them."""
    _set(place, ids, enabled=False)


@placed()
def enable(place: Place, ids: Ids) -> None:
    """Take documents that were disabled in again."""
    _set(place, ids, enabled=True)


def _set(place: Place, ids: Sequence[str], *, enabled: bool) -> None:
    output = place.output

    async def work(engine: Engine) -> EnableReport:
        wanted = await _known(engine, ids)
        return await (engine.enable(wanted) if enabled else engine.disable(wanted))

    def show(report: EnableReport) -> None:
        told = "enabled" if enabled else "disabled"
        unchanged = f", {len(report.unchanged)} already" if report.unchanged else ""
        output.text(f"{counted(len(report.changed), 'document')} {told}{unchanged}")

    def verdict(report: EnableReport) -> Exit:
        if report.missing:
            output.note(f"not there: {', '.join(report.missing)}; `stateless-rag status` lists what is")
        return Exit.NOTHING_FOUND if report.missing else Exit.OK

    place.run_on_engine(work, show, verdict=verdict)


async def _known(engine: Engine, ids: Sequence[str]) -> list[str]:
    """Ids of documents, of which some may have been named by their file's path."""
    rows = await engine.documents()
    known = {row.id for row in rows}
    by_source = {row.source: row.id for row in rows if row.source is not None}
    return [id_ if id_ in known else by_source.get(source_of(id_), id_) for id_ in ids]


def _filter(where: str | None) -> Any:
    if where is None:
        return None
    try:
        return json.loads(where)
    except ValueError as error:
        raise InvalidInput(f"--where {where!r} is not JSON: {error}") from error
