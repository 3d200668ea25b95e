"""Metadata filters: nothing of an excluded document is found, shown or counted, in any mode.

Each document has a canary, a word that stands in its id, source, metadata, names, types, keywords and texts, and
in those of no other document.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laws.generators import CountingEmbedder, aliases, chunks, settings
from laws.profiles import examples
from laws.workspaces import new_store, opened
from stateless_rag.engine import Engine
from stateless_rag.errors import ProviderUnavailable
from stateless_rag.filters import MetadataFilter, checked_filter
from stateless_rag.protocols import Embeddings
from stateless_rag.settings import MergeSettings, QueryOptions
from stateless_rag.stores import columns, evidence
from stateless_rag.types import Document, Keywords, Mode, Retrieval

CANARIES = tuple(f"qz{letter}xv" for letter in "abcdef")
MODES = tuple(mode for mode in get_args(Mode) if mode != "bypass")
SEEDED: tuple[Mode, ...] = ("naive", "local", "global", "hybrid")
QUESTION = "Who wrote letters about Ada and Zuse?"
EVERYTHING = QueryOptions(
    top_k=200,
    chunk_top_k=200,
    related_chunks=200,
    min_similarity=-1.0,
    max_total_tokens=1_000_000,
    max_entity_tokens=100_000,
    max_relation_tokens=100_000,
    low_level_keywords=("Ada", "Zuse", *CANARIES),
    high_level_keywords=("letters", *CANARIES),
)
WHOLE = MergeSettings(description_texts=500, relation_keywords=500, summarize_from=500)


@pytest.fixture(autouse=True)
def _small_overlays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_OVERLAY", 4)
    monkeypatch.setattr(evidence, "_OVERLAY", 8)


# ---- documents with canaries, and filters ----------------------------------------------------------------


def marked(text: str, canary: str) -> str:
    """The statements with the canary in every type, keyword list and description, and one of its own."""
    lines = []
    for line in text.splitlines():
        parts = line.split(" | ")
        if len(parts) > 1:
            parts[2:] = [f"{part} {canary}".strip() for part in parts[2:]]
        lines.append(" | ".join(parts))
    own = [
        f"entity | Only {canary} | Person | is {canary}",
        f"relation | Only {canary} | Ada | {canary} | knew",
    ]
    return "\n".join(lines) + "\n\n" + "\n".join(own)


def made(canary: str, text: str, group: int, tags: Sequence[str]) -> Document:
    metadata = {"group": group, "tags": list(tags), "told": canary}
    return Document(marked(text, canary), id=f"id-{canary}", source=f"{canary}.txt", metadata=metadata)


@st.composite
def marked_corpora(draw: st.DrawFn) -> list[Document]:
    count = draw(st.integers(2, len(CANARIES)))
    texts = st.lists(chunks(), max_size=3).map("\n\n".join)
    tags = st.lists(st.sampled_from("xyz"), max_size=2)
    return [made(canary, draw(texts), draw(st.integers(0, 2)), draw(tags)) for canary in CANARIES[:count]]


def filters() -> st.SearchStrategy[dict[str, Any]]:
    canaries = st.sampled_from(CANARIES)
    leaves = st.one_of(
        st.fixed_dictionaries({"group": st.integers(0, 2)}),
        st.fixed_dictionaries({"group": st.fixed_dictionaries({"gte": st.integers(0, 2)})}),
        st.fixed_dictionaries({"tags": st.fixed_dictionaries({"in": st.lists(st.sampled_from("xyz"))})}),
        st.fixed_dictionaries({"told": canaries}),
        st.fixed_dictionaries({"$id": canaries.map("id-{}".format)}),
        st.fixed_dictionaries({"$source": canaries.map("{}.txt".format)}),
    )
    return st.recursive(
        leaves,
        lambda parts: st.one_of(
            st.fixed_dictionaries({"$not": parts}),
            st.fixed_dictionaries({"$or": st.lists(parts, min_size=1, max_size=3)}),
            st.fixed_dictionaries({"$and": st.lists(parts, min_size=1, max_size=2)}),
        ),
        max_leaves=4,
    )


@dataclass(frozen=True)
class History:
    """Documents as they end up, and how a workspace gets there."""

    documents: list[Document]
    steps: Callable[[Engine], Any]
    aliases: list[tuple[str, str]]

    def split(self, condition: Any) -> tuple[list[Document], list[str]]:
        """The documents that meet a filter, and the canaries of the others."""
        checked = checked_filter("filter", condition)
        assert isinstance(checked, MetadataFilter)
        met = [d for d in self.documents if checked.holds(d.metadata, str(d.id), d.source)]
        return met, [canary for canary in CANARIES if f"id-{canary}" not in {d.id for d in met}]


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Inserted in two batches; then one may be deleted, one updated, and one given other metadata."""
    first = draw(marked_corpora())
    at = draw(st.integers(1, len(first)))
    gone = draw(st.sampled_from([None, *range(len(first))]))
    updated = draw(st.sampled_from([None, *range(len(first))]))
    moved = draw(st.sampled_from([None, *range(len(first))]))
    pairs = draw(aliases())
    last = list(first)
    if updated is not None:
        last[updated] = made(CANARIES[updated], draw(chunks()), draw(st.integers(0, 2)), [])
    if moved is not None:
        last[moved] = replace(
            last[moved], metadata={**last[moved].metadata, "group": draw(st.integers(0, 2))}
        )

    async def steps(engine: Engine) -> None:
        await engine.insert(first[:at])
        for pair in pairs:
            await engine.alias(*pair)
        await engine.insert(first[at:])
        for place in (updated, moved):
            if place is not None:
                await engine.insert(last[place])
        if gone is not None:
            await engine.delete(str(first[gone].id))

    left = [document for place, document in enumerate(last) if place != gone]
    return History(left, steps, pairs)


# ---- laws --------------------------------------------------------------------------------------------------


def shown(retrieval: Retrieval) -> str:
    """All that is told, but for what was asked."""
    return repr(replace(retrieval, question="", keywords=Keywords(), timings={})).casefold()


@given(histories(), st.lists(filters(), min_size=1, max_size=2))
@examples(12)
def test_nothing_of_an_excluded_document_is_shown(history: History, conditions: list[Any]) -> None:
    async def check() -> None:
        async with new_store() as store, opened(store) as engine:
            await history.steps(engine)
            for condition in conditions:
                allowed, excluded = history.split(condition)
                for mode in MODES:
                    asked = replace(EVERYTHING, mode=mode, metadata_filter=condition)
                    retrieval = await engine.retrieve(QUESTION, options=asked)
                    prompt = await engine.query(QUESTION, options=replace(asked, only_prompt=True))
                    told = shown(retrieval) + prompt.text.casefold()
                    assert [canary for canary in excluded if canary in told] == [], mode
                    if mode == "naive":
                        found = {passage.document_id for passage in retrieval.passages}
                        assert found == {document.id for document in allowed}

    asyncio.run(check())


@given(histories(), filters())
@examples(20)
def test_a_filter_shows_what_the_allowed_documents_alone_would(history: History, condition: Any) -> None:
    chosen = replace(settings(), merging=WHOLE)

    async def check() -> None:
        allowed, _ = history.split(condition)
        async with (
            new_store() as store,
            opened(store, "all", chosen=chosen) as every,
            opened(store, "allowed", chosen=chosen) as alone,
        ):
            await history.steps(every)
            await alone.insert(allowed)
            for pair in history.aliases:
                await alone.alias(*pair)
            for mode in SEEDED:
                asked = replace(EVERYTHING, mode=mode)
                one = await every.retrieve(QUESTION, options=replace(asked, metadata_filter=condition))
                other = await alone.retrieve(QUESTION, options=asked)
                assert {e.key: e for e in one.entities} == {e.key: e for e in other.entities}, mode
                assert {ends(r): r for r in one.relations} == {ends(r): r for r in other.relations}, mode
                assert {p.chunk_id for p in one.passages} == {p.chunk_id for p in other.passages}, mode
                assert one.found == other.found, mode
                if mode == "local":  # by degrees and weights
                    assert [ends(r) for r in one.relations] == [ends(r) for r in other.relations]
            for mode in MODES:  # vectors, and so the choice, may differ, but not what is said
                asked = replace(EVERYTHING, mode=mode, metadata_filter=condition)
                one = await every.retrieve(QUESTION, options=asked)
                assert set(one.entities) <= set(other.entities), mode
                assert set(one.relations) <= set(other.relations), mode

    asyncio.run(check())


def ends(relation: Any) -> frozenset[str]:
    return frozenset((relation.source_key, relation.target_key))


@given(histories(), st.booleans())
@examples(8)
def test_a_filter_that_allows_everything_changes_no_passage(history: History, sampled: bool) -> None:
    """Of keys with more than k mentions a sample tells the names, and so what `found_by` calls them."""
    chosen = settings() if sampled else replace(settings(), merging=WHOLE)

    async def check() -> None:
        async with new_store() as store, opened(store, chosen=chosen) as engine:
            await history.steps(engine)
            for mode in MODES:
                asked = replace(EVERYTHING, mode=mode, chunk_top_k=4, related_chunks=2)
                whole = await engine.retrieve(QUESTION, options=asked)
                every = replace(asked, metadata_filter={"$id": {"exists": True}})
                filtered = await engine.retrieve(QUESTION, options=every)
                assert [(p.chunk_id, p.score, p.similarity) for p in filtered.passages] == [
                    (p.chunk_id, p.score, p.similarity) for p in whole.passages
                ]
                assert filtered.references == whole.references
                assert filtered.found == whole.found
                assert [(e.key, e.weight) for e in filtered.entities] == [
                    (e.key, e.weight) for e in whole.entities
                ]
                if not sampled:
                    assert filtered.context == whole.context
                    assert filtered.passages == whole.passages

    asyncio.run(check())


@given(histories(), filters())
@examples(8)
def test_under_a_filter_no_value_is_a_summary_and_at_most_k_texts_are_told(
    history: History, condition: Any
) -> None:
    async def check() -> None:
        async with new_store() as store, opened(store) as engine:
            await history.steps(engine)
            asked = replace(EVERYTHING, mode="hybrid", metadata_filter=condition)
            found = await engine.retrieve(QUESTION, options=asked)
            k = settings().merging.description_texts
            told = [row.description for row in found.entities] + [row.description for row in found.relations]
            assert [text for text in told if "in short:" in text or len(text.splitlines()) > k] == []

    asyncio.run(check())


class SilentOnQuestions(CountingEmbedder):
    """Embeds documents only."""

    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
        if role == "query":
            raise ProviderUnavailable("no questions today")
        return await super().embed(texts, role=role)


@given(histories(), filters())
@examples(8)
def test_words_in_place_of_vectors_keep_to_the_filter(history: History, condition: Any) -> None:
    async def check() -> None:
        async with new_store() as store, opened(store, embedder=SilentOnQuestions()) as engine:
            await history.steps(engine)
            allowed, excluded = history.split(condition)
            asked = replace(EVERYTHING, mode="mix", metadata_filter=condition, on_provider_error="degrade")
            retrieval = await engine.retrieve(" ".join(CANARIES), options=asked)
            assert [canary for canary in excluded if canary in shown(retrieval)] == []
            assert {p.document_id for p in retrieval.passages} == {document.id for document in allowed}

    asyncio.run(check())
