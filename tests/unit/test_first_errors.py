"""An error that ends work side by side comes as it is, with what caused it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from stateless_rag.calls import embed_texts
from stateless_rag.context import Context
from stateless_rag.errors import Overloaded
from stateless_rag.stages.extract import extract
from unit.scripted import Letters, a_chunk, make


class Full:
    """Refuses all it is asked for, because of something else."""

    def refuse(self) -> None:
        try:
            raise LookupError("the cause")
        except LookupError as cause:
            raise Overloaded("full", retry_after=1.0) from cause

    def generation(self, _: Context) -> str:
        return "full"

    async def extract(self, *_: object) -> None:
        self.refuse()


class FullLetters(Letters):
    async def embed(self, *_: object, **__: object) -> None:  # type: ignore[override]
        Full().refuse()


WORK: dict[str, Callable[[], Awaitable[object]]] = {
    "extract": lambda: extract(make(extractor=Full()), [a_chunk(number=n) for n in range(4)]),
    "embed": lambda: embed_texts(make(embedder=FullLetters()), list("abcdefgh"), role="query"),
}


@pytest.mark.parametrize("work", WORK)
async def test_the_first_error_keeps_its_cause(work: str) -> None:
    with pytest.raises(Overloaded) as raised:
        await WORK[work]()
    assert isinstance(raised.value.__cause__, LookupError)
