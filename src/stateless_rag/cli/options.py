"""What all commands share: options, exit codes, and one place that runs a command."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from enum import IntEnum
from typing import Annotated, Any

import typer

from stateless_rag.cli.interrupts import raising
from stateless_rag.cli.output import Output, leave_pipes
from stateless_rag.errors import InvalidInput, StatelessRagError, StoreLocked
from stateless_rag.settings import Configuration

__all__ = [
    "AsJson",
    "Exit",
    "Key",
    "Offline",
    "Root",
    "Server",
    "Workspace",
    "configuration",
    "execute",
]


class Exit(IntEnum):
    """The exit codes."""

    OK = 0
    ERROR = 1
    USAGE = 2
    SOME_FAILED = 3
    NOTHING_FOUND = 4
    INTERRUPTED = 130
    CLOSED_PIPE = 141  # 128 + SIGPIPE, as shells tell of programs that end by it


Root = Annotated[
    str | None,
    typer.Option("--root", help="Folder of the store [STATELESS_RAG_ROOT, else stateless-rag-data]."),
]
Workspace = Annotated[
    str | None, typer.Option("--workspace", "-w", help="Workspace [STATELESS_RAG_WORKSPACE, else default].")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else.")]
Server = Annotated[
    str | None,
    typer.Option(
        "--server", metavar="URL", help="Work on a server that runs, not in a folder [STATELESS_RAG_SERVER]."
    ),
]
Key = Annotated[
    str | None, typer.Option("--key", help="The server's key; better in the environment [STATELESS_RAG_KEY].")
]
Offline = Annotated[bool, typer.Option("--offline", help="Use no LLM and no server, even with a key set.")]


def configuration(
    context: typer.Context,
    root: str | None,
    workspace: str | None = None,
    *,
    offline: bool = False,
    server: str | None = None,
    key: str | None = None,
) -> Configuration:
    """The configuration from the environment, with what the options say instead. Raises InvalidInput.

    A folder that is named wins over a server of the environment.
    """
    found: Configuration = context.obj
    if server is not None and root is not None:
        raise InvalidInput("--server and --root do not go together: a server has a root of its own")
    if root is not None:
        found = replace(found, root=root, server=None)
    if server is not None:
        found = replace(found, server=server)
    if key is not None:
        found = replace(found, server_key=key)
    if offline and found.server is not None:
        raise InvalidInput("--offline is for a folder; a server has providers of its own")
    if workspace is not None:
        found = replace(found, workspace=workspace)
    return replace(found, api_key=None, base_url=None) if offline else found


def execute(
    output: Output,
    command: Callable[[], Coroutine[Any, Any, Exit]],
    *,
    interrupted: str = "Interrupted; nothing was left half done.",
) -> None:
    """Run a command to its end and exit with its code; errors become a line that says what to do."""
    try:
        with raising():
            code = asyncio.run(command())
    except InvalidInput as error:
        output.error(str(error))
        code = Exit.USAGE
    except StoreLocked as error:
        output.error(f"{error}; if that is `stateless-rag serve`, say --server and its address")
        code = Exit.ERROR
    except StatelessRagError as error:
        output.error(str(error))
        code = Exit.ERROR
    except BrokenPipeError:
        leave_pipes()
        code = Exit.CLOSED_PIPE
    except OSError as error:
        output.error(f"{error}; check that the folder exists, can be written to, and has room")
        code = Exit.ERROR
    except KeyboardInterrupt:
        output.error(interrupted, label="")
        code = Exit.INTERRUPTED
    raise typer.Exit(int(code))
