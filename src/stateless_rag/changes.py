"""Deleting documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stateless_rag.commit import Batch, commit
from stateless_rag.context import Meter
from stateless_rag.types import DeleteReport

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.protocols import Workspace

__all__ = ["delete_documents"]


async def delete_documents(context: Context, workspace: Workspace, ids: Sequence[str]) -> DeleteReport:
    """Delete documents, and withdraw what is pending of them, in one commit."""
    started = context.clock.monotonic()
    meter = Meter()
    # What is withdrawn first cannot be committed by who works on it; what was committed before is removed.
    waiting = workspace.waiting(ids)
    await workspace.withdraw([n for sequences in waiting.values() for n in sequences])
    committed = await commit(
        context.derive(meter=meter, journal=workspace.journal), workspace, Batch(removed=tuple(ids))
    )
    found = {*committed.removed_documents, *waiting}
    deleted = tuple(id_ for id_ in ids if id_ in found)
    for id_ in deleted:
        context.emit("deleted", document_id=id_)
    return DeleteReport(
        deleted=deleted,
        missing=tuple(id_ for id_ in ids if id_ not in found),
        entities_removed=committed.entities_removed,
        entities_changed=committed.entities_changed,
        relations_removed=committed.relations_removed,
        relations_changed=committed.relations_changed,
        usage=meter.totals(),
        seconds=context.clock.monotonic() - started,
        revision=committed.revision,
    )
