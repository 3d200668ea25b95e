"""Reading a JSON Lines file of ours, line by line; what is damaged is told of by the number of its line."""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from stateless_rag.checks import (
    choice,
    flag,
    identifier,
    iterable,
    json_object,
    number,
    optional,
    shown,
    text,
    texts,
    weight,
    whole,
)
from stateless_rag.errors import InvalidInput
from stateless_rag.exporting.export import FORMAT
from stateless_rag.types import Curation, Entity, Given, GivenDocument, Records, Relation

if TYPE_CHECKING:
    from stateless_rag.protocols import Vectors

__all__ = ["Brought", "Described", "End", "Head", "Line", "read_lines"]

_CHANGES = (
    "create_entity",
    "edit_entity",
    "rename_entity",
    "merge_entities",
    "delete_entity",
    "create_relation",
    "edit_relation",
    "delete_relation",
    "keep_apart",
    "alias",
    "undo",
)
_ORDER = ("workspace", "curation", "entity", "relation", "document", "end")
_LARGEST_OFFSET = 2**62


@dataclass(frozen=True, slots=True)
class Head:
    """The first line: what the workspace was made with."""

    embedder: str | None
    dimension: int | None
    key_policy: str
    holds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Described:
    """An entity or a relation as it was, its vector, and of which texts an LLM has made its description."""

    shown: Entity | Relation
    summary_of: str | None
    vector: Vectors | None


@dataclass(frozen=True, slots=True)
class Brought:
    """A document with what its chunks say, their vectors by text, and those that could not be extracted."""

    document: GivenDocument
    vectors: Mapping[str, Vectors]


@dataclass(frozen=True, slots=True)
class End:
    """The last line."""

    lines: int


Line = Head | Curation | Described | Brought | End


def read_lines(file: IO[bytes], name: str) -> Iterator[Line]:
    """What the file says, a document together with its chunks.

    Raises InvalidInput, naming the line, for what is no such file, damaged, or cut off.
    """
    at, reader = 0, _Reader()
    for at, line in enumerate(file, 1):
        try:
            yield from reader.take(_parsed(line))
        except InvalidInput as error:
            raise InvalidInput(f"line {at:,} of {name!r}: {error}; nothing was brought in") from None
    if not reader.ended:
        raise InvalidInput(
            f"{name!r} ends after line {at:,}, before a line that says so: it was cut off, or is no export "
            "in JSON Lines; nothing was brought in"
        )


def _parsed(line: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise InvalidInput(f"{shown(line[:60].decode('utf-8', 'replace'))} is no JSON") from None
    if not isinstance(found, dict):
        raise InvalidInput(f"{shown(found)} is no JSON object")
    return found


class _Reader:
    """What came before a line decides what it may be."""

    def __init__(self) -> None:
        self.ended = False
        self._lines = 0
        self._stage = -1
        self._dimension: int | None = None
        self._ids: set[str] = set()
        self._numbers = [0]
        self._document: Mapping[str, Any] | None = None
        self._chunks: list[Mapping[str, Any]] = []

    def take(self, row: Mapping[str, Any]) -> Iterator[Line]:
        """What a line completes."""
        self._lines += 1
        kind = row.get("kind")
        if kind == "chunk" and self._document is not None:
            self._chunks.append(row)
        else:
            self._advance(kind)
            found = self._found(row)
            if found is not None:
                yield found
        if self._document is not None and len(self._chunks) == self._document["chunks"]:
            document, chunks = self._document, self._chunks
            self._document, self._chunks = None, []
            yield _brought(document, chunks, self._dimension)

    def _advance(self, kind: Any) -> None:
        if self._document is not None:
            missing = self._document["chunks"] - len(self._chunks)
            raise InvalidInput(
                f"kind is {shown(kind)}, but the document before lacks {missing} of its chunks"
            )
        if kind == "chunk":
            raise InvalidInput("a chunk more than its document tells of, or of no document")
        stage = _ORDER.index(choice("kind", kind, among=_ORDER))
        if self._stage < 0 < stage:
            raise InvalidInput(f"kind is {shown(kind)}; the first line must tell of the workspace")
        if self.ended or stage < self._stage or (stage == self._stage == 0):
            raise InvalidInput(f"a line of kind {kind} must not come after one of kind {_ORDER[self._stage]}")
        self._stage = stage

    def _found(self, row: Mapping[str, Any]) -> Line | None:
        kind = row["kind"]
        if kind == "workspace":
            head = _head(row)
            self._dimension = head.dimension
            return head
        if kind == "curation":
            entry = _curation(row, self._numbers)
            self._numbers.append(entry.number)
            return entry
        if kind in ("entity", "relation"):
            return _described(row, self._dimension)
        if kind == "end":
            if whole("lines", row.get("lines")) != self._lines:
                raise InvalidInput(f"the file had {row['lines']:,} lines, this is number {self._lines:,}")
            self.ended = True
            return End(self._lines)
        id_ = identifier("id", row.get("id"))
        if id_ in self._ids:
            raise InvalidInput(f"id is {shown(id_)}, as that of a document before")
        self._ids.add(id_)
        self._document = {**row, "chunks": whole("chunks", row.get("chunks"))}
        return None


# ---- one line ------------------------------------------------------------------------------------------


def _head(row: Mapping[str, Any]) -> Head:
    format_ = row.get("format")
    if format_ != FORMAT:
        raise InvalidInput(f"format is {shown(format_)}; this version reads {FORMAT}")
    return Head(
        optional("embedder", row.get("embedder"), text),
        optional("dimension", row.get("dimension"), whole, least=1),
        choice("key_policy", row.get("key_policy"), among=("casefold", "exact")),
        texts("holds", row.get("holds")),
    )


def _curation(row: Mapping[str, Any], before: Sequence[int]) -> Curation:
    kind = choice("change", row.get("change"), among=_CHANGES)
    keys, names = texts("keys", row.get("keys")), texts("names", row.get("names"))
    least = {"undo": 0, "rename_entity": 2, "merge_entities": 2, "keep_apart": 2}.get(
        kind, 2 if "relation" in kind else 1
    )
    most = {"undo": 0, "merge_entities": len(keys), "alias": 2}.get(kind, least)
    if not least <= len(keys) <= most or not all(keys):
        raise InvalidInput(f"keys are {shown(keys)}, which {kind} cannot have")
    if kind != "undo" and len(names) != len(keys):
        raise InvalidInput(f"names are {shown(names)}; there must be one for each of the keys")
    at = whole("number", row.get("number"), least=before[-1] + 1)
    return Curation(
        number=at,
        at=number("at", row.get("at")),
        kind=kind,
        keys=keys,
        names=names,
        payload=MappingProxyType(_payload(kind, row.get("payload"), before)),
    )


def _payload(kind: str, value: Any, before: Sequence[int]) -> dict[str, Any]:
    given = json_object("payload", value, error=InvalidInput)
    if kind == "undo":
        undone = whole("payload.number", given.get("number"), least=1)
        if undone not in before:
            raise InvalidInput(f"payload.number is {undone}, but there is no such change before")
        return {"number": undone}
    for name in ("name", "type", "description"):
        optional(f"payload.{name}", given.get(name), text)
    optional("payload.keywords", given.get("keywords"), texts)
    optional("payload.weight", given.get("weight"), weight)
    return given


def _described(row: Mapping[str, Any], dimension: int | None) -> Described:
    def said(name: str) -> str:
        return text(name, row.get(name))

    shown_: Entity | Relation
    if row["kind"] == "entity":
        shown_ = Entity(
            key=said("key"),
            name=said("name"),
            type=said("type"),
            description=said("description"),
            weight=whole("weight", row.get("weight")),
        )
    else:
        shown_ = Relation(
            source_key=said("source_key"),
            target_key=said("target_key"),
            source=said("source"),
            target=said("target"),
            keywords=texts("keywords", row.get("keywords")),
            description=said("description"),
            weight=weight("weight", row.get("weight")),
        )
    return Described(shown_, optional("summary_of", row.get("summary_of"), text), _vector(row, dimension))


def _vector(row: Mapping[str, Any], dimension: int | None) -> Vectors | None:
    value = row.get("vector")
    if value is None:
        return None
    try:
        vector = np.frombuffer(b64decode(text("vector", value), validate=True), dtype="<f4")
    except (ValueError, binascii.Error):
        raise InvalidInput(f"vector is {shown(value)}, which is no base64 of numbers") from None
    if len(vector) != dimension or not np.isfinite(vector).all():
        raise InvalidInput(f"vector has {len(vector)} numbers; it must have {dimension}, all finite")
    return vector.astype(np.float32)


# ---- documents -----------------------------------------------------------------------------------------


def _brought(row: Mapping[str, Any], chunks: list[Mapping[str, Any]], dimension: int | None) -> Brought:
    content = text("text", row.get("text"))
    spans, records = [], []
    vectors: dict[str, Vectors] = {}
    for place, chunk in enumerate(chunks):
        start, stop = _span(chunk, content, row["id"], place)
        spans.append((start, stop))
        records.append(_records(chunk))
        vector = _vector(chunk, dimension)
        if vector is not None:
            vectors[content[start:stop]] = vector
    document = GivenDocument(
        content,
        id=row["id"],
        source=row.get("source"),
        metadata=row.get("metadata") or {},
        given=Given(tuple(spans), tuple(records), cut=flag("cut", row.get("cut", False))),
    )
    return Brought(document, vectors)


def _span(chunk: Mapping[str, Any], content: str, document_id: str, place: int) -> tuple[int, int]:
    if chunk.get("document") != document_id:
        raise InvalidInput(
            f"a chunk of document {shown(chunk.get('document'))} among those of {document_id!r}"
        )
    if whole("ordinal", chunk.get("ordinal")) != place:
        raise InvalidInput(f"a chunk has the ordinal {chunk['ordinal']} in place of {place}")
    start = whole("start", chunk.get("start"), most=_LARGEST_OFFSET)
    stop = whole("stop", chunk.get("stop"), most=_LARGEST_OFFSET)
    piece = text("text", chunk.get("text"))
    if not piece or content[start:stop] != piece:
        raise InvalidInput(f"the chunk from {start} to {stop} is not {shown(piece)} in its document's text")
    return start, stop


def _records(chunk: Mapping[str, Any]) -> Records:
    entities = tuple(
        (text("name", m.get("name")), text("type", m.get("type")), text("description", m.get("description")))
        for m in _objects("entities", chunk.get("entities"))
    )
    relations = tuple(
        (
            text("source", m.get("source")),
            text("target", m.get("target")),
            texts("keywords", m.get("keywords")),
            text("description", m.get("description")),
        )
        for m in _objects("relations", chunk.get("relations"))
    )
    weights = tuple(
        optional("weight", m.get("weight"), weight) or 0.0
        for m in _objects("relations", chunk.get("relations"))
    )
    generation = identifier("generation", chunk.get("generation"))
    error = optional("error", chunk.get("error"), text)
    return Records(
        entities, relations, "imported", generation, error, weights=weights if any(weights) else ()
    )


def _objects(name: str, value: Any) -> Iterator[Mapping[str, Any]]:
    for place, item in enumerate(iterable(name, value, wanted="a list of objects")):
        if not isinstance(item, Mapping):
            raise InvalidInput(f"{name}[{place}] is {shown(item)}; it must be an object")
        yield item
