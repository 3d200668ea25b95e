"""The command `clear-cache`: dropping what the LLM replied."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from stateless_rag.cli.output import counted
from stateless_rag.cli.running import Place, placed

__all__ = ["clear_cache"]


class Purpose(StrEnum):
    """What the LLM was asked for."""

    EXTRACT = "extract"
    GLEAN = "glean"
    SUMMARIZE = "summarize"
    KEYWORDS = "keywords"
    ANSWER = "answer"
    THEMES = "themes"


@placed(providers=False)
def clear_cache(
    place: Place,
    purpose: Annotated[
        list[Purpose] | None, typer.Option("--purpose", help="Only replies of this kind; may be repeated.")
    ] = None,
) -> None:
    """Drop the LLM's replies that are kept. What is in the workspace stays; what is asked again is paid again."""

    purposes = [each.value for each in purpose] if purpose else None
    place.run_looking(
        lambda engine: engine.clear_cache(purposes),
        lambda dropped: place.output.text(f"{counted(dropped, 'reply')} dropped."),
        as_json=lambda dropped: {"dropped": dropped},
    )
