"""A workspace to a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, cast, get_args

from stateless_rag.checks import choice, flag, shown, texts
from stateless_rag.checks import path as checked_path
from stateless_rag.errors import InvalidInput
from stateless_rag.exporting.files import Writer, in_thread, new_file
from stateless_rag.exporting.pages import Order, pages
from stateless_rag.exporting.rows import KIND_OF
from stateless_rag.types import ExportFormat, ExportKind, ExportReport, Status

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace
    from stateless_rag.types import ExportRow

__all__ = ["FORMAT", "checked_kinds", "export", "exported_rows", "format_of"]

FORMAT = "stateless-rag/1"
"""The first line of a JSON Lines file names its format."""

_SUFFIXES: Mapping[str, ExportFormat] = MappingProxyType(
    {
        ".graphml": "graphml",
        ".jsonl": "jsonl",
        ".ndjson": "jsonl",
        ".csv": "csv",
        ".parquet": "parquet",
        ".md": "markdown",
    }
)
_TABLES: tuple[ExportKind, ...] = ("entities", "relations", "documents", "chunks")
_GRAPH: tuple[ExportKind, ...] = ("entities", "relations")
_WITH_VECTORS = frozenset({"jsonl", "csv", "parquet"})


def format_of(path: Path, given: str | None) -> ExportFormat:
    """The format that is given, else that of the path's suffix. Raises InvalidInput for others."""
    formats: tuple[ExportFormat, ...] = get_args(ExportFormat)
    if given is not None:
        return cast("ExportFormat", choice("format", given, among=formats))
    found = _SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise InvalidInput(
            f"path is {str(path)!r}, whose suffix names no format; give one that does "
            f"({', '.join(_SUFFIXES)}), or format={'|'.join(formats)}"
        )
    return found


def checked_kinds(format_: ExportFormat, include: Any) -> tuple[ExportKind, ...]:
    """The kinds of rows that are wanted, by default all that belong into the format."""
    possible: dict[ExportFormat, tuple[ExportKind, ...]] = {
        "jsonl": tuple(KIND_OF),
        "csv": _TABLES,
        "parquet": _TABLES,
    }
    allowed = possible.get(format_, _GRAPH)
    if include is None:
        return tuple(KIND_OF) if format_ == "jsonl" else _GRAPH
    chosen = texts("include", [include] if isinstance(include, str) else include)
    if not chosen or set(chosen).difference(allowed):
        raise InvalidInput(f"include is {shown(include)}; {format_} takes some of {', '.join(allowed)}")
    if "documents" not in chosen and "chunks" in chosen and format_ == "jsonl":
        raise InvalidInput("include has chunks, but not the documents they are of; include both")
    return tuple(kind for kind in KIND_OF if kind in chosen)


async def exported_rows(
    context: Context, workspace: DuckWorkspace, include: Any, vectors: Any
) -> AsyncGenerator[ExportRow]:
    """The rows of a JSON Lines file, one by one, but for the first and the last line."""
    kinds = checked_kinds("jsonl", include)
    flag("vectors", vectors)
    documents, _ = await _documents(workspace, kinds)
    order = Order(kinds, vectors, full=True)
    async with aclosing(pages(context, workspace, documents, order)) as found:
        async for page in found:
            for row in page:
                yield row


async def export(
    context: Context,
    workspace: DuckWorkspace,
    path: Any,
    format_: Any,
    include: Any,
    vectors: Any,
    communities: Any = False,
) -> ExportReport:
    """Write a file in one of the formats; it is there as a whole at the end, or not at all."""
    target = checked_path("path", path).absolute()
    chosen = format_of(target, format_)
    kinds = checked_kinds(chosen, include)
    if flag("vectors", vectors) and chosen not in _WITH_VECTORS:
        raise InvalidInput(
            f"vectors is True, but {chosen} has no place for them; {', '.join(sorted(_WITH_VECTORS))} have"
        )
    if flag("communities", communities) and chosen != "graphml":
        raise InvalidInput(f"communities is True, but {chosen} has no place for them; graphml has")
    started, revision = context.clock.monotonic(), workspace.revision
    counts: Counter[str] = Counter()
    documents, unfinished = await _documents(workspace, kinds)
    grouped = context.settings.communities if communities else None
    order = Order(kinds, vectors, full=chosen == "jsonl", communities=grouped)
    async with new_file(target) as file, aclosing(pages(context, workspace, documents, order)) as found:
        writer = await in_thread(partial(_writer, file, chosen, order, workspace, revision))
        try:
            async for page in found:
                await in_thread(partial(writer.write, page))
                counts.update(row["kind"] for row in page)
            moved_on = workspace.revision != revision
            await in_thread(partial(writer.finish, {"revision": revision, "moved_on": moved_on}))
            size = await in_thread(file.tell)
        except BaseException:
            writer.abandon()
            raise
    return ExportReport(
        path=target,
        format=chosen,
        counts=MappingProxyType({kind: counts[KIND_OF[kind]] for kind in kinds}),
        bytes=size,
        revision=revision,
        moved_on=moved_on,
        unfinished=unfinished,
        seconds=context.clock.monotonic() - started,
    )


async def _documents(
    workspace: DuckWorkspace, kinds: Collection[ExportKind]
) -> tuple[Mapping[str, int], int]:
    """The documents that there are, with their lengths, and how many of them are not done."""
    statuses = await workspace.documents()
    unfinished = sum(status.status is not Status.PROCESSED for status in statuses)
    if not {"documents", "chunks"}.intersection(kinds):
        return {}, unfinished
    return {status.id: status.characters for status in statuses}, unfinished


def _writer(
    file: IO[bytes], format_: ExportFormat, order: Order, workspace: DuckWorkspace, revision: int
) -> Writer:
    from stateless_rag.exporting import graphml, jsonl, markdown, tables

    if format_ == "graphml":
        return graphml.GraphmlWriter(file, workspace.name, communities=order.communities is not None)
    if format_ == "markdown":
        return markdown.MarkdownWriter(file, workspace.name)
    if format_ == "jsonl":
        return jsonl.JsonLinesWriter(file, _head(order, workspace, revision))
    columns = tables.columns_of(order.kinds, vectors=order.vectors)
    return tables.CsvWriter(file, columns) if format_ == "csv" else tables.ParquetWriter(file, columns)


def _head(order: Order, workspace: DuckWorkspace, revision: int) -> ExportRow:
    made_with = workspace.record.info
    return {
        "kind": "workspace",
        "format": FORMAT,
        "name": workspace.name,
        "revision": revision,
        "holds": list(order.kinds),
        "embedder": made_with.get("embedder"),
        "dimension": workspace.dimension,
        "tokenizer": made_with.get("tokenizer"),
        "key_policy": made_with.get("key_policy", "casefold"),
        "written_by": f"stateless-rag {version('stateless-rag')}",
    }
