"""The engine writes what is there into files, and brings it in again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

from stateless_rag.checks import identifier, optional
from stateless_rag.context import Meter
from stateless_rag.engine.core import Core
from stateless_rag.ingest import new_tracking_id
from stateless_rag.limits import Priority

if TYPE_CHECKING:
    from stateless_rag.types import ExportFormat, ExportKind, ExportReport, ExportRow, JsonlReport

__all__ = ["Moving"]


class Moving(Core):
    """Files out, and files in."""

    async def export(
        self,
        path: str | Path,
        format: ExportFormat | None = None,  # noqa: A002
        *,
        include: Collection[ExportKind] | ExportKind | None = None,
        vectors: bool = False,
        communities: bool = False,
    ) -> ExportReport:
        """Write the graph into a file, as GraphML, CSV, Parquet or Markdown, or all there is, as JSON Lines.

        The format follows from the suffix (.graphml, .csv, .parquet, .md, .jsonl), unless it is given. `include`
        chooses among entities, relations, documents and chunks; GraphML and Markdown have the first two only.
        `vectors` go into JSON Lines, CSV and Parquet; with `communities` each node of GraphML names the smallest
        community that it is in. Rows are read page by page, so memory is bounded, and nobody
        has to wait; what other commits mean for the file, `ExportReport` tells. The file is there as a whole at
        the end, in place of an older one, or, after an error or a cancel, not at all. Raises InvalidInput for a
        path or a format that cannot be used, OSError if the disk is full.
        """
        from stateless_rag.exporting.export import export

        self._check()
        return await export(self._context, self._workspace, path, format, include, vectors, communities)

    async def export_rows(
        self, *, include: Collection[ExportKind] | ExportKind | None = None, vectors: bool = False
    ) -> AsyncGenerator[ExportRow]:
        """What a JSON Lines file would hold, row by row, as `stateless_rag.exporting.rows` tells; vectors as arrays.

        Nothing is held open in the store between two rows, however long the caller takes.
        """
        from stateless_rag.exporting.export import exported_rows

        self._check()
        async with aclosing(exported_rows(self._context, self._workspace, include, vectors)) as rows:
            async for row in rows:
                yield row

    async def import_jsonl(self, path: str | Path, *, tracking_id: str | None = None) -> JsonlReport:
        """Bring in a file that `export` has written as JSON Lines: documents, what their chunks say, changes by hand.

        In a new workspace this makes the same graph; into one that holds something it is an insert of the same
        documents: those whose id is there are updated. No LLM is called, and nothing is embedded whose vector is
        in the file and of the same embedder. The file is read through first: if a line is damaged or the end is
        missing, InvalidInput names the line, and nothing was changed. An import that was interrupted is completed
        by repeating it. Raises WorkspaceMismatch for a file of another key policy, ProviderError if the embedder
        fails.
        """
        from stateless_rag.exporting.bring import bring_in

        self._check()
        given = optional("tracking_id", tracking_id, identifier)
        context = self._context.derive(
            meter=Meter(), journal=self._workspace.journal, priority=Priority.INGEST
        )
        return await bring_in(context, self._workspace, path, given or new_tracking_id())
