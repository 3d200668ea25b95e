"""All commands together, and what becomes of errors."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from stateless_rag import __version__
from stateless_rag.cli.batch import batch_commands
from stateless_rag.cli.budgets import budget
from stateless_rag.cli.caches import clear_cache
from stateless_rag.cli.caring import backup, check, compact, copy, repair, restore
from stateless_rag.cli.communities import communities
from stateless_rag.cli.costs import costs, estimate
from stateless_rag.cli.curate import curate_commands
from stateless_rag.cli.documents import delete, status
from stateless_rag.cli.evaluate import evaluate
from stateless_rag.cli.explain import explain
from stateless_rag.cli.export import export_file, import_jsonl
from stateless_rag.cli.graph import graph_commands
from stateless_rag.cli.import_ import import_folder
from stateless_rag.cli.ingest import ingest, resume
from stateless_rag.cli.maintaining import disable, enable, reembed, upgrade
from stateless_rag.cli.options import Exit
from stateless_rag.cli.output import leave_pipes
from stateless_rag.cli.query import query
from stateless_rag.cli.resolve import resolve
from stateless_rag.cli.serve import serve
from stateless_rag.cli.settings import settings_commands
from stateless_rag.cli.workspaces import create_workspace, describe_workspace, drop_workspace, list_workspaces
from stateless_rag.errors import InvalidInput
from stateless_rag.settings import from_env

__all__ = ["build", "run"]

_HELP = """Documents in, answers with references out.

With OPENAI_API_KEY or OPENAI_BASE_URL set, an LLM extracts and answers; without, the built-in parts do.

Exit codes: 0 done; 1 error; 2 wrong usage: a command, an option, a name or a file that cannot be used; 3 some
documents or files failed; 4 nothing found; 130 interrupted; 141 nobody read the output to its end.
"""


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stateless-rag {__version__}")
        raise typer.Exit


def build() -> typer.Typer:
    """The command line as a typer application."""
    app = typer.Typer(
        name="stateless-rag",
        help=_HELP,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_options)
    for command in (ingest, query, explain, status, delete, resume):
        app.command()(command)
    app.command(context_settings={"allow_extra_args": True})(evaluate)
    for command in (reembed, upgrade, disable, enable):
        app.command()(command)
    for command in (estimate, costs, budget):
        app.command()(command)
    app.command()(serve)
    app.command()(resolve)
    app.command()(communities)
    for command in (check, repair, backup, restore, copy, compact):
        app.command()(command)
    app.command("import")(import_folder)
    app.command("export")(export_file)
    app.command("import-jsonl")(import_jsonl)
    app.command("clear-cache")(clear_cache)
    group = typer.Typer(help="List, describe, create and drop workspaces.", no_args_is_help=True)
    group.command("list")(list_workspaces)
    group.command("describe")(describe_workspace)
    group.command("create")(create_workspace)
    group.command("drop")(drop_workspace)
    app.add_typer(group, name="workspaces")
    app.add_typer(graph_commands(), name="graph")
    app.add_typer(curate_commands(), name="curate")
    app.add_typer(batch_commands(), name="batch")
    app.add_typer(settings_commands(), name="settings")
    return app


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command line; returns its exit code."""
    try:
        command = typer.main.get_command(build())
        command.main(args=list(arguments), prog_name="stateless-rag", obj=from_env(environ))
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # of the help or the version, which typer prints
            return _left()
        return ended.code if isinstance(ended.code, int) else 1
    except InvalidInput as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 -- before any command has its console
        return int(Exit.USAGE)
    except BrokenPipeError:  # of what typer says about wrong usage
        return _left()
    return 0


def _left() -> int:
    leave_pipes()
    return int(Exit.CLOSED_PIPE)
