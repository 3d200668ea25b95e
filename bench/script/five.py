"""`python -m bench.script.five`: five façade instances that insert at once, and in turn, with an LLM that takes 200 ms.

Writes the table into docs/coming-from-lightrag.md.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.providers import RuledLLM, complete_with, embed_with
from bench.script.script import DIMENSION, texts_of_corpus
from stateless_rag.interop.lightrag import EmbeddingFunc, LightRAG
from stateless_rag.providers.hashing import HashingEmbedder

__all__ = ["Taken", "measure", "table"]

_PAGE = Path(__file__).parents[2] / "docs" / "coming-from-lightrag.md"
_BEGIN, _END = "<!-- measured by python -m bench.script.five -->", "<!-- end of five at once -->"
_INSTANCES = 5
_LATENCY = 0.2  # seconds
_SIZES = (1, 6)  # documents for each instance
_REPETITIONS = 3


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds for all instances: on the clock, of the processor; and calls of the LLM."""

    wall: float
    cpu: float
    calls: int


async def measure(folder: Path, texts: Sequence[str], *, at_once: bool, latency: float = _LATENCY) -> Taken:
    """Make, fill and close five instances, each in a folder of its own below an empty one."""
    calls = 0
    complete = complete_with(RuledLLM())
    embed = embed_with(HashingEmbedder(dimension=DIMENSION))  # made once, as a model is

    async def slow(prompt: str, **named: Any) -> str:
        nonlocal calls
        calls += 1
        await asyncio.sleep(latency)
        return await complete(prompt, **named)

    async def one(place: Path) -> Mapping[str, int]:
        rag = LightRAG(
            working_dir=str(place),
            llm_model_func=slow,
            embedding_func=EmbeddingFunc(embedding_dim=DIMENSION, max_token_size=8191, func=embed),
        )
        await rag.ainsert(list(texts))
        counts: Mapping[str, int] = await rag.get_processing_status()
        await rag.finalize_storages()
        return counts

    wall, cpu = time.perf_counter(), time.process_time()
    inserts = [one(folder / str(number)) for number in range(_INSTANCES)]
    found = await asyncio.gather(*inserts) if at_once else [await each for each in inserts]
    taken = Taken(time.perf_counter() - wall, time.process_time() - cpu, calls)
    if [counts["processed"] for counts in found] != [len(texts)] * _INSTANCES:
        raise RuntimeError(f"not all documents were processed: {found}")
    return taken


def table(measured: Mapping[int, Sequence[tuple[Taken, Taken]]]) -> str:
    """Medians of pairs of in turn and at once, by the number of documents."""
    lines = [
        "| documents for each | LLM calls | in turn, s | at once, s | at once / in turn | processor, s for each |",
        "|---|---|---|---|---|---|",
    ]
    for documents, pairs in measured.items():
        turn, together = (statistics.median(pair[n].wall for pair in pairs) for n in (0, 1))
        ratio = statistics.median(pair[1].wall / pair[0].wall for pair in pairs)
        cpu = statistics.median(pair[1].cpu for pair in pairs) / _INSTANCES
        lines.append(
            f"| {documents} | {pairs[0][0].calls} | {turn:.2f} | {together:.2f} | {ratio:.2f} | {cpu:.2f} |"
        )
    return "\n".join(lines)


def _measured() -> dict[int, list[tuple[Taken, Taken]]]:
    texts = texts_of_corpus()
    found: dict[int, list[tuple[Taken, Taken]]] = {}
    with tempfile.TemporaryDirectory(prefix="stateless-rag-five-") as scratch:
        # What a process does once, imports above all, belongs to neither.
        asyncio.run(measure(Path(scratch, "warm"), texts[:1], at_once=True, latency=0.0))
        for size in _SIZES:
            for number in range(_REPETITIONS):
                place = Path(scratch, f"{size}-{number}")
                pair = [
                    asyncio.run(measure(place / str(at_once), texts[:size], at_once=at_once))
                    for at_once in (False, True)
                ]
                found.setdefault(size, []).append((pair[0], pair[1]))
    return found


def main() -> None:
    """Measure, and write."""
    told = table(_measured())
    page = _PAGE.read_text(encoding="utf-8")
    before, after = page.split(_BEGIN)[0], page.split(_END)[1]
    _PAGE.write_text(f"{before}{_BEGIN}\n\n{told}\n\n{_END}{after}", encoding="utf-8")
    print(told)


if __name__ == "__main__":
    main()
