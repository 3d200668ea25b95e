"""What can be seen to be wrong with a workspace without knowing how it was made: rows that must not be there or are
missing, vectors that are none, and views, segments and indexes that are not what the tables say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stateless_rag.stores.duckdb.indexes import Indexes
from stateless_rag.stores.duckdb.snapshot import TABLES, fetch_vectors
from stateless_rag.stores.duckdb.statements import load_statements
from stateless_rag.stores.duckdb.views import View
from stateless_rag.stores.faiss.base_file import read_base
from stateless_rag.types import Fault

if TYPE_CHECKING:
    from pathlib import Path

    from stateless_rag.stores.duckdb.database import Cursor
    from stateless_rag.stores.duckdb.record import WorkspaceRecord
    from stateless_rag.stores.faiss.base_segment import Base
    from stateless_rag.stores.faiss.segments import VectorView
    from stateless_rag.text import KeyPolicy

__all__ = ["Inspection", "erasing", "mending"]

_REPAIR = "`stateless-rag repair` mends it"
_BLOCK = 4096  # vectors compared at a time
_NEAR = 1e-3  # of the distance of two rows that are the same


# A statement that finds faulty rows, their table, and what they are. `mend_<name>` mends them, in this order.
_ROW_RULES = (
    ("duplicate_documents", "documents", "a document is there more than once"),
    ("duplicate_chunks", "chunks", "a chunk is there more than once"),
    ("orphan_chunks", "chunks", "the document of a chunk is missing"),
    ("duplicate_mentions", "mentions", "a mention is there more than once"),
    ("orphan_mentions", "mentions", "the chunk of a mention is missing"),
    ("foreign_mentions", "mentions", "a mention is of another generation than its chunk"),
    ("duplicate_entities", "entities", "an entity is there more than once"),
    ("duplicate_relations", "relations", "a relation is there more than once"),
    ("duplicate_pending", "pending", "a submission is there more than once"),
    ("duplicate_disabled", "disabled", "a document that is disabled is there more than once"),
    ("disabled_too", "disabled", "a document is there both enabled and disabled"),
    ("orphan_given", "given", "what was given with a submission is left without it"),
    ("replies_at_odds", "journal", "one request has two replies"),
    ("future_rows", "chunks, entities, relations", "a row is marked as embedded by a commit that never was"),
)
_VECTOR_RULES = (
    ("duplicate_vectors", "vectors", "a vector is there more than once"),
    ("bad_vectors", "vectors", "a vector holds what is no finite number"),
    ("missing_chunk_vectors", "chunks", "the vector of a chunk is missing"),
    ("missing_entity_vectors", "entities", "the vector of an entity is missing"),
    ("missing_relation_vectors", "relations", "the vector of a relation is missing"),
)
_BATCH_RULES = (("batches_at_odds", "batches", "what a batch waits for does not fit how far it is"),)
_COMING_RULES = (
    ("duplicate_coming", "coming", "a vector of another embedder is there more than once"),
    ("bad_coming", "coming", "a vector of another embedder holds what is no finite number"),
)
_COMING_UNIT_RULES = (
    ("long_coming", "coming", "a vector of another embedder has another length than all have"),
)
_UNIT_RULES = (("long_vectors", "vectors", "a vector has another length than all have"),)


@dataclass(frozen=True, slots=True)
class Inspection:
    """A revision, to be looked at in one transaction: its rows by a cursor, its view, its record, its files."""

    cursor: Cursor
    view: View
    record: WorkspaceRecord
    files: Path
    sql: Mapping[str, str]
    rules: Mapping[str, str]
    has_tables: bool
    vector_type: str
    coming_type: str

    @classmethod
    def of(
        cls,
        cursor: Cursor,
        view: View,
        record: WorkspaceRecord,
        files: Path,
        sql: Mapping[str, str],
        place: tuple[str, str],
        *,
        has_tables: bool,
    ) -> Inspection:
        """`sql` has the statements on the workspace, `place` is its database and its schema."""
        schema, revision = f'"{place[0]}"."{place[1]}"', str(view.revision)
        rules = {
            name: text.replace("{w}", schema).replace("{revision}", revision)
            for name, text in load_statements("checking.sql").items()
        }
        types = dict(cursor.execute(rules["vector_types"], list(place)).fetchall())
        vector_type, coming_type = types.get("vectors", ""), types.get("coming", "")
        return cls(cursor, view, record, files, sql, rules, has_tables, vector_type, coming_type)

    def select(self, name: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of a statement of `checking.sql`; none before the first write."""
        if not self.has_tables:
            return []
        return self.cursor.execute(self.rules[name], list(parameters)).fetchall()

    def rows(self, name: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of a statement of `workspace.sql`; of all there are, whatever it chooses, without parameters."""
        if not self.has_tables:
            return []
        text = self.sql[name]
        statement = text if parameters else text.partition("WHERE")[0]
        return self.cursor.execute(statement, list(parameters)).fetchall()

    @property
    def has_vectors(self) -> bool:
        """Whether there is a table of vectors."""
        return self.has_tables and bool(self.vector_type)

    def counts(self) -> dict[str, int]:
        """How many rows there are, by table."""
        names = (
            "documents",
            "chunks",
            "mentions",
            "entities",
            "relations",
            "curations",
            "pending",
            "journal",
        )
        found = self.select("counts") or [(0,) * len(names)]
        counts = dict(zip(names, map(int, found[0]), strict=True))
        counts["vectors"] = int(self.select("count_vectors")[0][0]) if self.has_vectors else 0
        return counts

    def unused_vectors(self) -> int:
        """How many vectors no row names."""
        return len(self.select("unused_vectors")) if self.has_vectors else 0

    # ---- rows ------------------------------------------------------------------------------------------

    def row_faults(self) -> list[Fault]:
        """What is wrong with rows, as far as SQL can tell."""
        if not self.has_tables:
            return []
        rules = [*_ROW_RULES]
        if self.has_vectors:
            rules += _VECTOR_RULES
            rules += _UNIT_RULES if self.record.info.get("unit_vectors") is True else ()
        rules += _BATCH_RULES if self.record.info.get("has_batches") is True else ()
        rules += self._coming_rules()
        found = [fault for rule in rules if (fault := self._found(*rule)) is not None]
        return [*found, *self._dimension_fault()]

    def _coming_rules(self) -> tuple[tuple[str, str, str], ...]:
        """What holds for vectors that are gathered for another embedder, which `reembed` goes on with."""
        if not self.coming_type:
            return ()
        begun, length = self.record.info.get("reembedding"), re.search(r"\d+", self.coming_type)
        if begun is None or length is None or begun["dimension"] != int(length[0]):
            return (("foreign_coming", "coming", "vectors are of no embedder that a change has begun to"),)
        return (*_COMING_RULES, *(_COMING_UNIT_RULES if begun["unit"] else ()))

    def _found(self, name: str, table: str, what: str) -> Fault | None:
        statement = self.rules["examples"].replace("{found}", self.rules[name])
        count, examples = self.cursor.execute(statement).fetchall()[0]
        if not count:
            return None
        return Fault(
            kind=name,
            where=table,
            what=what,
            advice=_REPAIR,
            count=int(count),
            examples=tuple(sorted(map(str, examples))),
        )

    def _dimension_fault(self) -> Iterator[Fault]:
        recorded, stored = self.record.info.get("dimension"), re.search(r"\d+", self.vector_type)
        if stored is not None and recorded != int(stored[0]):
            yield Fault(
                kind="dimension",
                where="catalog",
                what=f"the catalog says that vectors have {recorded} dimensions, and they have {stored[0]}",
                advice="restore a backup",
                repairable=False,
            )

    # ---- files and views -------------------------------------------------------------------------------

    def view_faults(self, policy: KeyPolicy) -> list[Fault]:
        """What is wrong with files of vectors, and with what is held in memory."""
        return [
            *self._file_faults(),
            *self._held_faults(),
            *self._vector_faults(),
            *self._index_faults(policy),
        ]

    def _file_faults(self) -> Iterator[Fault]:
        bases: Mapping[str, Mapping[str, Any]] = self.record.info.get("bases", {})
        for kind, recorded in sorted(bases.items()):
            path = self.files / recorded["file"]
            base = read_base(path, recorded["checksum"], self.record.info["dimension"], recorded["count"])
            if base is None:
                yield _of_file(path, f"the base segment of the vectors of {kind}s is missing or damaged")
            elif base.kind != "float32" and not _is_whole(base):
                yield _of_file(
                    path.with_suffix(".rows"), f"the rows beside the base segment of {kind}s are damaged"
                )

    def _held_faults(self) -> Iterator[Fault]:
        if not self.has_tables:
            return
        true = View.load(self.cursor, self.sql, self.view.revision, {})
        parts: tuple[tuple[str, Callable[[View], Any]], ...] = (
            ("graph", lambda view: _in_order(view.graph.arrays())),
            ("evidence", lambda view: _in_order(view.evidence.pairs(), distinct=True)),
            ("entities", lambda view: _rows(view.entities.columns(list(view.entities.names)))),
            ("relations", lambda view: _rows(view.relations.columns(list(view.relations.names)))),
            ("chunks", lambda view: _rows(view.pieces.columns(list(view.pieces.names)))),
            ("documents", lambda view: _rows(view.sources.columns(list(view.sources.names)))),
            ("documents that are disabled", lambda view: view.disabled),
            ("aliases", lambda view: dict(view.aliases)),
            ("changes by hand", lambda view: view.curations.entries),
        )
        for name, part in parts:
            if not _equal(part(self.view), part(true)):
                yield _of_memory(f"what is held of {name} is not what the tables say")

    def _vector_faults(self) -> Iterator[Fault]:
        if not self.has_vectors:
            return
        sql = self.sql["vectors_of_rows"]
        for kind, table in TABLES.items():
            held = self.view.vectors.get(kind)
            there = self.cursor.sql(self.rules["ids_with_vectors"].format(table=table)).to_arrow_table()
            ids = np.sort(there.column(0).to_numpy())
            if held is None or not np.array_equal(held.ids(), ids):
                if held is not None or len(ids):
                    yield _of_memory(
                        f"the vectors of {kind}s that can be searched are not those of the table"
                    )
                continue
            wrong = self._differing(held, ids, sql.format(table=table))
            if wrong:
                yield _of_memory(f"vectors of {kind}s that can be searched differ from the table", wrong)

    def _differing(self, held: VectorView, ids: Any, statement: str) -> int:
        wrong = 0
        for start in range(0, len(ids), _BLOCK):
            keys, stored = fetch_vectors(self.cursor, statement, [ids[start : start + _BLOCK].tolist()])
            order = np.argsort(keys, kind="stable")
            keys, first = np.unique(keys[order], return_index=True)
            stored = stored[order][first].astype(np.float64)
            norms = np.linalg.norm(stored, axis=1, keepdims=True)
            true = np.divide(stored, norms, out=np.zeros_like(stored), where=norms > 0)
            far = np.linalg.norm(held.rows_of(keys) - true, axis=1)
            wrong += int(((far > held.error + _NEAR) & (norms[:, 0] > 0) | ~np.isfinite(far)).sum())
        return wrong

    def _index_faults(self, policy: KeyPolicy) -> Iterator[Fault]:
        held = self.view.indexes
        fresh = Indexes()
        if held.worded(self.view) and not held.words(self.view).equals(fresh.words(self.view)):
            yield _of_memory("the index of words is not what the chunks say")
        if held.walked(self.view) and not held.links(self.view, policy).equals(
            fresh.links(self.view, policy)
        ):
            yield _of_memory("the links to walk along are not what the graph says")


def mending(name: str, schema: str, revision: int) -> list[str]:
    """The statements that mend what a rule finds; none if that is not done by SQL."""
    text = load_statements("checking.sql").get(f"mend_{name}", "")
    text = text.replace("{w}", schema).replace("{revision}", str(revision))
    return [part for part in text.split(";") if part.strip()]


def erasing(
    cursor: Cursor,
    schema: str,
    keep: Sequence[str],
    until: float,
    *,
    has_vectors: bool,
) -> dict[str, Any]:
    """Empty the journal of replies but those under the digests to keep, and remove vectors that nothing names.

    What was paid stays, but not that it was for documents which are there no more. Replies that came after `until`
    (seconds since 1970) and build the workspace are kept, too: they are of documents that are ingested meanwhile.
    Returns how many `replies` went, by purpose, and `vectors`.
    """
    sql = {name: text.replace("{w}", schema) for name, text in load_statements("checking.sql").items()}
    of_rows = load_statements("workspace.sql")
    replies = cursor.execute(sql["removable_replies"], [list(keep), until]).fetchall()
    cursor.execute(sql["erase_replies"], [list(keep), until]).fetchall()
    cursor.execute(sql["forget_documents"]).fetchall()
    vectors = 0
    if has_vectors:
        vectors = len(cursor.execute(sql["unused_vectors"]).fetchall())
        cursor.execute(of_rows["collect_vectors"].replace("{w}", schema)).fetchall()
    # Gathered for another embedder, of texts that may be gone: begun again, that costs no LLM.
    cursor.execute(of_rows["drop_coming"].replace("{w}", schema)).fetchall()
    return {"replies": dict(replies), "vectors": vectors}


def _is_whole(base: Base) -> bool:
    """Whether the rows beside a base segment are there and are its rows."""
    starts = range(0, len(base), _BLOCK)
    return all(base.exact(np.arange(start, min(start + _BLOCK, len(base)))) is not None for start in starts)


def _of_file(path: Path, what: str) -> Fault:
    return Fault(
        kind="segment",
        where=str(path),
        what=what,
        advice="nothing is lost: it is made anew when the workspace is opened, or by `stateless-rag repair`",
    )


def _of_memory(what: str, count: int = 1) -> Fault:
    advice = "nothing is lost: `Engine.repair` makes it anew, and so does opening the workspace again"
    return Fault(kind="view", where="memory", what=what, advice=advice, count=count)


def _in_order(arrays: tuple[Any, ...], *, distinct: bool = False) -> tuple[Any, ...]:
    order = np.lexsort(arrays[::-1])
    ordered = np.stack([array[order] for array in arrays]) if len(order) else np.empty((len(arrays), 0))
    return (np.unique(ordered, axis=1) if distinct else ordered,)


def _rows(columns: tuple[Any, Any]) -> tuple[Any, ...]:
    ids, table = columns
    order = np.argsort(ids, kind="stable")
    return ids[order], table.take(order).combine_chunks()


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) and one and not isinstance(one[0], tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if hasattr(one, "equals"):
        return bool(one.equals(other))
    return bool(one == other)
