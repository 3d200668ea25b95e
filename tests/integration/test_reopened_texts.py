"""Texts come back from the file as they were, whatever characters a caller's extractor puts into them."""

from pathlib import Path

import pytest

from stateless_rag import Document, Engine
from stateless_rag.context import Context
from stateless_rag.text import entity_key
from stateless_rag.types import Chunk, EntityMention, Extraction, RelationMention


class Marking:
    """Finds two entities and a relation whose names, types and descriptions hold a mark."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def generation(self, _: Context) -> str:
        return "marking-1"

    async def extract(self, context: Context, chunk: Chunk) -> Extraction:
        mark, generation = self.mark, self.generation(context)
        names = [f"Ada{mark}Lovelace", f"Bob{mark}"]
        keys = [entity_key(name, "casefold") for name in names]
        relation = RelationMention(
            chunk.id, generation, keys[0], keys[1], names[0], names[1], (f"met{mark}",), f"they{mark}met"
        )
        return Extraction(
            chunk_id=chunk.id,
            generation=generation,
            entities=tuple(
                EntityMention(chunk.id, generation, key, name, f"a{mark}type", f"{mark}told")
                for key, name in zip(keys, names, strict=True)
            ),
            relations=(relation,),
        )


@pytest.mark.parametrize("mark", ["\x1e", "\x00", ":", ",1:", "\u0301", "👨\u200d👩"])
async def test_what_was_found_is_the_same_after_reopening(tmp_path: Path, mark: str) -> None:
    seen = []
    for again in (False, True):
        async with Engine.open(tmp_path, extractor=Marking(mark)) as engine:
            if not again:
                await engine.insert(Document("They met.", id="d"))
            found = await engine.retrieve("Ada Lovelace met Bob", mode="local")
            seen.append((found.entities, found.relations))
    assert seen[0] == seen[1]
    names = {entity.name for entity in seen[1][0]}
    assert names == {f"Ada{mark}Lovelace", f"Bob{mark}"}
