"""What the rows of a change still lack: vectors and tokens."""

from __future__ import annotations

import threading

import pytest

from stateless_rag.completing import completed
from stateless_rag.errors import ProviderError, ProviderUnavailable
from stateless_rag.protocols import Change, EntityRow, RelationRow
from stateless_rag.retrieval.render import entity_line, relation_line
from stateless_rag.types import Entity, Relation
from unit.scripted import Letters, Memory, Words, make


def change(count: int) -> Change:
    entities = [
        Entity(key=f"e{n}", name=f"E{n}", type="t", description="a b " * (n % 5), weight=n)
        for n in range(count)
    ]
    relations = [
        Relation(
            source_key=f"e{n}",
            target_key="x",
            source=f"E{n}",
            target="X",
            keywords=("k", "l"),
            description="c " * (n % 7),
            weight=2,
        )
        for n in range(count)
    ]
    return Change(
        base=3,
        entities=tuple(EntityRow(id=n, entity=e, state="s", vector="v") for n, e in enumerate(entities)),
        relations=tuple(
            RelationRow(id=n, left=1, right=2, relation=r, state="s", vector="v")
            for n, r in enumerate(relations)
        ),
        vectors={},
    )


@pytest.mark.parametrize("count", [0, 3, 5000])
async def test_tokens_are_those_of_the_lines_and_nothing_else_changes(count: int) -> None:
    tokenizer = Words()
    before = change(count)
    after = await completed(make(embedder=Letters(), tokenizer=tokenizer), before, {"v": "word"})
    counted = [(row.entity.tokens, entity_line(row.entity)) for row in after.entities]
    counted += [(row.relation.tokens, relation_line(row.relation)) for row in after.relations]
    assert [tokens for tokens, _ in counted] == [len(line.split()) for _, line in counted]
    # Tokens do not count when values are compared.
    assert (after.entities, after.relations, after.base) == (before.entities, before.relations, before.base)
    assert list(after.vectors) == ["v"]
    here = tokenizer.threads.count(threading.get_ident())
    assert here == 1  # what the embedder was given


@pytest.mark.parametrize("error", [ProviderUnavailable("gone"), ProviderError("no")])
async def test_an_embedder_that_fails_raises_its_own_error(error: ProviderError) -> None:
    context = make(embedder=Letters(*[error] * 9), journal=Memory())
    with pytest.raises(type(error), match=str(error)):
        await completed(context, change(2), {"v": "word"})
