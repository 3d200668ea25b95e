"""The command `query`."""

from __future__ import annotations

import json
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stateless_rag.checks import shown
from stateless_rag.cli.budgets import BudgetOption, MoneyOption, budget_given
from stateless_rag.cli.costs import PriceOption
from stateless_rag.cli.options import Exit
from stateless_rag.cli.output import Output, short_source
from stateless_rag.cli.running import Place, placed
from stateless_rag.errors import InvalidInput, StatelessRagError
from stateless_rag.types import Answer

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
    from stateless_rag.types import Passage, Reference, Unsupported

__all__ = ["ChunkTopK", "TopK", "Where", "metadata_filter", "passage_lines", "query", "reference_line"]

TopK = Annotated[int, typer.Option("--top-k", min=1, help="How many entities and relations are looked up.")]
ChunkTopK = Annotated[int, typer.Option("--chunk-top-k", min=1, help="How many passages are kept at most.")]
Where = Annotated[
    str | None,
    typer.Option(
        "--where",
        help='Only documents whose metadata meets this filter, in JSON: \'{"year": {"gte": 1990}}\'.',
    ),
]
_EXCERPT, _PASSAGES = 320, 5


@placed()
def query(
    place: Place,
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    mode: Annotated[
        str, typer.Option("--mode", "-m", help="naive, local, global, hybrid, walk, mix, themes or bypass.")
    ] = "mix",
    top_k: TopK = 40,
    chunk_top_k: ChunkTopK = 20,
    only_context: Annotated[
        bool, typer.Option("--only-context", help="Print what an LLM would be given, and ask none.")
    ] = False,
    stream: Annotated[
        bool, typer.Option("--stream", help="Print the answer as it comes; with --json, as JSON lines.")
    ] = False,
    where: Where = None,
    trace: Annotated[
        bool, typer.Option("--trace", help="With --json: how it came about, prompt and dropped passages too.")
    ] = False,
    budget: BudgetOption = None,
    budget_money: MoneyOption = None,
    price: PriceOption = None,
) -> None:
    """Answer a question from a workspace, with references."""
    output = place.output
    options: dict[str, Any] = {"mode": mode, "top_k": top_k, "chunk_top_k": chunk_top_k}
    options["only_context"] = only_context
    options["budget"] = budget_given(budget, budget_money, price)

    async def work() -> tuple[Answer, bool]:
        options["metadata_filter"] = metadata_filter(where)
        async with place.engine() as engine:
            if stream and (output.as_json or not only_context):
                return await _stream(engine, output, question, options)
            return await engine.query(question, **options), False

    def verdict(found: tuple[Answer, bool]) -> Exit:
        for step in found[0].degraded:
            if not step.startswith("answer: no LLM"):
                output.note(f"note: {step}")
        for named in found[0].unsupported:
            output.note(f"note: {_unsupported(named)}")
        return Exit.NOTHING_FOUND if found[0].no_context else Exit.OK

    place.run(
        work,
        lambda found: _show(output, found[0], streamed=found[1], plain=only_context),
        as_json=lambda found: _as_json(found[0], streamed=found[1], trace=trace),
        verdict=verdict,
    )


def _unsupported(named: Unsupported) -> str:
    """What the answer names in vain, as a note."""
    if named.kind == "reference":
        return f"there is no reference {named.text}; it was taken out of the answer"
    return f"no passage has the words {shown(named.text)}"


def _as_json(answer: Answer, *, streamed: bool, trace: bool) -> Any:
    """The answer as JSON; of a stream it is the last line, after the pieces."""
    told = _told(answer, trace=trace)
    return {"answer": told} if streamed else told


def metadata_filter(where: str | None) -> Any:
    """What `--where` says. Raises InvalidInput where that is not JSON."""
    if where is None:
        return None
    try:
        said = json.loads(where)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            f"--where is {shown(where)}, which is not JSON ({error}); see the guide"
        ) from error
    if not isinstance(said, dict):
        raise InvalidInput(f"--where is {shown(where)}; it must be an object of fields and conditions")
    return said


def _told(answer: Answer, *, trace: bool) -> Answer:
    """The answer to print as JSON: its trace is left out unless it is wanted."""
    return answer if trace else answer.replace(retrieval=replace(answer.retrieval, trace=None))


async def _stream(
    engine: Engine, output: Output, question: str, options: dict[str, Any]
) -> tuple[Answer, bool]:
    """The answer, and whether it was printed piece by piece. Passages, which no LLM has said, are not."""
    last: Answer | None = None
    held, printed = "", False  # the first piece is held back until it is known what it is one of
    async with aclosing(engine.stream(question, **options)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Answer):
                last = piece
            elif output.as_json:
                output.json({"text": piece})
            elif held or printed:
                output.piece(held + piece)
                held, printed = "", True
            else:
                held = piece
    if last is None:
        raise StatelessRagError("the answer broke off; ask again")
    if output.as_json:
        return last, True
    if held and last.trace is not None and last.trace.messages and not last.no_context:
        output.piece(held)
        printed = True
    if printed:
        output.piece("\n")
    return last, printed


def _show(output: Output, answer: Answer, *, streamed: bool, plain: bool) -> None:
    if plain or answer.no_context:
        output.text(answer.text)
        return
    if "answer: no LLM, passages only" in answer.degraded:
        shown = list(zip(answer.retrieval.passages, answer.references, strict=True))[:_PASSAGES]
        for passage, reference in shown:
            for line in passage_lines(passage, reference):
                output.text(line)
        output.text("\nPassages only: set OPENAI_API_KEY or OPENAI_BASE_URL for an answer in words.")
        return
    if not streamed:
        output.text(answer.text)
    if answer.truncated:
        output.note("note: the answer was cut off")
    if answer.references:
        output.text("\nPassages the answer was given:")
        for reference in answer.references:
            output.text(f"  {reference_line(reference)}")


def reference_line(reference: Reference) -> str:
    """A reference: number, source, and span in characters."""
    source = short_source(reference.source) if reference.source else reference.document_id
    return f"[{reference.number}] {source}, characters {reference.start}–{reference.stop}"


def passage_lines(passage: Passage, reference: Reference) -> list[str]:
    """A passage for people: where it stands, how near it is, its beginning, and what led to it.

    Its number is the reference's, so passages of one document share it.
    """
    text = " ".join(passage.text.split())
    near = "" if passage.similarity is None else f", similarity {passage.similarity:.2f}"
    lines = [
        f"{reference_line(reference)}{near}",
        f"    {text if len(text) <= _EXCERPT else text[:_EXCERPT].rstrip() + ' …'}",
    ]
    if passage.found_by:
        lines.append(f"    found by {'; '.join(passage.found_by)}")
    return lines
