"""Changes to a workspace other than taking documents in: deleting some, and letting a name stand for another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from stateless_rag.checks import shown, text
from stateless_rag.commit import Batch, commit
from stateless_rag.context import Meter
from stateless_rag.errors import InvalidInput
from stateless_rag.text import entity_key
from stateless_rag.types import DeleteReport

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.protocols import Workspace

__all__ = ["aliases_of", "delete_documents", "set_alias"]


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


async def set_alias(context: Context, workspace: Workspace, name: str, target: str | None) -> int:
    """Commit an alias, or with None take it back; returns the revision, the old one if nothing changes.

    Raises InvalidInput for names that are none, and for aliases that would lead in a circle.
    """
    policy = context.settings.merging.key_policy
    key = entity_key(text("name", name), policy)
    other = None if target is None else entity_key(text("target", target), policy)
    if not key or other == "":
        raise InvalidInput(f"name is {shown(name)}, target {shown(target)}; both must name an entity")
    if other == (await aliases_of(workspace)).get(key):
        return workspace.revision
    changing = context.derive(meter=Meter(), journal=workspace.journal)
    return (await commit(changing, workspace, Batch(aliases={key: other}))).revision


async def aliases_of(workspace: Workspace) -> Mapping[str, str]:
    """The aliases: keys and the keys they stand for."""
    return await workspace.read_basis(lambda basis: MappingProxyType(dict(basis.aliases())))
