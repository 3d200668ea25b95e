"""Writes `format_<n>.tar.xz`, a small root in the present format: to be run before the format changes.

`python tests/formats/write.py` in a checkout of the version whose format is to be kept; see test_formats.py.
"""

from __future__ import annotations

import asyncio
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Literal

from stateless_rag import Document, Engine, ExtractSettings, Settings, Store
from stateless_rag.settings import StoreSettings
from stateless_rag.stores.duckdb.migrations import FORMAT_VERSION
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM

DOCUMENTS = (
    Document(
        "Ada Lovelace met Charles Babbage in London. Alan Turing read Ada Lovelace.",
        id="one",
        source="one.txt",
        metadata={"year": 1843},
    ),
    Document("Grace Hopper wrote COBOL in Arlington.", id="two"),
)
_PLACEMENTS: tuple[Literal["root", "own"], ...] = ("root", "own")
WAITING = Document("Konrad Zuse built the Z3 in Berlin.", id="three")


class _Silent(DeterministicLLM):
    """Never answers about what is to stay pending."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def complete(self, *given: Any, **options: Any) -> Any:
        if "Zuse" in str((given, options)):
            self.asked.set()
            await asyncio.Event().wait()
        return await super().complete(*given, **options)


async def _fill(root: Path, placement: Literal["root", "own"]) -> None:
    settings = Settings(extraction=ExtractSettings(gleaning=0))
    llm = _Silent()
    async with (
        Store.open(root, StoreSettings(placement=placement)) as store,
        Engine.open(
            store, placement, llm=llm, embedder=DeterministicEmbedder(8), settings=settings
        ) as engine,
    ):
        await engine.insert(list(DOCUMENTS))
        await engine.alias("Ada Lovelace", "Ada")
        waiting = asyncio.create_task(engine.insert(WAITING))
        await llm.asked.wait()
        waiting.cancel()
        await asyncio.wait([waiting])


def _main() -> None:
    name = f"format_{FORMAT_VERSION}"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / name
        for placement in _PLACEMENTS:
            asyncio.run(_fill(root, placement))
        with tarfile.open(Path(__file__).parent / f"{name}.tar.xz", "w:xz") as packed:
            packed.add(root, arcname=name)


if __name__ == "__main__":
    _main()
