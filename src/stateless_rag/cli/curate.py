"""The commands `curate …`: changes to the graph by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from stateless_rag.cli.engines import open_engine
from stateless_rag.cli.options import AsJson, Exit, Offline, Root, Workspace, configuration, execute
from stateless_rag.cli.output import Output, counted, table

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
    from stateless_rag.types import Curated, Curation, Entity, Relation

__all__ = ["curate_commands"]

Name = Annotated[str, typer.Argument(metavar="NAME", help="An entity, by its name or an alias.")]
Source = Annotated[str, typer.Argument(metavar="SOURCE", help="An entity.")]
Target = Annotated[str, typer.Argument(metavar="TARGET", help="Another entity.")]
Type = Annotated[str | None, typer.Option("--type", help="Such as person or place.")]
Description = Annotated[
    str | None, typer.Option("--description", help="What it is, in place of what documents say.")
]
Keywords = Annotated[str | None, typer.Option("--keywords", help="Separated by commas.")]
Weight = Annotated[
    int | None, typer.Option("--weight", help="In place of the number of chunks that state it.")
]


def curate_commands() -> typer.Typer:
    """The group of commands."""
    group = typer.Typer(
        help="Change entities and relations by hand. Changes hold whatever is ingested later, and can be undone.",
        no_args_is_help=True,
    )
    for name, command in (
        ("create", _create),
        ("edit", _edit),
        ("rename", _rename),
        ("merge", _merge),
        ("delete", _delete),
        ("relate", _relate),
        ("edit-relation", _edit_relation),
        ("unrelate", _unrelate),
        ("alias", _alias),
        ("undo", _undo),
        ("history", _history),
    ):
        group.command(name)(command)
    return group


# ---- entities ------------------------------------------------------------------------------------------


def _create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The entity's name.")],
    kind: Type = None,
    description: Description = None,
    workspace: Workspace = None,
    root: Root = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Create an entity that no document need mention."""
    _change(
        context,
        (root, workspace, offline, as_json),
        lambda engine: engine.create_entity(name, type=kind, description=description),
    )


def _edit(
    context: typer.Context,
    name: Name,
    kind: Type = None,
    description: Description = None,
    workspace: Workspace = None,
    root: Root = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Give an entity another type or description."""
    _change(
        context,
        (root, workspace, offline, as_json),
        lambda engine: engine.edit_entity(name, type=kind, description=description),
    )


def _rename(
    context: typer.Context,
    name: Name,
    new_name: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.")],
    workspace: Workspace = None,
    root: Root = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Rename an entity; the old name stands for it from now on."""
    _change(context, (root, workspace, offline, as_json), lambda engine: engine.rename_entity(name, new_name))


def _merge(
    context: typer.Context,
    sources: Annotated[list[str], typer.Argument(metavar="NAME...", help="Entities.")],
    into: Annotated[str, typer.Option("--into", help="The entity that they are to be.")],
    kind: Type = None,
    description: Description = None,
    workspace: Workspace = None,
    root: Root = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Make several entities one."""
    _change(
        context,
        (root, workspace, offline, as_json),
        lambda engine: engine.merge_entities(sources, into, type=kind, description=description),
    )


def _delete(
    context: typer.Context,
    name: Name,
    workspace: Workspace = None,
    root: Root = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Delete an entity with its relations, whatever documents say of it."""
    _change(context, (root, workspace, offline, as_json), lambda engine: engine.delete_entity(name))


# ---- relations -----------------------------------------------------------------------------------------


def _relate(
    context: typer.Context,
    source: Source,
    target: Target,
    keywords: Keywords = None,
    description: Description = None,
    weight: Weight = None,
    workspace: Workspace = None,
    root: Root = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Create a relation between two entities."""
    _change(
        context,
        (root, workspace, offline, as_json),
        lambda engine: engine.create_relation(
            source, target, keywords=keywords, description=description, weight=weight
        ),
    )


def _edit_relation(
    context: typer.Context,
    source: Source,
    target: Target,
    keywords: Keywords = None,
    description: Description = None,
    weight: Weight = None,
    workspace: Workspace = None,
    root: Root = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Give a relation other keywords, another description or another weight."""
    _change(
        context,
        (root, workspace, offline, as_json),
        lambda engine: engine.edit_relation(
            source, target, keywords=keywords, description=description, weight=weight
        ),
    )


def _unrelate(
    context: typer.Context,
    source: Source,
    target: Target,
    workspace: Workspace = None,
    root: Root = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Delete a relation, whatever documents say of it; its entities stay."""
    _change(
        context, (root, workspace, offline, as_json), lambda engine: engine.delete_relation(source, target)
    )


# ---- the log -------------------------------------------------------------------------------------------


def _alias(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name.")],
    target: Annotated[
        str | None, typer.Argument(metavar="[ENTITY]", help="What it stands for; nothing takes it back.")
    ] = None,
    workspace: Workspace = None,
    root: Root = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Let a name stand for an entity, or for itself again."""
    chosen, output = configuration(context, root, workspace, offline=offline), Output(as_json=as_json)

    async def command() -> Exit:
        async with open_engine(chosen, create=False, note=output.note) as engine:
            revision = await engine.alias(name, target)
            aliases = await engine.aliases()
        if as_json:
            output.json({"revision": revision, "aliases": aliases})
        else:
            output.text(
                "\n".join(f"{key} stands for {other}" for key, other in sorted(aliases.items()))
                or "No aliases."
            )
        return Exit.OK

    execute(output, command)


def _undo(
    context: typer.Context,
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="As `curate history` shows it.")],
    workspace: Workspace = None,
    root: Root = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Take a change back; to undo an undo makes the change again."""
    _change(context, (root, workspace, offline, as_json), lambda engine: engine.undo(number))


def _history(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only changes of this entity.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="At most so many.")] = 100,
    workspace: Workspace = None,
    root: Root = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Show what was changed by hand, newest first."""
    chosen, output = configuration(context, root, workspace, offline=offline), Output(as_json=as_json)

    async def command() -> Exit:
        async with open_engine(chosen, create=False, note=output.note) as engine:
            entries = await engine.history(name, limit=limit)
        if as_json:
            output.json(entries)
        elif entries:
            rows = [_row(entry) for entry in entries]
            output.out.print(table(">NUMBER", "TIME", "CHANGE", "NAMES", "GIVEN", "UNDONE BY", rows=rows))
        else:
            output.text("Nothing was changed by hand.")
        return Exit.OK

    execute(output, command)


# ---- plumbing ------------------------------------------------------------------------------------------


def _change(
    context: typer.Context,
    place: tuple[str | None, str | None, bool, bool],
    call: Callable[[Engine], Awaitable[Curated]],
) -> None:
    """Make one change and show what it came to; `place` holds the options that all commands have."""
    root, workspace, offline, as_json = place
    chosen, output = configuration(context, root, workspace, offline=offline), Output(as_json=as_json)

    async def command() -> Exit:
        async with open_engine(chosen, create=False, note=output.note) as engine:
            curated = await call(engine)
        if as_json:
            output.json(curated)
            return Exit.OK
        shown = [_entity_line(curated.entity)] if curated.entity else []
        shown += [_relation_line(curated.relation)] if curated.relation else []
        output.text("\n".join([f"Change {curated.number} is made.", *shown]))
        return Exit.OK

    execute(output, command)


def _entity_line(entity: Entity) -> str:
    told = f": {entity.description}" if entity.description else ""
    return f"{entity.name} ({entity.type}, {counted(entity.weight, 'chunk')}){told}"


def _relation_line(relation: Relation) -> str:
    told = f": {relation.description}" if relation.description else ""
    words = f" [{', '.join(relation.keywords)}]" if relation.keywords else ""
    return f"{relation.source} -> {relation.target}{words} (weight {relation.weight}){told}"


def _row(entry: Curation) -> tuple[str, ...]:
    time = datetime.fromtimestamp(entry.at).astimezone().isoformat(" ", "seconds") if entry.at else ""
    given = ", ".join(f"{name}: {value}" for name, value in entry.payload.items())
    undone_by = "" if entry.undone_by is None else str(entry.undone_by)
    return str(entry.number), time, entry.kind.replace("_", " "), ", ".join(entry.names), given, undone_by
