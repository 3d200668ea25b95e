"""Documents whose chunks, or whose whole graph, the caller brings along.

A graph is given in the form that LightRAG takes, which is also what indexers of source code send:

    {"chunks":        [{"content", "source_id", "file_path"?, "chunk_order_index"?}, …],
     "entities":      [{"entity_name", "entity_type"?, "description"?, "source_id"?, "file_path"?}, …],
     "relationships": [{"src_id", "tgt_id", "description"?, "keywords"?, "weight"?, "source_id"?,
                        "file_path"?}, …]}

`source_id` ties records to the chunk that tells of them. Records are evidence like any other: they are merged
with what other documents say, and go with their document. A relation weighs the number of chunks that state it; what
a record says that it weighs counts in place of 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stateless_rag.checks import identifier, iterable, optional, shown, text, weight, whole
from stateless_rag.errors import InvalidInput
from stateless_rag.stages.records import split_keywords
from stateless_rag.text import document_digest, entity_key
from stateless_rag.types import Given, GivenDocument, Records

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.protocols import DocumentRow
    from stateless_rag.types import Chunk

__all__ = ["chunked_document", "graph_documents", "require_room", "same_document"]

_PARTS = ("chunks", "entities", "relationships")
_BREAK = "\n\n"  # between the chunks of a document whose whole text is not given
_NAME_LIMIT = 256
_LISTED = 2000  # characters of a chunk that lists records which no chunk tells of
_UNTOLD = "custom_graph"
_LIGHTEST = 1e-6

Entity = tuple[str, str, str]
Relation = tuple[str, str, tuple[str, ...], str, float]


# ---- chunks --------------------------------------------------------------------------------------------


def chunked_document(
    chunks: Iterable[str],
    *,
    whole_text: str | None = None,
    document_id: str | None = None,
    source: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> GivenDocument:
    """A document cut by its caller. Without its whole text, that is the chunks with blank lines between them.

    Chunks may overlap, and come in the order in which they begin. Raises InvalidInput for a chunk that is
    blank, or not in the text.
    """
    pieces = [
        _content(f"chunks[{place}]", piece)
        for place, piece in enumerate(iterable("chunks", chunks, wanted="an iterable of texts"))
    ]
    if whole_text is None:
        joined, spans = _joined(pieces)
    else:
        joined = text("text", whole_text)
        spans = list(_found(pieces, joined))
    return GivenDocument(
        joined,
        id=document_id,
        source=source,
        metadata={} if metadata is None else metadata,
        given=Given(tuple(spans), (None,) * len(spans), cut=True),
    )


def same_document(row: DocumentRow, chunks: Sequence[Chunk]) -> GivenDocument:
    """A committed document as it was given, with its chunks in order, to be submitted once more."""
    given = None
    if row.digest == document_digest(row.text, cut=True):
        given = Given(tuple((chunk.start, chunk.stop) for chunk in chunks), (None,) * len(chunks), cut=True)
    return GivenDocument(row.text, id=row.id, source=row.source, metadata=row.metadata, given=given)


def require_room(context: Context, documents: Iterable[GivenDocument]) -> None:
    """Raise InvalidInput if a chunk is longer than the embedder takes. Long: to be run in a thread."""
    most = context.embedder.max_tokens
    if most is None:
        return
    for document in documents:
        for start, stop in () if document.given is None else document.given.spans:
            piece = document.text[start:stop]
            # A token is at least one byte: short texts need not be counted.
            if len(piece.encode()) > most and (tokens := context.tokenizer.count(piece)) > most:
                raise InvalidInput(
                    f"a chunk of {document.id or 'the document'} has {tokens:,} tokens, the embedder takes "
                    f"{most:,}: {shown(piece)}; cut it into smaller ones"
                )


def _content(name: str, value: Any) -> str:
    content = text(name, value)
    if not content.strip():
        raise InvalidInput(f"{name} is blank; a chunk must hold text")
    return content


def _joined(pieces: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    spans = []
    start = 0
    for piece in pieces:
        spans.append((start, start + len(piece)))
        start += len(piece) + len(_BREAK)
    return _BREAK.join(pieces), spans


def _found(pieces: Sequence[str], joined: str) -> Iterator[tuple[int, int]]:
    start = 0
    for place, piece in enumerate(pieces):
        at = joined.find(piece, start)
        if at < 0:
            where = "after the beginning of the one before" if piece in joined else "anywhere in the text"
            raise InvalidInput(f"chunks[{place}], {shown(piece)}, is not found {where}")
        yield at, at + len(piece)
        start = at + 1


# ---- graphs --------------------------------------------------------------------------------------------


@dataclass
class _Piece:
    """A chunk with the records that it tells of."""

    content: str
    order: int = 0
    entities: list[Entity] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)


@dataclass
class _Draft:
    """A document: its chunks, and the records that none of them tells of."""

    source: str | None = None
    pieces: list[_Piece] = field(default_factory=list)
    untold: _Piece = field(default_factory=lambda: _Piece(""))


def graph_documents(graph: Mapping[str, Any], document_id: str | None = None) -> list[GivenDocument]:
    """The documents of a custom graph, everything validated.

    They are told apart by `document_id`, which makes all of it one document, else by the `source_id` of chunks
    and records, else by their `file_path`. Of two chunks with one `source_id` in a document the last tells of
    the records. Records whose chunk is not there are told of by chunks that list them. Raises InvalidInput,
    naming the place, for what is no such graph.
    """
    drafts = _Drafts(optional("document_id", document_id, identifier))
    if not isinstance(graph, Mapping):
        raise InvalidInput(
            f"the graph is {shown(graph)}; it must be a mapping with chunks, entities, relationships"
        )
    if unknown := set(graph) - set(_PARTS):
        raise InvalidInput(
            f"the graph has {shown(sorted(map(str, unknown)))}; it may have {', '.join(_PARTS)}"
        )
    for name, item in _items(graph, "chunks"):
        drafts.add_chunk(name, item)
    for name, item in _items(graph, "entities"):
        drafts.told_by(name, item).entities.append(_entity(name, item))
    for name, item in _items(graph, "relationships"):
        drafts.told_by(name, item).relations.append(_relation(name, item))
    return [_document(id_, draft) for id_, draft in drafts.by_id.items()]


class _Drafts:
    """Documents by id, and the chunks that tell of records, by what the records call them."""

    def __init__(self, document_id: str | None) -> None:
        self._only = document_id
        self._named: dict[str, _Piece] = {}
        # A document that is named is replaced also by a graph that has nothing left to say of it.
        self.by_id: dict[str, _Draft] = {} if document_id is None else {document_id: _Draft()}

    def add_chunk(self, name: str, item: Mapping[str, Any]) -> None:
        piece = _Piece(
            _content(f"{name}.content", item.get("content")),
            whole(f"{name}.chunk_order_index", item.get("chunk_order_index") or 0),
        )
        self._draft(name, item).pieces.append(piece)
        alias = _id(name, item, "source_id")
        if alias is not None:
            self._named[alias] = piece

    def told_by(self, name: str, item: Mapping[str, Any]) -> _Piece:
        """The chunk that tells of a record."""
        alias = _id(name, item, "source_id")
        piece = None if alias is None else self._named.get(alias)
        return self._draft(name, item).untold if piece is None else piece

    def _draft(self, name: str, item: Mapping[str, Any]) -> _Draft:
        source_id, path = (
            _id(name, item, "source_id"),
            optional(f"{name}.file_path", item.get("file_path"), text),
        )
        draft = self.by_id.setdefault(self._only or source_id or path or _UNTOLD, _Draft())
        draft.source = draft.source or path
        return draft


def _items(graph: Mapping[str, Any], part: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for place, item in enumerate(iterable(part, graph.get(part) or (), wanted="a list of mappings")):
        name = f"{part}[{place}]"
        if not isinstance(item, Mapping):
            raise InvalidInput(f"{name} is {shown(item)}; it must be a mapping")
        yield name, item


def _id(name: str, item: Mapping[str, Any], key: str) -> str | None:
    value = item.get(key)
    return None if value in (None, "") else identifier(f"{name}.{key}", value)


def _name(name: str, value: Any) -> str:
    """An entity's name, exactly as it is given."""
    found = text(name, value, most=_NAME_LIMIT).strip()
    if not entity_key(found):
        raise InvalidInput(f"{name} is {shown(value)}; it must name an entity")
    return found


def _said(name: str, item: Mapping[str, Any], default: str = "") -> str:
    value = item.get("description")
    return default if value is None else text(f"{name}.description", value).strip()


def _entity(name: str, item: Mapping[str, Any]) -> Entity:
    type_ = item.get("entity_type")
    return (
        _name(f"{name}.entity_name", item.get("entity_name")),
        "" if type_ is None else text(f"{name}.entity_type", type_, most=_NAME_LIMIT).strip(),
        _said(name, item),
    )


def _relation(name: str, item: Mapping[str, Any]) -> Relation:
    keywords, heavy = item.get("keywords"), item.get("weight")
    return (
        _name(f"{name}.src_id", item.get("src_id")),
        _name(f"{name}.tgt_id", item.get("tgt_id")),
        () if keywords is None else split_keywords(text(f"{name}.keywords", keywords)),
        _said(name, item),
        0.0 if heavy is None else weight(f"{name}.weight", heavy, least=_LIGHTEST),
    )


def _document(id_: str, draft: _Draft) -> GivenDocument:
    pieces = [*sorted(draft.pieces, key=lambda piece: piece.order), *_listing(draft.untold)]
    joined, spans = _joined([piece.content for piece in pieces])
    records = tuple(_records(piece) for piece in pieces)
    return GivenDocument(joined, id=id_, source=draft.source, given=Given(tuple(spans), records))


def _records(piece: _Piece) -> Records:
    weights = tuple(relation[4] for relation in piece.relations)
    return Records(
        tuple(piece.entities),
        tuple(relation[:4] for relation in piece.relations),
        weights=weights if any(weights) else (),
    )


def _listing(untold: _Piece) -> Iterator[_Piece]:
    """Chunks that list records, one a line."""
    lines: list[tuple[str, Entity | None, Relation | None]] = [
        (": ".join(filter(None, (name, said))), (name, type_, said), None)
        for name, type_, said in untold.entities
    ]
    lines += [
        (": ".join(filter(None, (f"{source} → {target}", said))), None, (source, target, words, said, heavy))
        for source, target, words, said, heavy in untold.relations
    ]
    piece, told = _Piece(""), list[str]()
    for line, entity, relation in lines:
        if told and sum(map(len, told)) + len(line) > _LISTED:
            piece.content = "\n".join(told)
            yield piece
            piece, told = _Piece(""), []
        told.append(line)
        if entity is not None:
            piece.entities.append(entity)
        if relation is not None:
            piece.relations.append(relation)
    if told:
        piece.content = "\n".join(told)
        yield piece
