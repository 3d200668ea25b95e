"""The answer: what was found goes to the LLM with the question, the reply comes back with references."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stateless_rag import calls
from stateless_rag.errors import InvalidInput, ProviderError
from stateless_rag.protocols import LLMRequest, StreamPart
from stateless_rag.retrieval.cite import CheckedText
from stateless_rag.retrieval.question import checked_question
from stateless_rag.retrieval.quotes import locate_quotes
from stateless_rag.retrieval.render import passages_only, system_prompt
from stateless_rag.retrieval.retrieve import Read, begin, retrieve
from stateless_rag.types import Answer, Message, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from stateless_rag.context import Context
    from stateless_rag.protocols import Journal
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
    own_prompt: bool = False

    @property
    def salt(self) -> str:
        """What tells equal prompts of different revisions apart."""
        return f"revision {self.retrieval.revision}"

    def checked(self) -> CheckedText | None:
        """What checks the text of the LLM; None in bypass mode, where it was given nothing to cite.

        A prompt of the caller's may want brackets for something else: then nothing is taken out.
        """
        if self.retrieval.mode == "bypass":
            return None
        known = {reference.number for reference in self.retrieval.references}
        return CheckedText(known, remove=not self.own_prompt)

    def finished(
        self,
        text: str,
        *,
        truncated: bool = False,
        notes: tuple[str, ...] = (),
        checked: CheckedText | None = None,
    ) -> Answer:
        """The answer with this text, or with the one that was checked."""
        retrieval = self.retrieval
        spent = (self.context.clock.monotonic() - self.started) * 1000.0
        answer = Answer(
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
        if checked is not None:
            citations = tuple(checked.citations)
            quotes, missing = locate_quotes(checked.text, retrieval.passages, retrieval.references, citations)
            answer = replace(
                answer,
                text=checked.text,
                citations=citations,
                quotes=quotes,
                unsupported=(*checked.removed, *missing),
            )
        self.context.emit("answered", report=answer)
        return answer


async def answer(
    context: Context, read: Read, question: str, options: QueryOptions, *, cache: Journal | None = None
) -> Answer:
    """Answer a question from a workspace. With `options.cache` the LLM's answers are kept in `cache`.

    `read` runs a function on a snapshot of it. Without an LLM the text is the best passages, cited, and
    `degraded` says so; so it is if the LLM fails and `on_provider_error` is "degrade". With nothing found, no
    LLM is asked. Raises as `retrieve` does, and InvalidInput for bypass mode without an LLM.
    """
    draft = await _draft(context, read, question, options, cache)
    if draft.request is None:
        return draft.finished(draft.text)
    draft.context.emit("answering")
    try:
        reply = await calls.complete(draft.context, draft.request, salt=draft.salt)
    except ProviderError as error:
        if not _may_stand_in(draft, options):
            raise
        return draft.finished(passages_only(draft.retrieval), notes=(_fallback(error),))
    checked = draft.checked()
    if checked is not None:
        checked.feed(reply.text)
        checked.finish()
    return draft.finished(reply.text, truncated=reply.truncated, checked=checked)


async def stream_answer(
    context: Context, read: Read, question: str, options: QueryOptions, *, cache: Journal | None = None
) -> AsyncGenerator[str | Answer, None]:
    """As `answer`, piece by piece: strings as they come, at last the whole `Answer`. One from the cache is one piece.

    Pieces are checked before they are yielded: together they are the answer's text. If the LLM fails after the
    first piece and degrading is allowed, the text ends there: the answer is `truncated` and `degraded` says so.
    """
    draft = await _draft(context, read, question, options, cache)
    if draft.request is None:
        yield draft.text
        yield draft.finished(draft.text)
        return
    draft.context.emit("answering")
    pieces: list[str] = []
    checked = draft.checked()
    whole, truncated, notes = None, False, tuple[str, ...]()
    try:
        async with aclosing(_parts(draft, draft.request)) as parts:
            async for part in parts:
                if part.text:
                    pieces.append(part.text)
                    if shown := part.text if checked is None else checked.feed(part.text):
                        yield shown
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
            checked = None
            yield pieces[0]
    if checked is not None and (rest := checked.finish()):
        yield rest
    said = whole if whole is not None else "".join(pieces)
    yield draft.finished(said, truncated=truncated, notes=notes, checked=checked)


async def _parts(draft: _Draft, request: LLMRequest) -> AsyncGenerator[StreamPart, None]:
    """The LLM's answer, or the one that is kept; a new one is kept when it is whole."""
    kept = await calls.recall(draft.context, request, draft.salt)
    if kept is not None:
        yield StreamPart(text=kept.text, reply=kept)
        return
    async with aclosing(calls.stream(draft.context, request)) as parts:
        async for part in parts:
            if part.reply is not None:
                await calls.keep(draft.context, request, part.reply, draft.salt)
            yield part


async def _draft(
    context: Context, read: Read, question: str, options: QueryOptions, cache: Journal | None
) -> _Draft:
    question = checked_question(question, options)
    told = options.only_context or options.only_prompt
    if options.mode == "bypass" and context.llm_for("answer") is None and not told:
        raise InvalidInput("mode 'bypass' asks the LLM alone, and there is none: give the context an LLM")
    context = begin(context, options)
    if options.max_summaries is None and not told:
        options = replace(options, max_summaries=options.max_communities)
    retrieval = await retrieve(context, read, question, options, kept=cache)
    started = context.clock.monotonic()
    if retrieval.empty and options.mode != "bypass":
        return _Draft(context, retrieval, started, text=context.prompts.no_context, no_context=True)
    system = system_prompt(context.prompts, options, retrieval.context)
    if options.only_prompt:
        prompt = f"{system}\n\n---User Query---\n\n{question}".lstrip()
        return _Draft(context, retrieval, started, text=prompt)
    if options.only_context:
        return _Draft(context, retrieval, started, text=retrieval.context)
    if context.llm_for("answer") is None:
        notes = ("answer: no LLM, passages only",)
        return _Draft(context, retrieval, started, text=passages_only(retrieval), notes=notes)
    request = LLMRequest(
        prompt=question,
        system=system or None,
        history=tuple(Message(role, text) for role, text in options.history),
        purpose="answer",
    )
    context = context.derive(journal=cache if options.cache else None)
    own_prompt = options.system_prompt is not None
    return _Draft(context, _with_prompt(retrieval, request), started, request, own_prompt=own_prompt)


def _with_prompt(retrieval: Retrieval, request: LLMRequest) -> Retrieval:
    """The retrieval with what is sent to the LLM in its trace."""
    if retrieval.trace is None:
        return retrieval
    system = () if request.system is None else (Message("system", request.system),)
    messages = (*system, *request.history, Message("user", request.prompt))
    return replace(retrieval, trace=replace(retrieval.trace, messages=messages))


def _may_stand_in(draft: _Draft, options: QueryOptions) -> bool:
    """Whether passages may take the place of the LLM's words."""
    return options.on_provider_error == "degrade" and not draft.retrieval.empty


def _fallback(error: ProviderError) -> str:
    return f"answer: passages only ({type(error).__name__}: {error})"


def _sum(one: Mapping[str, Usage], other: Mapping[str, Usage]) -> Mapping[str, Usage]:
    return {
        purpose: one.get(purpose, Usage()) + other.get(purpose, Usage()) for purpose in sorted({*one, *other})
    }
