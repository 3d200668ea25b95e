"""The command `query`."""

from __future__ import annotations

import json
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stateless_rag.checks import shown
from stateless_rag.cli.engines import open_engine
from stateless_rag.cli.options import AsJson, Exit, Offline, Root, Workspace, configuration, execute
from stateless_rag.cli.output import Output, jsonable, short_source
from stateless_rag.errors import InvalidInput, StatelessRagError
from stateless_rag.types import Answer

if TYPE_CHECKING:
    from stateless_rag.engine import Engine
    from stateless_rag.types import Passage, Reference

__all__ = ["metadata_filter", "passage_lines", "query", "reference_line"]

_EXCERPT, _PASSAGES = 320, 5


def query(
    context: typer.Context,
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    mode: Annotated[
        str, typer.Option("--mode", "-m", help="naive, local, global, hybrid, walk, mix or bypass.")
    ] = "mix",
    top_k: Annotated[
        int, typer.Option("--top-k", min=1, help="How many entities and relations are looked up.")
    ] = 40,
    chunk_top_k: Annotated[
        int, typer.Option("--chunk-top-k", min=1, help="How many passages are kept at most.")
    ] = 20,
    only_context: Annotated[
        bool, typer.Option("--only-context", help="Print what an LLM would be given, and ask none.")
    ] = False,
    stream: Annotated[
        bool, typer.Option("--stream", help="Print the answer as it comes; with --json, as JSON lines.")
    ] = False,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            help='Only documents whose metadata meets this filter, in JSON: \'{"year": {"gte": 1990}}\'.',
        ),
    ] = None,
    trace: Annotated[
        bool, typer.Option("--trace", help="With --json: how it came about, prompt and dropped passages too.")
    ] = False,
    workspace: Workspace = None,
    root: Root = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Answer a question from a workspace, with references."""
    chosen, output = configuration(context, root, workspace, offline=offline), Output(as_json=as_json)
    options: dict[str, Any] = {"mode": mode, "top_k": top_k, "chunk_top_k": chunk_top_k}
    options["only_context"] = only_context

    async def command() -> Exit:
        options["metadata_filter"] = metadata_filter(where)
        async with open_engine(chosen, create=False, note=output.note) as engine:
            # Without an LLM there is nothing that comes piece by piece.
            streamed = stream and (
                as_json or (engine.context.llm_for("answer") is not None and not only_context)
            )
            if streamed:
                answer = await _stream(engine, output, question, options, trace=trace)
            else:
                answer = await engine.query(question, **options)
        if as_json and not streamed:
            output.json(_told(answer, trace=trace))
        elif not as_json:
            _show(output, answer, streamed=streamed, plain=only_context)
        for step in answer.degraded:
            if not step.startswith("answer: no LLM"):
                output.note(f"note: {step}")
        return Exit.NOTHING_FOUND if answer.no_context else Exit.OK

    execute(output, command)


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
    engine: Engine, output: Output, question: str, options: dict[str, Any], *, trace: bool
) -> Answer:
    last: Answer | None = None
    async with aclosing(engine.stream(question, **options)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Answer):
                last = piece
            elif output.as_json:
                output.json({"text": piece})
            else:
                output.piece(piece)
    if last is None:
        raise StatelessRagError("the answer broke off; ask again")
    if output.as_json:
        output.json({"answer": jsonable(_told(last, trace=trace))})
    else:
        output.piece("\n")
    return last


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
