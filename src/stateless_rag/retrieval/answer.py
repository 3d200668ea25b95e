"""The answer: what was found goes to the LLM with the question, the reply comes back with references."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stateless_rag import calls
from stateless_rag.errors import InvalidInput, ProviderError
from stateless_rag.protocols import LLMRequest
from stateless_rag.retrieval.question import checked_question
from stateless_rag.retrieval.render import passages_only, system_prompt
from stateless_rag.retrieval.retrieve import Read, begin, retrieve
from stateless_rag.types import Answer, Message, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from stateless_rag.context import Context
    from stateless_rag.settings import QueryOptions
    from stateless_rag.types import Retrieval

__all__ = ["answer", "stream_answer"]


@dataclass(frozen=True, slots=True)
class _Draft:
    """Either the request that is left to make, or the text that stands in its place."""

    context: Context
    retrieval: Retrieval
    started: float
    request: LLMRequest | None = None
    text: str = ""
    no_context: bool = False
    notes: tuple[str, ...] = ()

    def finished(self, text: str, *, truncated: bool = False, notes: tuple[str, ...] = ()) -> Answer:
        """The answer with this text."""
        retrieval = self.retrieval
        spent = (self.context.clock.monotonic() - self.started) * 1000.0
        return Answer(
            text=text,
            references=retrieval.references,
            context=retrieval.context,
            retrieval=retrieval,
            usage=_sum(retrieval.usage, self.context.meter.totals()),
            timings={**retrieval.timings, "answer": spent},
            no_context=self.no_context,
            truncated=truncated,
            degraded=(*retrieval.degraded, *self.notes, *notes),
        )


async def answer(context: Context, read: Read, question: str, options: QueryOptions) -> Answer:
    """Answer a question from a workspace.

    `read` runs a function on a snapshot of it. Without an LLM the text is the best passages, cited, and
    `degraded` says so; so it is if the LLM fails and `on_provider_error` is "degrade". With nothing found, no
    LLM is asked. Raises as `retrieve` does, and InvalidInput for bypass mode without an LLM.
    """
    draft = await _draft(context, read, question, options)
    if draft.request is None:
        return draft.finished(draft.text)
    try:
        reply = await calls.complete(draft.context, draft.request, journal=False)
    except ProviderError as error:
        if not _may_stand_in(draft, options):
            raise
        return draft.finished(passages_only(draft.retrieval), notes=(_fallback(error),))
    return draft.finished(reply.text, truncated=reply.truncated)


async def stream_answer(
    context: Context, read: Read, question: str, options: QueryOptions
) -> AsyncGenerator[str | Answer, None]:
    """As `answer`, piece by piece: strings as they come, at last the whole `Answer`.

    If the LLM fails after the first piece and degrading is allowed, the text ends there: the answer is
    `truncated` and `degraded` says so.
    """
    draft = await _draft(context, read, question, options)
    if draft.request is None:
        yield draft.text
        yield draft.finished(draft.text)
        return
    pieces: list[str] = []
    whole, truncated, notes = None, False, tuple[str, ...]()
    try:
        async with aclosing(calls.stream(draft.context, draft.request)) as parts:
            async for part in parts:
                if part.text:
                    pieces.append(part.text)
                    yield part.text
                if part.reply is not None:
                    whole, truncated = part.reply.text, part.reply.truncated
    except ProviderError as error:
        if not _may_stand_in(draft, options) and not (pieces and options.on_provider_error == "degrade"):
            raise
        if pieces:
            truncated, notes = True, (f"answer: cut off ({type(error).__name__}: {error})",)
        else:
            notes = (_fallback(error),)
            pieces.append(passages_only(draft.retrieval))
            yield pieces[0]
    yield draft.finished(whole if whole is not None else "".join(pieces), truncated=truncated, notes=notes)


async def _draft(context: Context, read: Read, question: str, options: QueryOptions) -> _Draft:
    question = checked_question(question, options)
    told = options.only_context or options.only_prompt
    if options.mode == "bypass" and context.llm is None and not told:
        raise InvalidInput("mode 'bypass' asks the LLM alone, and there is none: give the context an LLM")
    context = begin(context, options)
    retrieval = await retrieve(context, read, question, options)
    started = context.clock.monotonic()
    if retrieval.empty and options.mode != "bypass":
        return _Draft(context, retrieval, started, text=context.prompts.no_context, no_context=True)
    system = system_prompt(context.prompts, options, retrieval.context)
    if options.only_prompt:
        prompt = f"{system}\n\n---User Query---\n\n{question}".lstrip()
        return _Draft(context, retrieval, started, text=prompt)
    if options.only_context:
        return _Draft(context, retrieval, started, text=retrieval.context)
    if context.llm is None:
        notes = ("answer: no LLM, passages only",)
        return _Draft(context, retrieval, started, text=passages_only(retrieval), notes=notes)
    request = LLMRequest(
        prompt=question,
        system=system or None,
        history=tuple(Message(role, text) for role, text in options.history),
        purpose="answer",
    )
    return _Draft(context, retrieval, started, request)


def _may_stand_in(draft: _Draft, options: QueryOptions) -> bool:
    """Whether passages may take the place of the LLM's words."""
    return options.on_provider_error == "degrade" and not draft.retrieval.empty


def _fallback(error: ProviderError) -> str:
    return f"answer: passages only ({type(error).__name__}: {error})"


def _sum(one: Mapping[str, Usage], other: Mapping[str, Usage]) -> Mapping[str, Usage]:
    return {
        purpose: one.get(purpose, Usage()) + other.get(purpose, Usage()) for purpose in sorted({*one, *other})
    }
