"""What a command prints: results on stdout, for people or as JSON; everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["Output", "counted", "jsonable", "leave_pipes", "short_source", "size", "table"]


class Output:
    """Stdout and stderr of one command."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        terminal = sys.stdout.isatty()
        # Piped text is for other programs and for files: lines are not to be broken at 80 columns.
        self.out = _Pipe(
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=not terminal,
            width=None if terminal else 160,
        )
        self.err = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def json(self, value: Any) -> None:
        """Print one JSON document, on one line."""
        sys.stdout.write(json.dumps(jsonable(value), ensure_ascii=False) + "\n")
        sys.stdout.flush()

    def text(self, text: str = "", *, end: str = "\n") -> None:
        """Print text for people."""
        self.out.print(text, end=end, soft_wrap=True)

    def piece(self, text: str) -> None:
        """Print a piece of a stream at once, as it is."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Tell the user something that is not the result."""
        self.err.print(text)

    def error(self, text: str, *, label: str = "error: ") -> None:
        """Say what went wrong and what to do."""
        self.err.print(f"{label}{text}", style="red")


class _Pipe(Console):
    """A console that leaves it to the command what a reader's going means."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def leave_pipes() -> None:
    """The reader of what is printed is gone: keep the interpreter from flushing into the broken pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def jsonable(value: Any) -> Any:
    """A value of this library as JSON has it: dataclasses and mappings as objects, collections as arrays."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: jsonable(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Collection):
        return [jsonable(item) for item in value]
    return value


def table(*columns: str, rows: Collection[tuple[str, ...]]) -> Table:
    """A plain table; columns whose name begins with ">" are right-aligned."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(
            column.removeprefix(">"), justify="right" if column.startswith(">") else "left", overflow="fold"
        )
    for row in rows:
        made.add_row(*row)
    return made


def short_source(source: str | None) -> str:
    """A source as people read it: a path below the working directory is shown from there."""
    if source is None:
        return "–"
    here = os.path.join(os.getcwd(), "")  # noqa: PTH109, PTH118 -- strings, as sources are
    return source.removeprefix(here)


def counted(count: int, noun: str) -> str:
    """A count with its noun, in the plural where it must be.

    >>> counted(1, "call"), counted(1200, "call"), counted(2, "entity")
    ('1 call', '1,200 calls', '2 entities')
    """
    if count != 1:
        noun = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {noun}"


def size(count: int) -> str:
    """A number of bytes as people read it."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
