"""The commands `settings show`, `set` and `unset`: what is kept with a workspace of how to work on it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stateless_rag.cli.output import jsonable, table
from stateless_rag.cli.running import Place, placed
from stateless_rag.errors import InvalidInput
from stateless_rag.workspace_settings import ROLES, WorkspaceSettings

if TYPE_CHECKING:
    from stateless_rag.engine import Engine

__all__ = ["settings_commands"]

Names = Annotated[
    list[str], typer.Argument(metavar="NAME...", help="Such as extraction.language, or a whole group.")
]
Values = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME=VALUE...",
        help="Lists as a, b, c or as JSON; for a prompt, @FILE is the text of a file.",
    ),
]


def settings_commands() -> typer.Typer:
    """The group of commands."""
    group = typer.Typer(
        help="Show and change what is kept with a workspace: language, entity types, chunking, prompts, models.",
        no_args_is_help=True,
    )
    for name, command in (("show", _show), ("set", _set), ("unset", _unset)):
        group.command(name)(command)
    return group


@placed()
def _show(place: Place) -> None:
    """Show the settings of the workspace, and which of them are not the default."""
    place.run_on_engine(lambda engine: engine.settings(), lambda found: _print(place, found))


@placed()
def _set(place: Place, values: Values) -> None:
    """Change settings of the workspace, all or none: `settings set extraction.language=German`."""
    changes = _changes([_parsed(value) for value in values])
    _configure(place, changes)


@placed()
def _unset(place: Place, names: Names) -> None:
    """Go back to the default: of one setting, or of a whole group of them."""
    _configure(place, _changes([(*_split(name, whole=True), None) for name in names]))


def _configure(place: Place, changes: dict[str, dict[str, Any] | None]) -> None:
    async def work(engine: Engine) -> WorkspaceSettings:
        return await engine.configure(**changes)

    place.run_on_engine(work, lambda found: _print(place, found))


# ---- reading what is given -----------------------------------------------------------------------------


def _changes(given: Sequence[tuple[str, str | None, Any]]) -> dict[str, dict[str, Any] | None]:
    changes: dict[str, dict[str, Any] | None] = {}
    for group, name, value in given:
        if name is None:
            changes[group] = None
        elif (part := changes.setdefault(group, {})) is not None:
            part[name] = value
    return changes


def _parsed(given: str) -> tuple[str, str, Any]:
    left, equals, value = given.partition("=")
    if not equals:
        raise InvalidInput(
            f"{given!r} sets nothing; write it as NAME=VALUE, such as extraction.language=German"
        )
    group, name = _split(left.strip())
    if group == "prompts" and value.startswith("@"):
        return group, name or "", _text_of(Path(value[1:]))
    # A name that there is not is refused with the value as it stands, when it is set.
    default = "" if group == "models" else getattr(getattr(WorkspaceSettings(), group), name or "", "")
    return group, name or "", _value(left, value, default)


def _split(given: str, *, whole: bool = False) -> tuple[str, str | None]:
    group, dot, name = given.partition(".")
    groups = [each.name for each in fields(WorkspaceSettings)]
    if group not in groups or not (name if dot else whole):
        raise InvalidInput(
            f"{given!r} is no setting; write it as one of {', '.join(groups)}, a dot and a name, such as "
            "chunking.max_tokens"
        )
    return group, name if dot else None


def _text_of(path: Path) -> str:
    try:
        return path.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read {str(path)!r} as UTF-8 text: {error}") from error


def _value(name: str, given: str, default: Any) -> Any:
    """What is written on the command line as a value of the kind that the default is; what it is not is told later."""
    if isinstance(default, str):
        return given
    if isinstance(default, tuple) and not given.lstrip().startswith("["):
        return tuple(part.strip() for part in given.split(",") if part.strip())
    try:
        return json.loads(given)
    except ValueError as error:
        raise InvalidInput(f"{name} is {given!r}; it must be a number, true, false, or JSON") from error


# ---- telling -------------------------------------------------------------------------------------------


def _print(place: Place, found: WorkspaceSettings) -> None:
    place.output.out.print(table("SETTING", "VALUE", "", rows=_rows(found)))


def _rows(found: WorkspaceSettings) -> list[tuple[str, str, str]]:
    default = WorkspaceSettings()
    rows = []
    for group in ("chunking", "extraction", "merging", "prompts"):
        here, there = getattr(found, group), getattr(default, group)
        for each in fields(here):
            value, usual = getattr(here, each.name), getattr(there, each.name)
            if each.name != "function" and (group != "prompts" or value != usual):
                rows.append((f"{group}.{each.name}", _shown(value), "" if value == usual else "set"))
    return rows + [(f"models.{role}", found.models[role], "set") for role in ROLES if role in found.models]


def _shown(value: Any) -> str:
    told = value if isinstance(value, str) else json.dumps(jsonable(value), ensure_ascii=False)
    told = told.replace("\n", "\\n")
    return told if len(told) <= 100 else f"{told[:99]}…"
