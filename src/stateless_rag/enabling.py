"""Disabling documents without deleting them, and enabling them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stateless_rag.commit import Batch, commit
from stateless_rag.context import Meter
from stateless_rag.types import EnableReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stateless_rag.context import Context
    from stateless_rag.protocols import Workspace

__all__ = ["set_enabled"]


async def set_enabled(
    context: Context, workspace: Workspace, ids: Sequence[str], *, enabled: bool
) -> EnableReport:
    """Enable documents, or disable them, in one commit."""
    started = context.clock.monotonic()
    meter = Meter()
    batch = Batch(enabled=tuple(ids)) if enabled else Batch(disabled=tuple(ids))
    committed = await commit(context.derive(meter=meter, journal=workspace.journal), workspace, batch)
    done = set(committed.added_documents if enabled else committed.removed_documents)
    rest = [id_ for id_ in ids if id_ not in done]
    statuses = await workspace.statuses(rest) if rest else {}
    stood = {id_ for id_ in rest if id_ in statuses and statuses[id_].enabled is enabled}
    changed = tuple(id_ for id_ in ids if id_ in done)
    for id_ in changed:
        context.emit("enabled" if enabled else "disabled", document_id=id_)
    return EnableReport(
        enabled=enabled,
        changed=changed,
        unchanged=tuple(id_ for id_ in rest if id_ in stood),
        missing=tuple(id_ for id_ in rest if id_ not in stood),
        entities_removed=committed.entities_removed,
        entities_changed=committed.entities_changed,
        relations_removed=committed.relations_removed,
        relations_changed=committed.relations_changed,
        usage=meter.totals(),
        seconds=context.clock.monotonic() - started,
        revision=committed.revision,
    )
