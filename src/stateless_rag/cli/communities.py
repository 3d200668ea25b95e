"""The command `communities`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from stateless_rag.cli.options import Exit
from stateless_rag.cli.output import counted, table
from stateless_rag.cli.running import Place, placed

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
    from stateless_rag.types import Community

__all__ = ["communities"]

_NAMES = 50


@placed(providers=False)
def communities(
    place: Place,
    name: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Show the members of this one; else list them.")
    ] = None,
    level: Annotated[int, typer.Option("--level", min=0, help="0 has the coarsest.")] = 0,
    resolution: Annotated[
        float, typer.Option("--resolution", min=0.001, max=1000, help="Higher for smaller ones.")
    ] = 1.0,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, largest first.")] = 20,
) -> None:
    """List entities that belong together: what the documents are about."""

    async def work(engine: Engine) -> list[Community]:
        if name is None:
            return await engine.communities(level=level, resolution=resolution, limit=limit)
        found = await engine.community(name, resolution=resolution)
        return [] if found is None else [found]

    def show(found: list[Community]) -> None:
        if name is None and found:
            rows = [
                (f"{one.size:,}", f"{one.chunks:,}", str(one.level), _one_line(", ".join(one.title)), one.id)
                for one in found
            ]
            place.output.out.print(table(">ENTITIES", ">CHUNKS", ">LEVEL", "ABOUT", "ID", rows=rows))
        for one in found if name is not None else ():
            _tell(place, one)

    def verdict(found: list[Community]) -> Exit:
        if not found:
            place.output.note("no communities" if name is None else f"no community {name!r}")
        return Exit.OK if found else Exit.NOTHING_FOUND

    place.run_looking(work, show, as_json=_as_json, verdict=verdict)


def _tell(place: Place, one: Community) -> None:
    place.output.text(f"{counted(one.size, 'entity')}, {counted(one.chunks, 'chunk')}, level {one.level}")
    if one.parent is not None:
        place.output.text(f"part of {one.parent}")
    if one.children:
        place.output.text(f"parts: {', '.join(one.children)}")
    place.output.text("")
    for member in one.members[:_NAMES]:
        place.output.text(_one_line(member))
    if one.size > _NAMES:
        place.output.note(f"and {one.size - _NAMES:,} more; --json has all of them")


def _as_json(found: list[Community]) -> Any:
    return {"communities": found}


def _one_line(text: str) -> str:
    return " ".join(text.split())
