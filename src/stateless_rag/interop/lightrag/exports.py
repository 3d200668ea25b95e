"""The graph as a file, in the layouts of LightRAG's export."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stateless_rag.checks import choice, flag, path
from stateless_rag.errors import InvalidInput
from stateless_rag.exporting.files import new_file
from stateless_rag.interop.lightrag.graph import Bounds, Graph, values_of, vector_id, vector_row

if TYPE_CHECKING:
    from stateless_rag.protocols import Basis, Snapshot
    from stateless_rag.types import Entity, Relation

__all__ = ["Exports"]

_FORMATS = ("csv", "excel", "md", "txt")
_INSTALL = "the format excel needs pandas and xlsxwriter: install them, or choose csv, md or txt"
_GAP = 3  # spaces between the columns of a fixed-width table

Row = dict[str, str]


@dataclass(frozen=True)
class _Table:
    title: str
    rows: list[Row]


class Exports(Graph):
    """Writing the graph down."""

    async def aexport_data(
        self, output_path: str | Path, file_format: str = "csv", include_vector_data: bool = False
    ) -> None:
        """Write entities, relations (in both directions) and the rows of relations' vectors into a file.

        Formats are csv, excel, md and txt. The graph is held in memory; `Engine.export` writes larger ones, and
        in more formats.
        """
        target = path("output_path", output_path)
        form = choice("file_format", file_format, among=_FORMATS)
        vectors, bounds = flag("include_vector_data", include_vector_data), self._listed()
        await asyncio.to_thread(lambda: target.parent.mkdir(parents=True, exist_ok=True))
        workspace = (await self.engine()).workspace
        entities, relations = await workspace.read(_everything)
        rows = (
            await workspace.read_basis(lambda basis: _vectors(basis, entities, relations)) if vectors else {}
        )
        tables = await workspace.read(lambda snapshot: _tables(snapshot, bounds, entities, relations, rows))
        written = await asyncio.to_thread(_written, form, tables)
        async with new_file(target) as file:
            await asyncio.to_thread(file.write, written)


# ---- what is written -----------------------------------------------------------------------------------


def _everything(snapshot: Snapshot) -> tuple[list[Entity], list[Relation]]:
    """All entities by name, and all relations by the names of their ends."""
    ids = snapshot.entity_ids()
    edges = {relation for found in snapshot.edges(ids).values() for relation, _ in found}
    return (
        sorted(snapshot.entities(ids).values(), key=lambda entity: (entity.name, entity.key)),
        sorted(snapshot.relations(sorted(edges)).values(), key=lambda each: (each.source, each.target)),
    )


def _vectors(basis: Basis, entities: Sequence[Entity], relations: Sequence[Relation]) -> dict[str, str]:
    found: list[Entity | Relation] = [*entities, *relations]
    return {vector_id(each): str(vector_row(basis, each)) for each in found}


def _tables(
    snapshot: Snapshot,
    bounds: Bounds,
    entities: Sequence[Entity],
    relations: Sequence[Relation],
    vectors: dict[str, str],
) -> list[_Table]:
    values = values_of(snapshot, bounds, entities, relations)
    nodes = [
        _row(values.entities[each.key], vectors, vector_id(each), entity_name=each.name) for each in entities
    ]
    edges = [
        _row(values.relations[each.source_key, each.target_key], vectors, vector_id(each), **ends)
        for each in relations
        for ends in (
            {"src_entity": each.source, "tgt_entity": each.target},
            {"src_entity": each.target, "tgt_entity": each.source},
        )
    ]
    raw = [
        {
            "relationship_id": vector_id(each),
            "data": str(
                {
                    "src_id": each.source,
                    "tgt_id": each.target,
                    **values.relations[each.source_key, each.target_key],
                }
            ),
        }
        for each in relations
    ]
    tables = [_Table("ENTITIES", nodes), _Table("RELATIONS", edges), _Table("RELATIONSHIPS", raw)]
    return [table for table in tables if table.rows]


def _row(values: dict[str, Any], vectors: dict[str, str], id_: str, **names: str) -> Row:
    row = {**names, "source_id": values["source_id"], "graph_data": str(values)}
    return {**row, "vector_data": vectors[id_]} if id_ in vectors else row


# ---- how it is written ---------------------------------------------------------------------------------


def _written(form: str, tables: Sequence[_Table]) -> bytes:
    if form == "excel":
        return _excel(tables)
    lines = {"csv": _csv, "md": _markdown, "txt": _fixed_width}[form]
    return "".join(part for table in tables for part in lines(table)).encode("utf-8", "replace")


def _csv(table: _Table) -> Iterator[str]:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(table.rows[0]))
    writer.writeheader()
    writer.writerows(table.rows)
    yield f"# {table.title}\n{text.getvalue()}\n\n"


def _markdown(table: _Table) -> Iterator[str]:
    columns = list(table.rows[0])
    yield f"# {table.title.capitalize()}\n\n| {' | '.join(columns)} |\n| {' | '.join('---' for _ in columns)} |\n"
    for row in table.rows:
        yield f"| {' | '.join(_on_one_line(row[column]).replace('|', chr(92) + '|') for column in columns)} |\n"
    yield "\n\n"


def _fixed_width(table: _Table) -> Iterator[str]:
    columns = list(table.rows[0])
    rows = [[_on_one_line(row[column]) for column in columns] for row in table.rows]
    widths = [max(map(len, column)) + _GAP for column in zip(columns, *rows, strict=True)]
    yield f"{table.title}\n"
    for cells in (columns, ["-" * (width - _GAP) for width in widths], *rows):
        yield "".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() + "\n"
    yield "\n\n"


def _on_one_line(cell: str) -> str:
    return " ".join(cell.split())


def _excel(tables: Sequence[_Table]) -> bytes:
    try:
        pd = import_module("pandas")
        import_module("xlsxwriter")  # what pandas writes with
    except ImportError as error:
        raise InvalidInput(f"{error}; {_INSTALL}") from error
    written = io.BytesIO()
    with pd.ExcelWriter(written, engine="xlsxwriter") as writer:
        for table in tables:
            pd.DataFrame(table.rows).to_excel(writer, sheet_name=table.title.capitalize(), index=False)
    return written.getvalue()
