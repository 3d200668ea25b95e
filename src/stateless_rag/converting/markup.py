"""XML, read without anything that it could reach out by: no document types, no entities, no other files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal
from xml.parsers import expat

from stateless_rag.errors import UnreadableFile

__all__ = ["Node", "local_name", "nodes"]

Node = tuple[Literal["start", "text", "end"], str, dict[str, str]]
_DEEPEST = 500
_PIECE = 2**16
_RELATION = "/relationships}id"


def nodes(name: str, content: bytes) -> Iterator[Node]:
    """What an XML document says, in order: ("start", tag, attributes), ("text", text, {}), ("end", tag, {}).

    Tags and attributes are their local names, without name spaces; ids of relations in Office files are "r:id". Raises
    UnreadableFile for a document type or an entity of its own, for elements nested too deep, and for what is no XML.
    """
    found: list[Node] = []
    depth = 0
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise UnreadableFile(f"{name} nests its elements too deep", "bomb")
        found.append(("start", local_name(tag), _plain(attributes)))

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        found.append(("end", local_name(tag), {}))

    def refuse(*_: object) -> None:
        raise UnreadableFile(f"{name} defines a document type or entities; that is refused", "bomb")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = lambda text: found.append(("text", text, {}))
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        for begin in range(0, len(content), _PIECE):
            parser.Parse(content[begin : begin + _PIECE], begin + _PIECE >= len(content))
            yield from found
            found.clear()
    except UnreadableFile:
        raise
    except expat.ExpatError as error:
        raise UnreadableFile(f"{name} is damaged: {error}", "damaged") from error
    except (LookupError, ValueError) as error:  # an encoding that there is not
        raise UnreadableFile(f"{name} cannot be decoded: {error}", "damaged") from error


def local_name(tag: str) -> str:
    """A name without its name space."""
    return tag.rpartition("}")[2]


def _plain(attributes: dict[str, str]) -> dict[str, str]:
    """Attributes by their local names; those without a name space win."""
    plain: dict[str, str] = {}
    for key, value in sorted(attributes.items(), key=lambda item: "}" not in item[0]):
        plain[local_name(key)] = value
        if key.endswith(_RELATION):
            plain["r:id"] = value
    return plain
