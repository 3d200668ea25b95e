"""What the inner loops work on: a thousand passages and what the rules extract from them."""

import pytest

from bench.corpus import Passage, passages
from stateless_rag import Context
from stateless_rag.stages.extract import to_delta
from stateless_rag.stages.records import ParsedReply, parse_records
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.testing.deterministic import render_records
from stateless_rag.text import digest, entity_key
from stateless_rag.types import EntityMention, Extraction, GraphDelta, RelationMention

_SIZE = 1000
_PARTS = 10


@pytest.fixture(scope="session")
def context() -> Context:
    context = Context.create(llm=DeterministicLLM(), embedder=DeterministicEmbedder())
    context.tokenizer.count("built before it is timed")
    return context


@pytest.fixture(scope="session")
def texts() -> list[Passage]:
    return passages("wide", _SIZE)


@pytest.fixture(scope="session")
def replies(texts: list[Passage]) -> list[str]:
    llm = DeterministicLLM()
    return [render_records(*llm.records(passage.text), json_mode=False) for passage in texts]


@pytest.fixture(scope="session")
def deltas(replies: list[str]) -> list[GraphDelta]:
    """The mentions of all replies, in ten deltas."""
    extractions = [_extraction(number, parse_records(reply)) for number, reply in enumerate(replies)]
    return [to_delta(extractions[part::_PARTS]) for part in range(_PARTS)]


def _extraction(number: int, reply: ParsedReply) -> Extraction:
    chunk, generation = digest(str(number)), "bench"
    entities = tuple(
        EntityMention(chunk, generation, entity_key(name), name, type_, description)
        for name, type_, description in reply.entities
    )
    relations = tuple(
        RelationMention(
            chunk,
            generation,
            entity_key(source),
            entity_key(target),
            source,
            target,
            tuple(words),
            description,
        )
        for source, target, words, description in reply.relations
    )
    return Extraction(chunk_id=chunk, generation=generation, entities=entities, relations=relations)
