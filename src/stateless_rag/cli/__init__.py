"""The command line. Here, and only here, the environment is read."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line with this process's arguments and environment."""
    import os
    import sys

    from stateless_rag.cli.interrupts import leaving_at_once

    leaving_at_once()

    from stateless_rag.cli.app import run

    sys.exit(run(sys.argv[1:], os.environ))
