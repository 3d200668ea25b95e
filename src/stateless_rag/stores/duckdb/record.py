"""What the catalog knows of a workspace, and the statements on it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stateless_rag.stores.duckdb.database import Database

__all__ = ["WorkspaceRecord", "schema_in", "workspace_statements"]


class WorkspaceRecord:
    """A row of the catalog."""

    def __init__(self, row: Sequence[Any]) -> None:
        self.name: str = row[0]
        self.schema: str = row[1]
        self.placement: str = row[2]
        self.revision: int = row[3]
        self.created_at: float = row[4]
        self.info: dict[str, Any] = json.loads(row[5])


def schema_in(database: Database, record: WorkspaceRecord) -> str:
    """The quoted name of a workspace's schema."""
    return f'{database.quoted}."{record.schema}"'


def workspace_statements(
    sql: Mapping[str, str], database: Database, record: WorkspaceRecord
) -> Mapping[str, str]:
    """The statements on a workspace."""
    schema = schema_in(database, record)
    return MappingProxyType({name: text.replace("{w}", schema) for name, text in sql.items()})
