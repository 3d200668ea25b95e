"""Workspace names, and what they are called in the database and on disk."""

from __future__ import annotations

import re

from stateless_rag.checks import shown
from stateless_rag.errors import InvalidWorkspaceName
from stateless_rag.text import digest

__all__ = ["check_name", "schema_name"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])\Z", re.IGNORECASE)


def check_name(name: object) -> str:
    """The name itself, if it is within the rule. Raises InvalidWorkspaceName; a name is never repaired."""
    if not isinstance(name, str) or not _NAME.match(name):
        raise InvalidWorkspaceName(
            f"workspace name {shown(name)} is refused: use 1 to 64 letters, digits, '_' or '-' (ASCII)"
        )
    if _DEVICE.match(name):
        raise InvalidWorkspaceName(f"workspace name {name!r} is refused: it is a device name on some systems")
    return name


def schema_name(name: str) -> str:
    """The schema of a workspace: follows from the name, and differs where databases would not (case, `main`).

    >>> schema_name("ERP") == schema_name("erp")
    False
    """
    return f"w_{digest('workspace', name)[:16]}"
