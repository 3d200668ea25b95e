"""GraphML as networkx writes it: nodes and edges with their attributes, also of a file that is cut off."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from stateless_rag.interop.json_files import file_text
from stateless_rag.text import clean_text

if TYPE_CHECKING:
    from stateless_rag.interop.problems import Problems

__all__ = ["Edge", "Graph", "Node", "read_graph"]

_START = re.compile(r"<(key|node|edge)\b[^<>]*>")
_DECLARED = re.compile(r"<!(?:DOCTYPE|ENTITY)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Node:
    """A node; attributes by their names."""

    id: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge; `source` and `target` say nothing about a direction."""

    source: str
    target: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes and edges in the order of the file. `whole`: it was read to its end."""

    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    whole: bool = False


def read_graph(path: Path, problems: Problems) -> Graph:
    """The graph of a file. One that is not there, or blank, is empty and not whole."""
    text = file_text(path, problems)
    if text is None or not text.strip():
        problems.add(path.name, "is not there" if text is None else "is blank")
        return Graph()
    text = clean_text(text).lstrip("\ufeff \t\r\n")
    if _DECLARED.search(text):  # the only way in which XML can do harm, and none of these engines writes one
        problems.add(path.name, "declares entities or a document type; it is not read")
        return Graph()
    try:
        root = ElementTree.fromstring(text.encode())  # noqa: S314 -- see _DECLARED
    except ElementTree.ParseError as error:
        graph = _graph(_elements(text), whole=False)
        problems.add(
            path.name,
            f"is cut off or damaged ({error}); {len(graph.nodes):,} nodes and {len(graph.edges):,} edges "
            "could be read",
        )
        return graph
    return _graph(root.iter(), whole=True)


def _elements(text: str) -> Iterable[ElementTree.Element]:
    """Those elements of a damaged file that are whole, each parsed alone."""
    starts = list(_START.finditer(text))
    for start, following in zip_longest(starts, starts[1:]):
        piece = text[start.start() : following.start() if following else len(text)]
        if not start[0].endswith("/>"):
            closing = piece.find(f"</{start[1]}>")
            piece = piece[: closing + len(f"</{start[1]}>")] if closing >= 0 else ""
        else:
            piece = start[0]
        try:
            yield ElementTree.fromstring(piece.encode())  # noqa: S314 -- see _DECLARED
        except ElementTree.ParseError:
            continue


def _graph(elements: Iterable[ElementTree.Element], *, whole: bool) -> Graph:
    names: dict[str, str] = {}
    nodes: dict[str, Node] = {}
    edges: list[Edge] = []
    for element in elements:
        tag = element.tag.rpartition("}")[2]
        if tag == "key":
            names[element.get("id", "")] = element.get("attr.name", "")
        elif tag == "node" and (id_ := element.get("id", "")):
            nodes[id_] = Node(id_, _attributes(element, names))
        elif tag == "edge" and (source := element.get("source")) and (target := element.get("target")):
            edges.append(Edge(source, target, _attributes(element, names)))
    return Graph(tuple(nodes.values()), tuple(edges), whole)


def _attributes(element: ElementTree.Element, names: Mapping[str, str]) -> dict[str, str]:
    """Attributes by name; one that is declared for several types has a key for each of them."""
    found: dict[str, str] = {}
    for child in element:
        name = names.get(child.get("key", ""))
        if name and child.text and not found.get(name):
            found[name] = child.text
    return found
