"""What only some questions need of a workspace: the index of words and the links to walk along, made at the first
such question and brought up to date by the next ones. They can always be made again of what the views hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from stateless_rag.providers.cooccurrence import title_of
from stateless_rag.stores.ids import id_array, lookup
from stateless_rag.stores.links import Links, LinksBase
from stateless_rag.stores.words import WordIndex
from stateless_rag.text import entity_key, stable_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from stateless_rag.stores.duckdb.views import View
    from stateless_rag.stores.ids import Ids
    from stateless_rag.text import KeyPolicy

__all__ = ["Indexes", "node_of"]


def node_of(name: str, aliases: Mapping[str, str], policy: KeyPolicy) -> int | None:
    """The id that the entity of that name has if there is one, aliases applied; None for a name that says nothing."""
    key = entity_key(name, policy)
    while (target := aliases.get(key)) is not None:
        key = target
    return stable_id("entity", key) if key else None


@dataclass(frozen=True, slots=True, eq=False)
class _Linked:
    """Links, and the parts of the views that they and their base were made of."""

    sources: tuple[Any, ...]
    base_sources: tuple[Any, ...]
    base: LinksBase
    links: Links


class Indexes:
    """Shared by all views of a workspace. Any thread may ask; one at a time makes what is missing."""

    def __init__(self) -> None:
        self._words_lock = Lock()
        self._links_lock = Lock()
        self._worded: tuple[Any, WordIndex] | None = None
        self._linked: _Linked | None = None

    @property
    def nbytes(self) -> int:
        """Bytes held in memory."""
        worded, linked = self._worded, self._linked
        return (worded[1].nbytes if worded else 0) + (linked.links.nbytes if linked else 0)

    def words(self, view: View) -> WordIndex:
        """The words of the view's chunks."""
        with self._words_lock:
            if self._worded is None or self._worded[0] is not view.pieces:
                known = WordIndex() if self._worded is None else self._worded[1]
                self._worded = (view.pieces, _next_words(known, view))
            return self._worded[1]

    def links(self, view: View, policy: KeyPolicy) -> Links:
        """The links of the view's entities and chunks."""
        with self._links_lock:
            sources = (view.graph, view.evidence, view.pieces, view.aliases)
            known = self._linked
            if known is None or not _same(known.sources, sources):
                self._linked = known = _next_links(known, sources, view, policy)
            return known.links


def _same(one: Iterable[Any], other: Iterable[Any]) -> bool:
    return all(a is b for a, b in zip(one, other, strict=True))


def _next_words(known: WordIndex, view: View) -> WordIndex:
    ids, before = view.pieces.ids(), known.ids()
    # A chunk's id follows from its text: one that is there already has not changed.
    new = ids[lookup(before, ids) < 0].tolist()
    return known.apply(_texts(view, new), before[lookup(ids, before) < 0])


def _next_links(known: _Linked | None, sources: tuple[Any, ...], view: View, policy: KeyPolicy) -> _Linked:
    """Links on the base there is, if the view still stands on what it was made of; else on a new one."""
    graph, evidence, chunks = view.graph, view.evidence, view.pieces.ids()
    base_sources = (graph.base, evidence.base, view.aliases)
    if known is None or not _same(known.base_sources, base_sources):
        old = {} if known is None or known.base_sources[2] is not view.aliases else known.base.titles
        rows, told_in = evidence.base.pairs()
        mentions = (lookup(graph.base.relations, rows) < 0) & ~np.isin(rows, id_array(graph.overlay.added))
        base = LinksBase.of(
            (graph.base.relations, graph.base.left, graph.base.right),
            (rows[mentions], told_in[mentions]),
            chunks,
            _titles(view, chunks, old, policy),
        )
    else:
        base = known.base
    return _Linked(sources, base_sources, base, _over(base, view, chunks, policy))


def _over(base: LinksBase, view: View, chunks: Ids, policy: KeyPolicy) -> Links:
    """The links of a view that differs from their base."""
    graph, evidence = view.graph, view.evidence
    rows, told_in = evidence.extra_pairs()
    mentions = (lookup(graph.base.relations, rows) < 0) & ~np.isin(rows, id_array(graph.overlay.added))
    known = base.nodes[base.is_chunk]
    gone = np.concatenate([known[lookup(chunks, known) < 0], id_array(evidence.gone)])
    new = chunks[(lookup(known, chunks) < 0) | np.isin(chunks, gone)]
    added = [(relation, *ends) for relation, ends in graph.overlay.added.items()]
    columns = np.array(added, dtype=np.int64).reshape(-1, 3)
    return Links(
        base,
        added=(columns[:, 0], columns[:, 1], columns[:, 2]),
        pairs=(rows[mentions], told_in[mentions]),
        chunks=new,
        titles=_titles(view, new, {}, policy),
        gone_relations=graph.overlay.gone,
        gone_chunks=gone,
    )


def _titles(view: View, chunks: Ids, known: Mapping[int, int], policy: KeyPolicy) -> Mapping[int, int]:
    """The node of the title that each chunk's text begins with, if it does."""
    ids = chunks.tolist()
    found = {id_: known[id_] for id_ in ids if id_ in known}
    for id_, text in _texts(view, [id_ for id_ in ids if id_ not in known]).items():
        title = title_of(text)
        node = node_of(title, view.aliases, policy) if title else None
        if node is not None:
            found[id_] = node
    return found


def _texts(view: View, ids: Sequence[int]) -> dict[int, str]:
    return {id_: piece[5] for id_, piece in view.pieces.get(ids).items()}
