"""The commands `graph …`: looking at the graph, and taking one in that a program made."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stateless_rag import browsing
from stateless_rag.browsing import EVERYTHING
from stateless_rag.cli.engines import open_engine, open_store
from stateless_rag.cli.ingest import report_costs
from stateless_rag.cli.options import AsJson, Exit, Offline, Root, Workspace, configuration, execute
from stateless_rag.cli.output import Output, counted, short_source, table
from stateless_rag.cli.progress import IngestProgress
from stateless_rag.errors import InvalidInput

if TYPE_CHECKING:
    from stateless_rag.protocols import Snapshot
    from stateless_rag.types import InsertReport, Subgraph

__all__ = ["graph_commands"]

Limit = Annotated[int, typer.Option("--limit", min=1, help="At most so many.")]
_TEXT = 200
_SHOWN = 20


def graph_commands() -> typer.Typer:
    """The group of commands."""
    group = typer.Typer(
        help="Look at entities and relations, and take in a graph that a program made.", no_args_is_help=True
    )
    for name, command in (
        ("show", _show),
        ("search", _search),
        ("labels", _labels),
        ("types", _types),
        ("insert", _insert),
    ):
        group.command(name)(command)
    return group


# ---- looking -------------------------------------------------------------------------------------------


def _show(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="An entity, by its name or an alias; '*' for the largest.")
    ],
    depth: Annotated[int, typer.Option("--depth", min=0, help="So many relations far.")] = 1,
    limit: Limit = 50,
    workspace: Workspace = None,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Show an entity with its relations, and what lies around it."""

    def read(snapshot: Snapshot) -> tuple[Subgraph, list[str]]:
        found = browsing.subgraph(snapshot, name, depth, limit)
        return found, [] if found.entities else browsing.search_labels(snapshot, name, 5)

    def show(found: tuple[Subgraph, list[str]], output: Output) -> Exit:
        around, similar = found
        if as_json:
            shown = [replace(entity, tokens=0) for entity in around.entities]
            output.json({"entities": shown, "relations": around.relations, "truncated": around.truncated})
        elif around.entities:
            _draw(around, name, output)
        if around.entities:
            return Exit.OK
        known = f"; there are {', '.join(map(repr, similar))}" if similar else ""
        output.note(f"no entity {name!r}{known}")
        return Exit.NOTHING_FOUND

    _look(context, (root, workspace, as_json), read, show)


def _search(
    context: typer.Context,
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help="A name, or a part of one; typos are allowed.")
    ],
    limit: Limit = 50,
    workspace: Workspace = None,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Find names of entities, best first."""

    def show(found: list[str], output: Output) -> Exit:
        _lines(found, output, "labels")
        if not found:
            output.note(f"no name is like {query!r}")
        return Exit.OK if found else Exit.NOTHING_FOUND

    _look(
        context,
        (root, workspace, as_json),
        lambda snapshot: browsing.search_labels(snapshot, query, limit),
        show,
    )


def _labels(
    context: typer.Context,
    popular: Annotated[
        bool, typer.Option("--popular", help="Those with the most relations first; else by name.")
    ] = False,
    limit: Limit = 300,
    workspace: Workspace = None,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """List names of entities."""

    def read(snapshot: Snapshot) -> list[str]:
        return browsing.popular_labels(snapshot, limit) if popular else browsing.labels(snapshot)[:limit]

    def show(found: list[str], output: Output) -> Exit:
        _lines(found, output, "labels")
        return Exit.OK

    _look(context, (root, workspace, as_json), read, show)


def _types(
    context: typer.Context, workspace: Workspace = None, root: Root = None, as_json: AsJson = False
) -> None:
    """Count entities by type, most first."""

    def show(found: Any, output: Output) -> Exit:
        if as_json:
            output.json({"types": found})
        else:
            rows = [(name or "–", f"{count:,}") for name, count in found.items()]
            output.out.print(table("TYPE", ">ENTITIES", rows=rows))
        return Exit.OK

    _look(context, (root, workspace, as_json), browsing.type_counts, show)


def _look(
    context: typer.Context,
    place: tuple[str | None, str | None, bool],
    read: Callable[[Snapshot], Any],
    show: Callable[[Any, Output], Exit],
) -> None:
    """Read one revision, for which no provider is needed, and show what was found."""
    root, workspace, as_json = place
    chosen, output = configuration(context, root, workspace), Output(as_json=as_json)

    async def command() -> Exit:
        async with open_store(chosen, create=False) as store, store.workspace(chosen.workspace) as opened:
            found = await opened.read(read)
        return show(found, output)

    execute(output, command)


def _lines(names: list[str], output: Output, field: str) -> None:
    if output.as_json:
        output.json({field: names})
    elif names:
        output.text("\n".join(map(_one_line, names)))


def _draw(around: Subgraph, name: str, output: Output) -> None:
    first, degrees = around.entities[0], around.degrees
    if name != EVERYTHING:
        told = f"\n{first.description}" if first.description else ""
        chunks = counted(first.weight, "chunk")
        output.text(f"{first.name} ({first.type or 'no type'}; {chunks}){told}\n")
    rows = [
        (
            _one_line(relation.source),
            _one_line(relation.target),
            str(relation.weight),
            ", ".join(relation.keywords),
            _short(relation.description),
        )
        for relation in sorted(around.relations, key=lambda r: (-r.weight, r.source, r.target))
    ]
    if rows:
        output.out.print(table("SOURCE", "TARGET", ">WEIGHT", "KEYWORDS", "DESCRIPTION", rows=rows))
    else:
        output.text("No relations.")
    others = around.entities if name == EVERYTHING else around.entities[1:]
    if others:
        lines = [(_one_line(e.name), e.type, str(degrees[e.key]), _short(e.description)) for e in others]
        output.text("")
        output.out.print(table("ENTITY", "TYPE", ">RELATIONS", "DESCRIPTION", rows=lines))
    if around.truncated:
        output.note("there is more; raise --limit to see it")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _short(text: str) -> str:
    line = _one_line(text)
    return line if len(line) <= _TEXT else f"{line[:_TEXT]}…"


# ---- taking in -----------------------------------------------------------------------------------------


def _insert(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="JSON with chunks, entities and relationships.")],
    document_id: Annotated[
        str | None, typer.Option("--document-id", help="One document for all of it; else as the file says.")
    ] = None,
    workspace: Workspace = None,
    root: Root = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Take in a graph that a program made; what the same documents said before is replaced."""
    chosen, output = configuration(context, root, workspace, offline=offline), Output(as_json=as_json)

    async def command() -> Exit:
        graph = _graph_in(file)
        progress = IngestProgress(output.err, None, quiet=output.as_json)
        async with open_engine(chosen, create=True, note=output.note, observer=progress) as engine:
            with progress:
                report = await engine.insert_graph(graph, document_id=document_id)
        if as_json:
            output.json({"workspace": chosen.workspace, "report": report, "counts": report.counts})
        else:
            _tell(report, output)
        return Exit.SOME_FAILED if report.failed else Exit.OK

    execute(output, command)


def _graph_in(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except FileNotFoundError:
        raise InvalidInput(f"there is no file {str(file)!r}; name one that holds a graph as JSON") from None
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{str(file)!r} is no JSON ({error!s:.100})") from None


def _tell(report: InsertReport, output: Output) -> None:
    done = [document for document in report.documents if document not in report.failed]
    entities, relations = sum(d.entities for d in done), sum(d.relations for d in done)
    unchanged = sum(document.unchanged for document in done)
    output.text(
        f"{counted(len(done), 'document')} ready ({unchanged} unchanged), {len(report.failed)} failed; "
        f"{counted(entities, 'entity')} and {counted(relations, 'relation')} told of, {report.seconds:.1f} s"
    )
    output.text(report_costs(report.usage))
    for document in report.documents:
        for reason, count in document.warnings.items():
            output.note(f"warning: {document.id}: {reason}, {counted(count, 'time')}")
    if report.failed:
        rows = [(short_source(d.source), d.id, d.error or "") for d in report.failed[:_SHOWN]]
        output.out.print(table("FAILED", "ID", "WHY", rows=rows))
