"""The command `resolve`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from stateless_rag.cli.output import counted, table
from stateless_rag.cli.running import Place, placed
from stateless_rag.errors import InvalidInput
from stateless_rag.types import Duplicate

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
    from stateless_rag.types import Curated

__all__ = ["resolve"]


@placed()
def resolve(
    place: Place,
    least: Annotated[float, typer.Option("--least", min=0, max=1, help="The least score.")] = 0.75,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 1000,
    ask_llm: Annotated[bool, typer.Option("--ask-llm", help="Let the LLM judge what is not sure.")] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Merge all that is proposed; `curate undo` takes one back.")
    ] = False,
    reject: Annotated[
        tuple[str, str],
        typer.Option("--reject", metavar="NAME NAME", help="Two entities that are not to be proposed again."),
    ] = ("", ""),
) -> None:
    """Propose entities that may be one, surest first; with --apply merge them."""

    async def work(engine: Engine) -> tuple[list[Duplicate], list[Curated]]:
        if any(reject):
            if apply:
                raise InvalidInput("--apply and --reject do not go together; give one of them")
            different = Duplicate(source=reject[0], target=reject[1], score=0.0, reasons=())
            return [], [await engine.reject_duplicate(different)]
        found = await engine.propose_duplicates(least=least, limit=limit, ask_llm=ask_llm)
        return found, await _applied(engine, found) if apply else []

    def show(found: tuple[list[Duplicate], list[Curated]]) -> None:
        proposed, made = found
        if proposed:
            rows = [(f"{one.score:.2f}", one.source, one.target, "; ".join(one.reasons)) for one in proposed]
            place.output.out.print(table(">SCORE", "NAME", "ENTITY", "WHY", rows=rows))
        elif not made:
            place.output.text("No entities look like one.")
        if made:
            numbers = ", ".join(str(one.number) for one in made)
            place.output.text(f"{counted(len(made), 'change')} made ({numbers}).")

    place.run_on_engine(work, show, as_json=lambda found: {"proposed": found[0], "changes": found[1]})


async def _applied(engine: Engine, found: Sequence[Duplicate]) -> list[Curated]:
    """Merge pair after pair, but for those that earlier ones have made one."""
    made = []
    for one in found:
        source, target = await engine.entity(one.source), await engine.entity(one.target)
        if source is not None and target is not None and source.key != target.key:
            made.append(await engine.apply_duplicate(one))
    return made
