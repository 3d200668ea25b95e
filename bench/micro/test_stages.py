"""The stages that run for every chunk."""

from typing import Any

from bench.corpus import Passage
from stateless_rag import Context, Document
from stateless_rag.stages import chunk, merge
from stateless_rag.stages.merge import fold_entities, fold_relations, resolver
from stateless_rag.stages.records import parse_records
from stateless_rag.types import GraphDelta


def test_chunk(benchmark: Any, context: Context, texts: list[Passage]) -> None:
    document = Document("\n\n".join(passage.text for passage in texts), id="long")
    chunks = benchmark(chunk, context, document)
    assert sum(len(piece.text) for piece in chunks) > 0.9 * len(document.text)


def test_parse(benchmark: Any, replies: list[str]) -> None:
    parsed = benchmark(lambda: [parse_records(reply) for reply in replies])
    assert all(reply.complete for reply in parsed)


def test_merge(benchmark: Any, context: Context, deltas: list[GraphDelta]) -> None:
    whole = benchmark(merge, context, *deltas)
    assert len(whole.entities) == len(frozenset().union(*(delta.entities for delta in deltas)))


def test_fold(benchmark: Any, context: Context, deltas: list[GraphDelta]) -> None:
    whole = merge(context, *deltas)
    resolve, settings = resolver({}), context.settings.merging
    entities, relations = benchmark(
        lambda: (
            fold_entities(whole.entities, resolve, settings.description_texts),
            fold_relations(whole.relations, resolve, settings.description_texts, settings.relation_keywords),
        )
    )
    assert len(entities) > 0 < len(relations)
