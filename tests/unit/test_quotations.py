"""What the built-in extractor quotes is not embedded once more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stateless_rag.context import Context
from stateless_rag.providers import HashingEmbedder
from stateless_rag.providers.cooccurrence import CooccurrenceExtractor
from stateless_rag.providers.within import EmbedderAround
from stateless_rag.stages.embed import entity_text, relation_text
from stateless_rag.testing.deterministic import DeterministicEmbedder
from stateless_rag.text import quotation, unquoted
from stateless_rag.types import Entity, Relation
from unit.scripted import a_chunk

QUOTED = quotation("Ada wrote it.")


@pytest.mark.parametrize(
    ("description", "embedded"),
    [
        ("", ""),
        ("A programmer.", "\nA programmer."),
        (QUOTED, ""),
        (f"{QUOTED}\nA programmer.\n{quotation('She was born in London')[:-4]}", "\nA programmer."),
        ("“A lady of numbers.”", "\n“A lady of numbers.”"),
        (f"“A lady of numbers.”\n{QUOTED}", "\n“A lady of numbers.”"),
        ("“Alien” is a film called “Alien”", "\n“Alien” is a film called “Alien”"),
        ("He said “no”.", "\nHe said “no”."),
        (quotation("She called it “Alien”"), ""),
    ],
)
def test_quotations_are_left_out(description: str, embedded: str) -> None:
    context = Context.create(llm=None, embedder=DeterministicEmbedder(8))
    entity = Entity(key="ada", name="Ada", type="name", description=description, weight=1)
    relation = Relation(
        source_key="ada",
        target_key="bob",
        source="Ada",
        target="Bob",
        keywords=("met",),
        description=description,
        weight=1,
    )
    assert entity_text(context, entity) == f"Ada{embedded}"
    assert relation_text(context, relation) == f"met\tAda\nBob{embedded}"


@given(st.lists(st.tuples(st.booleans(), st.text(st.sampled_from("ab “”‟"), min_size=1))))
def test_whatever_is_quoted(lines: list[tuple[bool, str]]) -> None:
    text = "\n".join(quotation(line) if quoted else f"a {line}" for quoted, line in lines)
    assert unquoted(text) == "\n".join(f"a {line}" for quoted, line in lines if not quoted)


def test_an_embedder_of_words_takes_in_what_is_quoted_of_an_entity() -> None:
    context = Context.create(llm=None, embedder=EmbedderAround(HashingEmbedder()))
    said = quotation("Ada met Bob.")
    entity = Entity(key="ada", name="Ada", type="name", description=said, weight=1)
    assert entity_text(context, entity) == f"Ada\n{said}"


async def test_the_builtin_extractor_quotes() -> None:
    context = Context.create(llm=None, embedder=HashingEmbedder())
    chunk = a_chunk("Ada Lovelace met Charles Babbage in London.")
    found = await CooccurrenceExtractor().extract(context, chunk)
    assert found.entities and found.relations
    said = [mention.description for mention in found.entities] + [
        mention.description for mention in found.relations
    ]
    assert all("Lovelace met" in text and unquoted(text) == "" for text in said)
