"""Entities and relations of a folder: from its graph, and where that is damaged, from its vector files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from stateless_rag.interop.folder import SEPARATOR, FolderEntity, FolderRelation
from stateless_rag.interop.json_files import Row, string, strings
from stateless_rag.stages.records import split_keywords
from stateless_rag.text import clean_text, normalize_name

if TYPE_CHECKING:
    from stateless_rag.interop.graphml import Edge, Graph, Node
    from stateless_rag.interop.problems import Problems
    from stateless_rag.interop.vector_files import VectorRow

__all__ = ["entities_of", "listed_evidence", "listed_pairs", "relations_of"]

Evidence = Mapping[str, Sequence[str]]

GRAPH = "the graph"
_NO_CHUNK = frozenset({"", "manual_creation", "UNKNOWN"})
_NO_TYPE = frozenset({"", "unknown"})


def parts(value: str) -> tuple[str, ...]:
    """The values of a string that holds several."""
    return tuple(dict.fromkeys(part.strip() for part in value.split(SEPARATOR) if part.strip()))


def texts_of(description: str) -> tuple[str, ...]:
    """The texts of a description: without the quotes of older files, on one line, each once."""
    texts = (" ".join(clean_text(_unquoted(part)).split()) for part in parts(description))
    return tuple(dict.fromkeys(text for text in texts if text))


def _unquoted(text: str) -> str:
    inner = text[1:-1]
    quoted = len(text) > 2 and text[0] == text[-1] == '"' and '"' not in inner
    return inner if quoted else text.removeprefix('"') if text.count('"') == 1 else text


def pair_key(one: str, other: str) -> str:
    """What the evidence of a relation is kept under."""
    return SEPARATOR.join(sorted((one, other)))


def _chunk_ids(attributes: Mapping[str, str], listed: Sequence[str] | None) -> tuple[str, ...]:
    """The evidence: what is listed in full, else what the graph itself names, which may be cut."""
    ids = parts(attributes.get("source_id", "")) if listed is None else listed
    return tuple(dict.fromkeys(id_ for id_ in ids if id_ not in _NO_CHUNK))


def entity_type(text: str) -> str:
    """A type as mentions have it; "" for none."""
    shown = normalize_name(_unquoted(text.strip())).casefold()
    return "" if shown in _NO_TYPE else shown


# ---- entities ------------------------------------------------------------------------------------------


def entities_of(
    graph: Graph, listed: Evidence, rows: Iterable[VectorRow], problems: Problems
) -> list[FolderEntity]:
    """The nodes; if the graph is not whole, also entities that only their vectors' rows tell of."""
    found: dict[str, FolderEntity] = {}
    for node in graph.nodes:
        if name := _named(node.id, problems):
            found[node.id] = _entity(name, node, listed.get(node.id))
    if not graph.whole:
        for row in rows:
            raw = string(row.fields, "entity_name")
            name = normalize_name(raw)
            if not name or raw in found:
                continue
            told = string(row.fields, "content").removeprefix(raw).removeprefix("\n")
            ids = _chunk_ids({"source_id": string(row.fields, "source_id")}, listed.get(raw))
            found[raw] = FolderEntity(name=name, type="", texts=texts_of(told), chunk_ids=ids)
            problems.add(GRAPH, "an entity is known from its vector's row only, without its type", name)
    return list(found.values())


def _named(raw: str, problems: Problems) -> str:
    name = normalize_name(raw)
    if not name:
        problems.add(GRAPH, "a name that names nothing", raw)
    return name


def _entity(name: str, node: Node, listed: Sequence[str] | None) -> FolderEntity:
    told = node.attributes
    return FolderEntity(
        name=name,
        type=entity_type(told.get("entity_type", "")),
        texts=texts_of(told.get("description", "")),
        chunk_ids=_chunk_ids(told, listed),
    )


# ---- relations -----------------------------------------------------------------------------------------


def relations_of(
    graph: Graph, listed: Evidence, rows: Iterable[VectorRow], problems: Problems
) -> list[FolderRelation]:
    """The edges, each pair once; if the graph is not whole, also pairs that only their vectors' rows tell of."""
    nodes = {node.id for node in graph.nodes}
    found: dict[str, FolderRelation] = {}
    for edge in graph.edges:
        if edge.source == edge.target:
            problems.add(GRAPH, "a relation of an entity with itself", edge.source)
        elif graph.whole and not {edge.source, edge.target} <= nodes:
            problems.add(GRAPH, "a relation with an end that is not there", f"{edge.source} – {edge.target}")
        else:
            key = pair_key(edge.source, edge.target)
            _add(found, key, _relation(edge, listed.get(key)))
    if not graph.whole:
        for row in rows:
            ends = string(row.fields, "src_id"), string(row.fields, "tgt_id")
            key = pair_key(*ends)
            if key not in found and all(map(normalize_name, ends)) and ends[0] != ends[1]:
                found[key] = _from_row(ends, row.fields, listed.get(key))
                problems.add(GRAPH, "a relation is known from its vector's row only", " – ".join(ends))
    return list(found.values())


def _add(found: dict[str, FolderRelation], key: str, relation: FolderRelation | None) -> None:
    if relation is not None:
        found.setdefault(key, relation)


def _relation(edge: Edge, listed: Sequence[str] | None) -> FolderRelation | None:
    source, target = normalize_name(edge.source), normalize_name(edge.target)
    told = edge.attributes
    if not (source and target):
        return None
    return FolderRelation(
        source=source,
        target=target,
        keywords=split_keywords(*parts(told.get("keywords", ""))),
        texts=texts_of(told.get("description", "")),
        chunk_ids=_chunk_ids(told, listed),
    )


def _from_row(ends: tuple[str, str], fields: Row, listed: Sequence[str] | None) -> FolderRelation:
    """A relation from what was embedded for it, in either of the two layouts."""
    content = string(fields, "content")
    words, description = "", ""
    for one, other in (ends, ends[::-1]):
        head, found, rest = content.partition(f"\t{one}\n{other}")
        if found:
            words, description = head, rest
        elif content.startswith(f"{one}\t{other}\n"):
            words, _, description = content.removeprefix(f"{one}\t{other}\n").partition("\n")
    return FolderRelation(
        source=normalize_name(ends[0]),
        target=normalize_name(ends[1]),
        keywords=split_keywords(*parts(words)),
        texts=texts_of(description),
        chunk_ids=_chunk_ids({"source_id": string(fields, "source_id")}, listed),
    )


def listed_evidence(rows: Mapping[str, Row]) -> dict[str, tuple[str, ...]]:
    """The full lists of evidence, by name or by pair."""
    return {
        key: strings(row, "chunk_ids") for key, row in rows.items() if isinstance(row.get("chunk_ids"), list)
    }


def listed_pairs(rows: Mapping[str, Row]) -> dict[str, tuple[str, ...]]:
    """As `listed_evidence` for relations, whose keys are put in order."""
    ordered = {}
    for key, ids in listed_evidence(rows).items():
        one, found, other = key.partition(SEPARATOR)
        if found:
            ordered[pair_key(one, other)] = ids
    return ordered
