"""Listings: what became of each document, from what is committed and what is pending."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from stateless_rag.types import ChunkError, DocumentStatus, Status

__all__ = ["document_list"]


def document_list(
    committed: Iterable[tuple[Any, ...]],
    pending: Iterable[tuple[Any, ...]],
    stage: Callable[[int], Status | None],
) -> list[DocumentStatus]:
    """One status for each document. A newer version that is pending or has failed decides the status of a
    document whose older version still answers (`stale` if it failed).
    """
    found = {row[0]: _committed(row) for row in committed}
    for row in pending:
        status = _pending(row, stage=stage(row[0]))
        old = found.get(status.id)
        if old is not None and old.status is Status.PROCESSED:
            status = replace(
                status,
                chunks=old.chunks,
                stale=status.status is Status.FAILED,
                truncated=old.truncated,
                enabled=old.enabled,
            )
        found[status.id] = status
    return [found[id_] for id_ in sorted(found)]


def _committed(row: tuple[Any, ...]) -> DocumentStatus:
    return DocumentStatus(
        id=row[0],
        source=row[1],
        status=Status.PROCESSED,
        metadata=json.loads(row[2]),
        characters=row[3],
        chunks=row[4],
        tracking_id=row[5],
        updated_at=row[6],
        truncated=tuple(row[7] or ()),
        enabled=row[8],
    )


def _pending(row: tuple[Any, ...], *, stage: Status | None) -> DocumentStatus:
    sequence_errors = json.loads(row[7])
    attempts = row[6]
    status = stage or (Status.FAILED if attempts else Status.PENDING)
    general = [error["error"] for error in sequence_errors if "chunk_id" not in error]
    errors = tuple(
        ChunkError(
            chunk_id=error["chunk_id"],
            ordinal=error["ordinal"],
            error=error["error"],
            attempts=error["attempts"],
        )
        for error in sequence_errors
        if "chunk_id" in error
    )
    return DocumentStatus(
        id=row[1],
        source=row[2],
        status=status,
        metadata=json.loads(row[3]),
        characters=row[4],
        chunks=0,
        tracking_id=row[5],
        attempts=attempts,
        updated_at=row[8],
        error=general[0] if general else f"{len(errors)} chunks failed" if errors else None,
        errors=errors,
    )
