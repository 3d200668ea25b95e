"""Loads the named statements of a .sql file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType

__all__ = ["load_statements"]

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load_statements(file: str) -> Mapping[str, str]:
    """The statements of `sql/<file>`, by the name in the comment line above each."""
    text = (resources.files(__package__) / "sql" / file).read_text(encoding="utf-8")
    parts = _NAME.split(text)
    return MappingProxyType(dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True)))
