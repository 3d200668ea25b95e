"""Coming from other engines: what their folders hold, brought into a workspace."""

from __future__ import annotations

from stateless_rag.interop.folders import find_workspaces
from stateless_rag.interop.import_ import ImportReport, import_lightrag
from stateless_rag.interop.problems import Problem

__all__ = ["ImportReport", "Problem", "find_workspaces", "import_lightrag"]
