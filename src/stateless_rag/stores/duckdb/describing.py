"""What a workspace holds, for whoever lists workspaces."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from stateless_rag.stores.duckdb.migrations import FORMAT_VERSION
from stateless_rag.types import Status, WorkspaceInfo

if TYPE_CHECKING:
    from stateless_rag.stores.duckdb.connection import Connection
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace

__all__ = ["describe"]


def describe(workspace: DuckWorkspace, connection: Connection, own_file: Path, faiss: Path) -> WorkspaceInfo:
    """Count what is there. Blocks."""
    record = workspace.record
    counts = workspace.select("counts") or [(0, 0, 0, 0)]
    documents, chunks, entities, relations = counts[0]
    # The newest submission of a document decides where it stands, also if an older version of it still answers.
    newest = {row[1]: row for row in workspace.select("pending_list")}
    if newest:
        documents -= workspace.select("count_documents", list(newest))[0][0]
    disabled = workspace.view.disabled
    documents += len(disabled - newest.keys())
    stages = Counter(
        workspace.stage(row[0]) or (Status.FAILED if row[6] else Status.PENDING) for row in newest.values()
    )
    files = sum(path.stat().st_size for path in faiss.glob("*"))
    if record.placement == "own":
        files += sum(path.stat().st_size for path in own_file.parent.glob(f"{own_file.name}*"))
    else:
        files += _stored(workspace, connection)
    return WorkspaceInfo(
        name=record.name,
        placement="own" if record.placement == "own" else "root",
        revision=workspace.revision,
        documents=MappingProxyType(
            {status: stages[status] + documents * (status is Status.PROCESSED) for status in Status}
        ),
        chunks=chunks,
        entities=entities,
        relations=relations,
        generations=MappingProxyType(dict(workspace.select("generations"))),
        embedder=record.info.get("embedder"),
        dimension=record.info.get("dimension"),
        tokenizer=record.info.get("tokenizer"),
        key_policy=record.info.get("key_policy", "casefold"),
        format_version=FORMAT_VERSION,
        bytes=files,
        created_at=record.created_at,
        disabled=len(disabled),
        reembedding=(record.info.get("reembedding") or {}).get("embedder"),
    )


def _stored(workspace: DuckWorkspace, connection: Connection) -> int:
    """Bytes in the root's file, which all of its workspaces share."""
    with connection.reading() as cursor:
        tables = cursor.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_catalog = ? AND table_schema = ?",
            [workspace.database.alias, workspace.record.schema],
        ).fetchall()
        blocks = 0
        for (table,) in tables:
            statement = workspace.sql["blocks"].format(table=f"{workspace.schema}.{table}")
            blocks += cursor.execute(statement).fetchall()[0][0]
    # What was written since the last checkpoint lies in the log, which all workspaces of the file share.
    stored = int((workspace.select("size") or [(0,)])[0][0])
    vectors = int(workspace.select("count_vectors")[0][0]) if workspace.dimension else 0
    return max(int(blocks) * 16384, stored + vectors * 4 * (workspace.dimension or 0))
