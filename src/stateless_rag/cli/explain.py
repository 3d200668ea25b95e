"""The command `explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from stateless_rag.cli.files import source_of
from stateless_rag.cli.options import Exit
from stateless_rag.cli.output import counted, jsonable, short_source
from stateless_rag.cli.query import ChunkTopK, TopK, Where, metadata_filter
from stateless_rag.cli.running import Place, placed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stateless_rag.engine import Engine
    from stateless_rag.types import Expected, Explanation, Reason, Trace

__all__ = ["explain"]

_NAMES = 5


@placed()
def explain(
    place: Place,
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    expect: Annotated[
        str | None,
        typer.Option("--expect", metavar="ID", help="Say what became of this document (id or file)."),
    ] = None,
    mode: Annotated[
        str, typer.Option("--mode", "-m", help="naive, local, global, hybrid, walk or mix.")
    ] = "mix",
    top_k: TopK = 40,
    chunk_top_k: ChunkTopK = 20,
    where: Where = None,
) -> None:
    """Say why each passage is found for a question, and which step lost an expected document. Answers nothing."""

    async def work() -> Explanation:
        options: dict[str, Any] = {"mode": mode, "top_k": top_k, "chunk_top_k": chunk_top_k}
        options["metadata_filter"] = metadata_filter(where)
        async with place.engine() as engine:
            wanted = None if expect is None else await _document_id(engine, expect)
            return await engine.explain(question, expect=wanted, **options)

    def show(found: Explanation) -> None:
        for line in _lines(found, expect):
            place.output.text(line)

    def verdict(found: Explanation) -> Exit:
        for step in found.retrieval.degraded:
            place.output.note(f"note: {step}")
        lost = found.expected is not None and found.expected.rank is None
        return Exit.NOTHING_FOUND if lost or found.retrieval.empty else Exit.OK

    place.run(work, show, as_json=_as_json, verdict=verdict)


async def _document_id(engine: Engine, named: str) -> str:
    """The id of a document that is named by its id or its file."""
    rows = await engine.documents()
    if any(row.id == named for row in rows):
        return named
    return next((row.id for row in rows if row.source == source_of(named)), named)


def _as_json(found: Explanation) -> Any:
    retrieval, trace = found.retrieval, found.retrieval.trace
    return {
        "question": retrieval.question,
        "mode": retrieval.mode,
        "revision": retrieval.revision,
        "keywords": jsonable(retrieval.keywords),
        "found": jsonable(retrieval.found),
        "seeds": jsonable(trace.seeds if trace else ()),
        "reasons": jsonable(found.reasons),
        "dropped": jsonable(trace.dropped if trace else ()),
        "expected": jsonable(found.expected),
        "degraded": jsonable(retrieval.degraded),
    }


def _lines(found: Explanation, expect: str | None) -> Iterator[str]:
    """The explanation for people; `expect` is the document as they named it."""
    retrieval = found.retrieval
    words = (*retrieval.keywords.low_level, *retrieval.keywords.high_level)
    yield f"Mode {retrieval.mode}, revision {retrieval.revision}" + (
        f"; keywords: {', '.join(words)}" if words else ""
    )
    if retrieval.trace is not None:
        yield from _summary(retrieval.trace)
    for reason in found.reasons:
        yield from _reason(reason)
    if not found.reasons:
        yield "No passages were found."
    if found.expected is not None:
        yield from _fate(found.expected, expect or found.expected.document_id)


def _summary(trace: Trace) -> Iterator[str]:
    if trace.searched < trace.chunks:
        yield f"The filter lets {trace.searched:,} of {counted(trace.chunks, 'passage')} in."
    kinds = [seed.kind for seed in trace.seeds]
    counts = [counted(kinds.count(kind), kind) for kind in ("entity", "title", "relation", "chunk")]
    yield f"Seeds: {', '.join(count for count in counts if not count.startswith('0 ')) or 'none'}."
    for drop in trace.dropped:
        parts = (("entity", drop.entities), ("relation", drop.relations), ("passage", drop.passages))
        told = ", ".join(counted(len(rows), kind) for kind, rows in parts if rows)
        yield f"Dropped by {drop.step}: {told}."


def _reason(reason: Reason) -> Iterator[str]:
    passage = reason.passage
    near = "" if passage.similarity is None else f", similarity {passage.similarity:.2f}"
    moved = "" if reason.before == reason.rank else f", number {reason.before} before reranking"
    source = short_source(passage.source) if passage.source else passage.document_id
    yield f"\n{reason.rank}. {source}, characters {passage.start}–{passage.stop}"
    yield f"    score {passage.score:.3f}{near}{moved}"
    if passage.parts:
        parts = sorted(passage.parts.items(), key=lambda part: (-abs(part[1]), part[0]))
        yield f"    evidence: {', '.join(f'{name} {value:.3g}' for name, value in parts)}"
    if passage.found_by:
        yield f"    found by {'; '.join(passage.found_by)}"
    seeds = [f"{seed.kind} {seed.name!r} {seed.score:.2f}" for seed in reason.seeds if seed.kind != "chunk"]
    if seeds:
        yield f"    seeds: {_few(seeds)}"
    edges = [f"{edge.source}—{edge.target}" for edge in reason.edges]
    if edges:
        yield f"    edges: {_few(edges)}"


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return "; ".join(names[:_NAMES]) + more


def _fate(expected: Expected, named: str) -> Iterator[str]:
    """What became of the expected document."""
    if expected.rank is not None:
        yield f"\nExpected {named!r}: {expected.told}."
        return
    yield f"\nExpected {named!r}: lost at {expected.lost}: {expected.told}."
    if expected.facts:
        yield "    " + ", ".join(f"{name} {value}" for name, value in expected.facts.items())
