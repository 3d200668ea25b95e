"""What exporting a workspace to a file, and bringing such a file in, came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stateless_rag.types.documents import Status
from stateless_rag.types.reports import DocumentReport, UsageByPurpose

__all__ = ["ExportFormat", "ExportKind", "ExportReport", "ExportRow", "JsonlReport"]

ExportFormat = Literal["graphml", "jsonl", "csv", "parquet", "markdown"]
ExportKind = Literal["entities", "relations", "documents", "chunks", "curations"]
ExportRow = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What was written: rows by kind, and the size of the file in bytes.

    `revision` is the one that the export began with. If commits came while it ran, `moved_on` is true: then each
    row is as it was when it was read, entities and relations that are new since are missing, and every relation
    still has both of its entities. `unfinished` counts documents that wait or have failed; what is not committed
    of them is not in the file.
    """

    path: Path
    format: ExportFormat
    counts: Mapping[str, int]
    bytes: int
    revision: int
    moved_on: bool
    unfinished: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonlReport:
    """What was brought in from a JSON Lines file.

    `documents` counts by status, `unchanged` are those that were there already, `failed` tells of those that could
    not be committed. `curations` were added to the log, `present` ones were in it. `summaries` are descriptions
    that an LLM had written, and that were taken over. `vectors` of the file were used, 0 if they are another
    embedder's. `revision` is the last commit's.
    """

    path: Path
    tracking_id: str
    documents: Mapping[Status, int]
    unchanged: int
    failed: tuple[DocumentReport, ...]
    curations: int
    present: int
    summaries: int
    vectors: int
    usage: UsageByPurpose
    seconds: float
    revision: int
