"""Upgrading: the documents that somebody chose are extracted again, by the extractor there is now.

A document that is to be upgraded is submitted like an update to its own text: the old chunks answer until the new
ones are committed, and a crash leaves it pending. Chunks that this extractor has read are kept, and what a caller said
of chunks (a custom graph) stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stateless_rag.errors import InvalidInput
from stateless_rag.ingest.given import given_again, is_kept
from stateless_rag.protocols import Claim

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Sequence

    from stateless_rag.context import Context
    from stateless_rag.filters import MetadataFilter
    from stateless_rag.protocols import Basis, ChunkRow, DocumentRow, Workspace

__all__ = ["chosen_documents", "upgrades"]

_TOGETHER = 64  # documents whose texts are read in one go


async def chosen_documents(
    workspace: Workspace, ids: Collection[str] | None, where: MetadataFilter | None
) -> list[str]:
    """The documents of some ids, or those that meet a filter, or both. Raises InvalidInput for unknown ids."""
    if ids is None:
        statuses = list(await workspace.documents())
    else:
        found = await workspace.statuses(ids)
        if missing := sorted(set(ids) - found.keys()):
            raise InvalidInput(f"documents {missing[:10]} are not there; `documents` lists what is")
        statuses = list(found.values())
    return sorted(
        each.id for each in statuses if where is None or where.holds(each.metadata, each.id, each.source)
    )


async def upgrades(
    context: Context, workspace: Workspace, ids: Sequence[str], tracking_id: str
) -> AsyncGenerator[list[Claim]]:
    """Submissions for those of the documents that hold a chunk which another extractor has read, in groups."""
    for start in range(0, len(ids), _TOGETHER):
        group = ids[start : start + _TOGETHER]

        def outdated(basis: Basis, group: Sequence[str] = group) -> list[Claim]:
            return _outdated(context, basis, group, tracking_id)

        if claims := await workspace.read_basis(outdated):
            yield claims


def _outdated(context: Context, basis: Basis, ids: Sequence[str], tracking_id: str) -> list[Claim]:
    documents: dict[str, DocumentRow] = dict(basis.document_rows(ids))
    chunks: dict[str, list[ChunkRow]] = {}
    for row in basis.chunk_rows(ids):
        chunks.setdefault(row.chunk.document_id, []).append(row)
    for id_, disabled in basis.disabled_rows(ids).items():
        documents[id_], chunks[id_] = disabled.document, disabled.chunk_rows()
    claims = []
    for id_, document in sorted(documents.items()):
        claim = _claim(document, tracking_id)
        rows = chunks.get(id_, [])
        claim = given_again(claim, document, rows)
        if not all(is_kept(context, claim, row.chunk, row) for row in rows):
            claims.append(_claim(document, tracking_id))
    return claims


def _claim(document: DocumentRow, tracking_id: str) -> Claim:
    return Claim(
        sequence=0,
        document_id=document.id,
        source=document.source,
        metadata=document.metadata,
        text=document.text,
        tracking_id=tracking_id,
        upgrade=True,
    )
