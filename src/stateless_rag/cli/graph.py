"""The commands `graph …`: looking at the graph, and taking one in that a program made."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stateless_rag.browsing import EVERYTHING
from stateless_rag.cli.ingest import report_costs
from stateless_rag.cli.options import Exit
from stateless_rag.cli.output import Output, counted, short_source, table
from stateless_rag.cli.running import Place, placed
from stateless_rag.errors import InvalidInput

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
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


@placed(providers=False)
def _show(
    place: Place,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="An entity, by its name or an alias; '*' for the largest.")
    ],
    depth: Annotated[int, typer.Option("--depth", min=0, help="So many relations far.")] = 1,
    limit: Limit = 50,
) -> None:
    """Show an entity with its relations, and what lies around it."""

    async def work(engine: Engine) -> tuple[Subgraph, list[str]]:
        found = await engine.subgraph(name, depth=depth, limit=limit)
        return found, [] if found.entities else await engine.search_labels(name, limit=5)

    def as_json(found: tuple[Subgraph, list[str]]) -> Any:
        around = found[0]
        shown = [replace(entity, tokens=0) for entity in around.entities]
        return {"entities": shown, "relations": around.relations, "truncated": around.truncated}

    def show(found: tuple[Subgraph, list[str]]) -> None:
        if found[0].entities:
            _draw(found[0], name, place.output)

    def verdict(found: tuple[Subgraph, list[str]]) -> Exit:
        around, similar = found
        if around.entities:
            return Exit.OK
        known = f"; there are {', '.join(map(repr, similar))}" if similar else ""
        place.output.note(f"no entity {name!r}{known}")
        return Exit.NOTHING_FOUND

    place.run_looking(work, show, as_json=as_json, verdict=verdict)


@placed(providers=False)
def _search(
    place: Place,
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help="A name, or a part of one; typos are allowed.")
    ],
    limit: Limit = 50,
) -> None:
    """Find names of entities, best first."""

    def verdict(found: list[str]) -> Exit:
        if not found:
            place.output.note(f"no name is like {query!r}")
        return Exit.OK if found else Exit.NOTHING_FOUND

    _list(place, lambda engine: engine.search_labels(query, limit=limit), verdict)


@placed(providers=False)
def _labels(
    place: Place,
    popular: Annotated[
        bool, typer.Option("--popular", help="Those with the most relations first; else by name.")
    ] = False,
    limit: Limit = 300,
) -> None:
    """List names of entities."""

    async def work(engine: Engine) -> list[str]:
        return await engine.popular_labels(limit=limit) if popular else (await engine.labels())[:limit]

    _list(place, work, lambda _: Exit.OK)


@placed(providers=False)
def _types(place: Place) -> None:
    """Count entities by type, most first."""

    def show(found: Mapping[str, int]) -> None:
        rows = [(name or "–", f"{count:,}") for name, count in found.items()]
        place.output.out.print(table("TYPE", ">ENTITIES", rows=rows))

    place.run_looking(lambda engine: engine.type_counts(), show, as_json=lambda found: {"types": found})


def _list(
    place: Place, work: Callable[[Engine], Awaitable[list[str]]], verdict: Callable[[list[str]], Exit]
) -> None:
    """Print names, one a line."""

    def show(names: list[str]) -> None:
        if names:
            place.output.text("\n".join(map(_one_line, names)))

    place.run_looking(work, show, as_json=lambda names: {"labels": names}, verdict=verdict)


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


@placed()
def _insert(
    place: Place,
    file: Annotated[Path, typer.Argument(help="JSON with chunks, entities and relationships.")],
    document_id: Annotated[
        str | None, typer.Option("--document-id", help="One document for all of it; else as the file says.")
    ] = None,
) -> None:
    """Take in a graph that a program made; what the same documents said before is replaced."""

    async def work() -> InsertReport:
        graph = _graph_in(file)
        async with place.engine(create=True, progress=True) as engine:
            return await engine.insert_graph(graph, document_id=document_id)

    place.run(
        work,
        lambda report: _tell(report, place.output),
        as_json=lambda report: {
            "workspace": place.chosen.workspace,
            "report": report,
            "counts": report.counts,
        },
        verdict=lambda report: Exit.SOME_FAILED if report.failed else Exit.OK,
    )


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
