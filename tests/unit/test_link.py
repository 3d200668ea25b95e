"""Link: which names of a question lead to entities and titles."""

from __future__ import annotations

import pytest

from stateless_rag.retrieval.link import keyword_nodes, named_nodes
from stateless_rag.testing.snapshot import MemorySnapshot
from stateless_rag.types import Entity
from unit.scripted import passage

TEXTS = {
    "c1": "Hello Love (song)\nHello Love is a single by Hank Snow, and his last number one in the charts.",
    "c2": "Tennessee\nTennessee is a state in the south of the United States, with many rivers and cities.",
    "c3": "History of rock music\nRock music began in the fifties, and nobody knows exactly where or when.",
    "c4": "No title. Only sentences, of the euro and of 东京.",
}
MENTIONS = {
    "Hank Snow": ["c1"],
    "Snow": ["c2"],
    "euro": ["c4"],
    "state": ["c2"],
    "Who": ["c3"],
    "1949": ["c1"],
    "东京": ["c4"],
    "Nobody": [],
}


def entity(name: str) -> Entity:
    return Entity(key=name.casefold(), name=name, type="", description="", weight=1)


def snapshot() -> MemorySnapshot:
    return MemorySnapshot(
        entities=map(entity, MENTIONS),
        passages=[passage(id_, text) for id_, text in TEXTS.items()],
        mentions=MENTIONS,
    )


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("Where did Hank Snow live?", ["Hank Snow"]),  # the longest name, not "Snow" too
        ("Did Snow fall in Tennessee?", ["Snow", "Tennessee"]),
        ("Who sang Hello Love?", ["Hello Love"]),  # a title without its remark in parentheses; not "Who"
        ("What is the history of rock music?", ["history of rock music"]),  # titles of several words
        ("In which state is it? What is tennessee?", []),  # small in the texts, or in the question
        ("When did the Euro come?", []),
        ("What happened in 1949?", []),
        ("东京 在哪里?", ["东京"]),
        ("Where did Hänk Snów live?", ["Hänk Snów"]),  # accents that the texts lack
        ("Who is Nobody?", []),  # no chunk tells of it
        ("?", []),
    ],
)
def test_names_of_a_question(question: str, names: list[str]) -> None:
    whole = snapshot()
    assert [found.name for found in named_nodes(whole, whole.links(), question)] == names


def test_a_named_node_knows_how_many_chunks_it_leads_to() -> None:
    whole = snapshot()
    (found,) = named_nodes(whole, whole.links(), "Tell me of Hank Snow")
    assert (found.chunks, found.id) == (1, whole.node("hank snow"))


def test_keywords_are_taken_as_they_are() -> None:
    whole = snapshot()
    found = keyword_nodes(whole, whole.links(), ("STATE", "nowhere", "Nobody", "hello love"))
    assert [named.name for named in found] == ["STATE", "hello love"]
