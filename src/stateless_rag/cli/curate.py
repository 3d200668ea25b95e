"""The commands `curate …`: changes to the graph by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from stateless_rag.cli.output import counted, table
from stateless_rag.cli.running import Place, placed

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


@placed()
def _create(
    place: Place,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The entity's name.")],
    kind: Type = None,
    description: Description = None,
) -> None:
    """Create an entity that no document need mention."""
    _change(
        place,
        lambda engine: engine.create_entity(name, type=kind, description=description),
    )


@placed()
def _edit(
    place: Place,
    name: Name,
    kind: Type = None,
    description: Description = None,
) -> None:
    """Give an entity another type or description."""
    _change(
        place,
        lambda engine: engine.edit_entity(name, type=kind, description=description),
    )


@placed()
def _rename(
    place: Place,
    name: Name,
    new_name: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.")],
) -> None:
    """Rename an entity; the old name stands for it from now on."""
    _change(place, lambda engine: engine.rename_entity(name, new_name))


@placed()
def _merge(
    place: Place,
    sources: Annotated[list[str], typer.Argument(metavar="NAME...", help="Entities.")],
    into: Annotated[str, typer.Option("--into", help="The entity that they are to be.")],
    kind: Type = None,
    description: Description = None,
) -> None:
    """Make several entities one."""
    _change(
        place,
        lambda engine: engine.merge_entities(sources, into, type=kind, description=description),
    )


@placed()
def _delete(
    place: Place,
    name: Name,
) -> None:
    """Delete an entity with its relations, whatever documents say of it."""
    _change(place, lambda engine: engine.delete_entity(name))


# ---- relations -----------------------------------------------------------------------------------------


@placed()
def _relate(
    place: Place,
    source: Source,
    target: Target,
    keywords: Keywords = None,
    description: Description = None,
    weight: Weight = None,
) -> None:
    """Create a relation between two entities."""
    _change(
        place,
        lambda engine: engine.create_relation(
            source, target, keywords=keywords, description=description, weight=weight
        ),
    )


@placed()
def _edit_relation(
    place: Place,
    source: Source,
    target: Target,
    keywords: Keywords = None,
    description: Description = None,
    weight: Weight = None,
) -> None:
    """Give a relation other keywords, another description or another weight."""
    _change(
        place,
        lambda engine: engine.edit_relation(
            source, target, keywords=keywords, description=description, weight=weight
        ),
    )


@placed()
def _unrelate(
    place: Place,
    source: Source,
    target: Target,
) -> None:
    """Delete a relation, whatever documents say of it; its entities stay."""
    _change(place, lambda engine: engine.delete_relation(source, target))


# ---- the log -------------------------------------------------------------------------------------------


@placed()
def _alias(
    place: Place,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name.")],
    target: Annotated[
        str | None, typer.Argument(metavar="[ENTITY]", help="What it stands for; nothing takes it back.")
    ] = None,
) -> None:
    """Let a name stand for an entity, or for itself again."""

    async def work(engine: Engine) -> tuple[int, Mapping[str, str]]:
        return await engine.alias(name, target), await engine.aliases()

    def show(found: tuple[int, Mapping[str, str]]) -> None:
        lines = [f"{key} stands for {other}" for key, other in sorted(found[1].items())]
        place.output.text("\n".join(lines) or "No aliases.")

    place.run_on_engine(work, show, as_json=lambda found: {"revision": found[0], "aliases": found[1]})


@placed()
def _undo(
    place: Place,
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="As `curate history` shows it.")],
) -> None:
    """Take a change back; to undo an undo makes the change again."""
    _change(place, lambda engine: engine.undo(number))


@placed()
def _history(
    place: Place,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only changes of this entity.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="At most so many.")] = 100,
) -> None:
    """Show what was changed by hand, newest first."""

    def show(entries: Sequence[Curation]) -> None:
        if entries:
            rows = [_row(entry) for entry in entries]
            place.output.out.print(
                table(">NUMBER", "TIME", "CHANGE", "NAMES", "GIVEN", "UNDONE BY", rows=rows)
            )
        else:
            place.output.text("Nothing was changed by hand.")

    place.run_on_engine(lambda engine: engine.history(name, limit=limit), show)


# ---- telling -------------------------------------------------------------------------------------------


def _change(place: Place, call: Callable[[Engine], Awaitable[Curated]]) -> None:
    """Make one change and show what it came to."""

    def show(curated: Curated) -> None:
        shown = [_entity_line(curated.entity)] if curated.entity else []
        shown += [_relation_line(curated.relation)] if curated.relation else []
        place.output.text("\n".join([f"Change {curated.number} is made.", *shown]))

    place.run_on_engine(call, show)


def _entity_line(entity: Entity) -> str:
    told = f": {entity.description}" if entity.description else ""
    return f"{entity.name} ({entity.type}, {counted(entity.weight, 'chunk')}){told}"


def _relation_line(relation: Relation) -> str:
    told = f": {relation.description}" if relation.description else ""
    words = f" [{', '.join(relation.keywords)}]" if relation.keywords else ""
    return f"{relation.source} -> {relation.target}{words} (weight {relation.weight}){told}"


def _row(entry: Curation) -> tuple[str, ...]:
    time = datetime.fromtimestamp(entry.at).astimezone().isoformat(" ", "seconds") if entry.at else ""
    given = ", ".join(f"{name}: {value}" for name, value in sorted(entry.payload.items()))
    undone_by = "" if entry.undone_by is None else str(entry.undone_by)
    return str(entry.number), time, entry.kind.replace("_", " "), ", ".join(entry.names), given, undone_by
