"""What a caller says of a document that the stages would find out otherwise: its chunks, and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from stateless_rag.checks import each_field, shown, text
from stateless_rag.errors import InvalidDocument
from stateless_rag.types.documents import Document

__all__ = ["File", "FileDocument", "Given", "GivenDocument", "Records"]


@dataclass(frozen=True, slots=True)
class Records:
    """What a chunk says, as it was given: entities as (name, type, description), relations as (source, target,
    keywords, description).

    `origin` begins the name of their generation. If the document's text is inserted alone later, what was
    "given" is extracted anew; what is "imported" stays, because an extractor has read it before. A `generation`
    is kept as it is: that of an extraction which another workspace has made, with the `error` that kept it from
    finding anything. `weights` are those of the relations, 0 where none is stated; empty if none is at all.
    """

    entities: tuple[tuple[str, str, str], ...] = ()
    relations: tuple[tuple[str, str, tuple[str, ...], str], ...] = ()
    origin: Literal["given", "imported"] = "given"
    generation: str | None = None
    error: str | None = None
    weights: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """The chunks of a document as (start, stop), and for each the records that it has, None to be extracted.

    `cut`: the caller cut it in a way of its own, so the text inserted alone later is cut anew.
    """

    spans: tuple[tuple[int, int], ...]
    records: tuple[Records | None, ...]
    cut: bool = False

    def to_json(self) -> dict[str, Any]:
        """In the form it is kept in until the document is committed."""
        told = [
            None if r is None else [r.entities, r.relations, r.origin, r.generation, r.error, r.weights]
            for r in self.records
        ]
        return {"spans": self.spans, "records": told, "cut": self.cut}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Given:
        """What `to_json` told."""
        return cls(
            tuple((start, stop) for start, stop in value["spans"]),
            tuple(None if one is None else _records(*one) for one in value["records"]),
            cut=value["cut"],
        )


def _records(
    entities: list[list[str]],
    relations: list[list[Any]],
    origin: Literal["given", "imported"] = "given",
    generation: str | None = None,
    error: str | None = None,
    weights: Sequence[float] = (),
) -> Records:
    return Records(
        cast("tuple[tuple[str, str, str], ...]", tuple(map(tuple, entities))),
        tuple((source, target, tuple(words), said) for source, target, words, said in relations),
        origin,
        generation,
        error,
        tuple(weights),
    )


@dataclass(frozen=True, slots=True)
class GivenDocument(Document):
    """A document with what the caller says of it. Its chunks are cut nowhere else, however long they are."""

    given: Given | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class File:
    """A file that waits to be made into a text. `content` is None where it is not at hand, but in the workspace."""

    name: str
    content: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class FileDocument(Document):
    """A file to be known: `content` in bytes, and a `name` whose suffix says what it is. It is the source without one.

    It is kept as it is with the workspace until it is worked on, and made into a text then, by the converter that the
    engine was opened with. One that cannot be read is a document that failed, with the reason.
    """

    text: str = field(default="", init=False)
    content: bytes = field(kw_only=True, repr=False)
    name: str = field(kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.content, bytes):
            raise InvalidDocument(f"content is {shown(self.content)}; it must be the bytes of a file")
        each_field(self, text, "name", most=1024, error=InvalidDocument)
        Document.__post_init__(self)
        if not self.name:
            raise InvalidDocument("a file needs a name, whose suffix says what it is")
        if self.source is None:
            object.__setattr__(self, "source", self.name)
