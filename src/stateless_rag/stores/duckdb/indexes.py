"""What only some questions need of a workspace: the index of words and the links to walk along, made at the first
such question and brought up to date by the commits and questions after it. They can always be made again of what
the views hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow.compute as pc

from stateless_rag.providers.cooccurrence import title_of
from stateless_rag.stores.ids import arrow_ids, id_array, lookup
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
    """Links, and the parts of the views that they and their base were made of. `heads` has the node of the title that
    each document begins with, by its first chunk, `titled` the titles of the base: ids of chunks, ascending, and of
    their titles' nodes, 0 for none.
    """

    sources: tuple[Any, ...]
    base_sources: tuple[Any, ...]
    base: LinksBase
    links: Links
    heads: Mapping[int, int]
    titled: tuple[Ids, Ids]


@dataclass(frozen=True, slots=True, eq=False)
class _Worded:
    """The index of words, and the part of the view that it was made of."""

    sources: tuple[Any, ...]
    index: WordIndex


State = TypeVar("State", _Worded, _Linked)


class Indexes:
    """Shared by all views of a workspace. Any thread may ask; one at a time makes what is missing.

    Held are those of the last committed view and of the one that a commit makes: where questions have asked since
    the commit before, it makes them for its view, and no question has to wait for that.
    """

    def __init__(self) -> None:
        self._words_lock = Lock()
        self._links_lock = Lock()
        self._worded: tuple[_Worded, ...] = ()
        self._linked: tuple[_Linked, ...] = ()
        self._words_asked = False
        self._links_asked: KeyPolicy | None = None

    @property
    def nbytes(self) -> int:
        """Bytes held in memory; what two of a kind share is counted once."""
        worded, linked = self._worded, self._linked
        return (worded[0].index.nbytes if worded else 0) + (linked[0].links.nbytes if linked else 0)

    def worded(self, view: View) -> bool:
        """Whether the words of this view's chunks are in memory."""
        return _made_of(self._worded, (view.pieces,)) is not None

    def walked(self, view: View) -> bool:
        """Whether the links of this view are in memory."""
        return _made_of(self._linked, _linked_parts(view)) is not None

    def words(self, view: View) -> WordIndex:
        """The words of the view's chunks."""
        self._words_asked = True
        return self._words_of(view)

    def links(self, view: View, policy: KeyPolicy) -> Links:
        """The links of the view's entities and chunks."""
        self._links_asked = policy
        return self._links_of(view, policy)

    def advance(self, view: View) -> None:
        """Make for a view that is about to be committed what was asked for since the last one."""
        if self._words_asked:
            self._words_asked = False
            self._words_of(view)
        if self._links_asked is not None:
            policy, self._links_asked = self._links_asked, None
            self._links_of(view, policy)

    def settle(self, view: View) -> None:
        """The view was committed: free what others were made of, unless it is in use just now."""
        if self._words_lock.acquire(blocking=False):
            worded = _made_of(self._worded, (view.pieces,))
            self._worded = self._worded if worded is None else (worded,)
            self._words_lock.release()
        if self._links_lock.acquire(blocking=False):
            linked = _made_of(self._linked, _linked_parts(view))
            self._linked = self._linked if linked is None else (linked,)
            self._links_lock.release()

    def _words_of(self, view: View) -> WordIndex:
        sources = (view.pieces,)
        if (found := _made_of(self._worded, sources)) is None:
            with self._words_lock:
                if (found := _made_of(self._worded, sources)) is None:
                    known = self._worded[0].index if self._worded else WordIndex()
                    found = _Worded(sources, _next_words(known, view))
                    self._worded = (found, *self._worded[:1])
        return found.index

    def _links_of(self, view: View, policy: KeyPolicy) -> Links:
        sources = _linked_parts(view)
        if (found := _made_of(self._linked, sources)) is None:
            with self._links_lock:
                if (found := _made_of(self._linked, sources)) is None:
                    known = self._linked[0] if self._linked else None
                    found = _next_links(known, sources, view, policy)
                    self._linked = (found, *self._linked[:1])
        return found.links


def _linked_parts(view: View) -> tuple[Any, ...]:
    return view.graph, view.evidence, view.pieces, view.aliases


def _made_of(states: tuple[State, ...], sources: tuple[Any, ...]) -> State | None:
    return next((state for state in states if _same(state.sources, sources)), None)


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
    heads = {} if known is None or known.base_sources[2] is not view.aliases else known.heads
    titles, heads = _titles(view, heads, policy)
    titled = titles
    if known is None or not _same(known.base_sources, base_sources):
        rows, told_in = evidence.base.pairs()
        mentions = (lookup(graph.base.relations, rows) < 0) & ~np.isin(rows, id_array(graph.overlay.added))
        base = LinksBase.of(
            (graph.base.relations, graph.base.left, graph.base.right),
            (rows[mentions], told_in[mentions]),
            chunks,
            _by_chunk(*titles),
        )
    else:
        base, titled = known.base, known.titled
    return _Linked(sources, base_sources, base, _over(base, view, chunks, titled, titles), heads, titled)


def _over(
    base: LinksBase, view: View, chunks: Ids, titled: tuple[Ids, Ids], titles: tuple[Ids, Ids]
) -> Links:
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
        titles=_changed(titled, titles, new),
        gone_relations=graph.overlay.gone,
        gone_chunks=gone,
    )


def _by_chunk(ids: Ids, nodes: Ids) -> dict[int, int]:
    return {id_: node for id_, node in zip(ids.tolist(), nodes.tolist(), strict=True) if node}


def _changed(before: tuple[Ids, Ids], now: tuple[Ids, Ids], new: Ids) -> Mapping[int, int | None]:
    """The titles of chunks that are new, or had another one before."""
    ids, nodes = now
    at = lookup(before[0], ids)
    other = np.flatnonzero((lookup(new, ids) >= 0) | (np.append(before[1], 0)[at] != nodes))
    return {id_: node or None for id_, node in zip(ids[other].tolist(), nodes[other].tolist(), strict=True)}


def _titles(
    view: View, known: Mapping[int, int], policy: KeyPolicy
) -> tuple[tuple[Ids, Ids], dict[int, int]]:
    """The chunks, ascending, with the node of the title that their document begins with, 0 without one; and the same
    for first chunks alone. What is `known` of those is not read again: a chunk's id follows from its text.
    """
    ids, table = view.pieces.columns(("document_id", "ordinal"))
    first = np.flatnonzero(table.column("ordinal").to_numpy() == 0)
    documents = table.column("document_id")
    head = pc.index_in(documents, value_set=pc.take(documents, arrow_ids(first)).combine_chunks())
    chunks = ids[first].tolist()
    heads = {id_: known[id_] for id_ in chunks if id_ in known}
    for id_, text in _texts(view, [id_ for id_ in chunks if id_ not in known]).items():
        title = title_of(text)
        heads[id_] = (node_of(title, view.aliases, policy) if title else None) or 0
    nodes = np.append(id_array(heads[id_] for id_ in chunks), 0)[head.fill_null(-1).to_numpy()]
    order = np.argsort(ids)
    return (ids[order], nodes[order]), heads


def _texts(view: View, ids: Sequence[int]) -> dict[int, str]:
    return {id_: piece[5] for id_, piece in view.pieces.get(ids).items()}
