"""What a commit writes into the rows of entities and relations."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from stateless_rag import Document, Engine, Entity, ExtractSettings, Relation, Settings
from stateless_rag.retrieval.render import entity_line, relation_line
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM


class Characters:
    """A token is a character, so that lines of other texts have other counts."""

    name = "characters"

    def count(self, text: str) -> int:
        return len(text)

    def offsets(self, text: str) -> Sequence[int]:
        return range(len(text))


def engine(root: Path) -> Any:
    return Engine.open(
        root,
        settings=Settings(extraction=ExtractSettings(gleaning=0)),
        llm=DeterministicLLM(),
        embedder=DeterministicEmbedder(),
        tokenizer=Characters(),
    )


async def rows_of(opened: Engine) -> tuple[dict[str, Entity], list[Relation]]:
    graph = await opened.graph()
    return {entity.key: entity for entity in graph.nodes()}, graph.edges()


def check(entities: Collection[Entity], relations: Collection[Relation]) -> None:
    for entity in entities:
        assert entity.tokens == len(entity_line(entity)) + 1, entity
    for relation in relations:
        assert relation.tokens == len(relation_line(relation)) + 1, relation


async def test_rows_keep_the_tokens_of_their_lines_through_changes_and_opening_again(tmp_path: Path) -> None:
    async with engine(tmp_path) as opened:
        await opened.insert(
            [
                Document("Ada Lovelace met Charles Babbage in London.", id="one"),
                Document('Alan Turing met the "Enigma Machine" in Bletchley.', id="two"),
            ]
        )
        first, relations = await rows_of(opened)
        assert len(first) > 3 and relations
        check(first.values(), relations)
        await opened.insert(Document("Mary Somerville taught Ada Lovelace for many years.", id="three"))
        second, relations = await rows_of(opened)
        check(second.values(), relations)
        assert any(second[key].tokens != entity.tokens for key, entity in first.items())
    async with engine(tmp_path) as opened:
        entities, relations = await rows_of(opened)
        assert {key: entity.tokens for key, entity in entities.items()} == {
            key: entity.tokens for key, entity in second.items()
        }
        check(entities.values(), relations)
