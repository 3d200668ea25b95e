"""Which workspaces are in memory, and how many use each."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace

__all__ = ["Residents"]


class Residents:
    """Counts uses, by name. Every method is one step that other threads see whole or not at all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workspaces: dict[str, DuckWorkspace] = {}
        self._uses: dict[str, int] = {}

    def add(self, workspace: DuckWorkspace) -> None:
        """Enter a workspace with its first use."""
        with self._lock:
            self._workspaces[workspace.name] = workspace
            self._uses[workspace.name] = 1

    def take(self, name: str) -> DuckWorkspace | None:
        """Count one more use of the workspace, if it is here."""
        with self._lock:
            workspace = self._workspaces.get(name)
            if workspace is not None:
                self._uses[name] += 1
            return workspace

    def take_again(self, workspace: DuckWorkspace) -> bool:
        """Count one more use of this very workspace; tells whether it is here still."""
        with self._lock:
            here = self._workspaces.get(workspace.name) is workspace
            if here:
                self._uses[workspace.name] += 1
            return here

    def give_back(self, workspace: DuckWorkspace) -> bool:
        """Take one use off; tells whether it was the last."""
        with self._lock:
            if self._workspaces.get(workspace.name) is not workspace:
                return False
            self._uses[workspace.name] -= 1
            return not self._uses[workspace.name]

    def remove_unused(self, workspace: DuckWorkspace) -> bool:
        """Remove this very workspace, unless it is used again; tells whether it was removed."""
        with self._lock:
            here = self._workspaces.get(workspace.name) is workspace
            if not here or self._uses[workspace.name]:
                return False
            del self._workspaces[workspace.name], self._uses[workspace.name]
            return True

    def remove(self, workspace: DuckWorkspace) -> None:
        """Remove this very workspace, whoever uses it."""
        with self._lock:
            if self._workspaces.get(workspace.name) is workspace:
                del self._workspaces[workspace.name], self._uses[workspace.name]

    def get(self, name: str) -> DuckWorkspace | None:
        """The workspace, if it is here; counts no use."""
        return self._workspaces.get(name)

    def all(self) -> list[DuckWorkspace]:
        """All that are here."""
        with self._lock:
            return list(self._workspaces.values())
