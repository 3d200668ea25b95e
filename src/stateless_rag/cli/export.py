"""The commands `export` and `import-jsonl`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stateless_rag.cli.ingest import report_costs
from stateless_rag.cli.options import Exit
from stateless_rag.cli.output import Output, counted, jsonable, short_source, size, table
from stateless_rag.cli.running import Place, placed
from stateless_rag.types import Status

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
    from stateless_rag.types import ExportReport, JsonlReport

__all__ = ["export_file", "import_jsonl"]

_SHOWN = 20


@placed(providers=False)
def export_file(
    place: Place,
    path: Annotated[Path, typer.Argument(help="The file to write; one of that name is replaced.")],
    format_: Annotated[
        str | None,
        typer.Option("--format", help="graphml, jsonl, csv, parquet or markdown; else as the suffix says."),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option("--include", help="entities, relations, documents or chunks; may be given again."),
    ] = None,
    vectors: Annotated[bool, typer.Option("--vectors", help="With vectors (jsonl, csv, parquet).")] = False,
    communities: Annotated[
        bool, typer.Option("--communities", help="With the community of each entity (graphml).")
    ] = False,
) -> None:
    """Write the graph into a file; as JSON Lines (.jsonl) all there is, for `import-jsonl`."""
    output = place.output

    async def work(engine: Engine) -> ExportReport:
        chosen: Any = format_, include or None  # checked where it is known what there is
        return await engine.export(
            path, chosen[0], include=chosen[1], vectors=vectors, communities=communities
        )

    def show(report: ExportReport) -> None:
        told = ", ".join(f"{count:,} {kind}" for kind, count in report.counts.items())
        output.text(f"{report.path}: {told}; {size(report.bytes)}, {report.seconds:.1f} s")
        if report.moved_on:
            output.note("note: the workspace was written to meanwhile; export again for one revision")
        if report.unfinished and report.format == "jsonl":
            output.note(
                f"note: {counted(report.unfinished, 'document')} pending or failed; what is not committed of "
                "them is not in the file (`stateless-rag resume` goes on with them)"
            )

    place.run_looking(work, show, as_json=_with_path)


@placed()
def import_jsonl(
    place: Place,
    path: Annotated[Path, typer.Argument(help="A file that `export` has written as JSON Lines.")],
) -> None:
    """Bring in an exported workspace: documents, what they say, and changes by hand. No LLM is called."""
    place.run_on_engine(
        lambda engine: engine.import_jsonl(path),
        lambda report: _tell(report, place.output),
        create=True,
        progress=True,
        as_json=_with_path,
        verdict=lambda report: Exit.SOME_FAILED if report.failed else Exit.OK,
        interrupted="Interrupted. What was brought in is kept; the same command does the rest.",
    )


def _tell(report: JsonlReport, output: Output) -> None:
    done = report.documents.get(Status.PROCESSED, 0)
    output.text(
        f"{counted(done, 'document')} ready ({report.unchanged} unchanged), {len(report.failed)} failed; "
        f"{counted(report.curations, 'change')} by hand, {report.seconds:.1f} s"
    )
    output.text(report_costs(report.usage))
    if report.failed:
        rows = [(short_source(d.source), d.id, d.error or "") for d in report.failed[:_SHOWN]]
        output.out.print(table("FAILED", "ID", "WHY", rows=rows))


def _with_path(report: ExportReport | JsonlReport) -> dict[str, Any]:
    return {**jsonable(report), "path": str(report.path)}
