"""Calls of providers as the stages make them: journaled, limited, timed, retried and metered.

A stage never touches `context.llm` or `context.embedder` itself. The order of the layers is

    journal → deadline → limits → time-out of one call → provider, again while the error may pass

so that an answer that was paid for once takes no slot, and the wait for a slot counts towards the deadline of
the operation but not towards the time-out of the call.
"""

from __future__ import annotations

import math
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from stateless_rag.attempts import foreign_errors, provider_time, slot, until_answered, within_deadline
from stateless_rag.embedding import embed_texts, vector_digest
from stateless_rag.errors import InvalidInput, InvalidReply
from stateless_rag.protocols import JournalEntry, LLMReply, StreamPart
from stateless_rag.text import clean_text, digest
from stateless_rag.types import Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

    from stateless_rag.context import Context
    from stateless_rag.protocols import LLM, Journal, LLMRequest

    Check = Callable[[LLMReply], None]

__all__ = ["complete", "embed_texts", "request_digest", "rerank", "stream", "vector_digest"]

# ---- digests -------------------------------------------------------------------------------------------


def request_digest(model: str, request: LLMRequest) -> str:
    """The name of a call in the journal: all that determines the reply, and not its purpose."""
    system = () if request.system is None else (request.system,)
    turns = [part for message in request.history for part in (message.role, message.content)]
    options = (str(request.json), str(request.max_tokens), str(len(system)))
    return digest("complete", model, *options, *system, request.prompt, *turns)


# ---- the LLM -------------------------------------------------------------------------------------------


async def complete(
    context: Context, request: LLMRequest, *, journal: bool = True, check: Check | None = None
) -> LLMReply:
    """The LLM's reply, from the journal if it was paid for before, else journaled before it is returned.

    `check` raises InvalidReply for a reply that is of no use: it is then asked for again, like any error that
    may pass, and never journaled. Callers that ask the same at the same time pay once. Raises `ProviderError`
    after the last attempt, `DeadlineExceeded`, `Overloaded`, `InvalidInput` if the context has no LLM.
    """
    llm = _llm(context, request)
    if context.journal is None or not journal:
        reply, _ = await _ask(context, llm, request, check)
        return reply
    key = request_digest(llm.model, request)
    while True:
        found = await _paid_once(
            context, context.journal, key, partial(_ask, context, llm, request, check), request
        )
        if found is not None:
            return found


async def _paid_once(
    context: Context,
    journal: Journal,
    key: str,
    ask: Callable[[], Awaitable[tuple[LLMReply, Usage]]],
    request: LLMRequest,
) -> LLMReply | None:
    """The reply, or None if another caller led the flight and did not bring one back."""
    async with AsyncExitStack() as stack:
        lead = stack.enter_async_context(journal.flights.lead(key))
        leader = await within_deadline(context, lead, "the same request was under way elsewhere")
        reply = await journal.get(key)
        if reply is not None:
            context.meter.add(request.purpose, Usage(cached=1))
        elif leader:
            reply, usage = await ask()
            model = _llm(context, request).model
            entry = JournalEntry(digest=key, purpose=request.purpose, model=model, reply=reply, usage=usage)
            await journal.put(entry)
        return reply


async def _ask(
    context: Context, llm: LLM, request: LLMRequest, check: Check | None
) -> tuple[LLMReply, Usage]:
    async def attempt() -> tuple[LLMReply, Usage]:
        async with (
            slot(context, "llm"),
            provider_time(context, context.settings.calls.llm_timeout, llm.model),
        ):
            reply = _clean(llm.model, await llm.complete(request))
        usage = _usage(context, request, reply)
        context.meter.add(request.purpose, usage)
        if _is_empty(reply):
            raise _empty_reply(llm.model)
        if check is not None:
            check(reply)
        return reply, usage

    return await until_answered(context, attempt)


async def stream(context: Context, request: LLMRequest) -> AsyncGenerator[StreamPart, None]:
    """The LLM's reply piece by piece; the last part carries the whole reply with its tokens.

    The slot is held until the stream ends or is closed (`contextlib.aclosing`). An attempt that fails before
    its first text is repeated; later failures are raised. `CallSettings.llm_timeout` counts the time that the
    provider takes, not the time that the consumer does. Errors as for `complete`; nothing is journaled.
    """
    llm = _llm(context, request)
    async with AsyncExitStack() as held:
        answer = await until_answered(context, partial(_open, context, llm, request, held))
        metered = False
        try:
            while answer.reply is None:
                if text := answer.take():
                    yield StreamPart(text=text)
                await answer.read()
            reply, usage = _counted(context, request, answer.reply)
            context.meter.add(request.purpose, usage)
            metered = True
            yield StreamPart(text=answer.take(), reply=reply)
        finally:
            if not metered:  # closed or broken half-way: what was said so far is paid for
                context.meter.add(request.purpose, _usage(context, request, LLMReply(text=answer.text)))


async def _open(context: Context, llm: LLM, request: LLMRequest, held: AsyncExitStack) -> _StreamedAnswer:
    """Take a slot and read up to the first text; both stay in `held` unless this fails."""
    try:
        await held.enter_async_context(slot(context, "llm"))
        answer = _StreamedAnswer(context, llm, request)
        held.push_async_callback(answer.close)
        while not answer.text.strip() and answer.reply is None:
            await answer.read()
        if answer.reply is not None and _is_empty(answer.reply):
            context.meter.add(request.purpose, _usage(context, request, answer.reply))
            raise _empty_reply(llm.model)
    except BaseException:
        await held.aclose()
        raise
    return answer


class _StreamedAnswer:
    """A stream as read so far: `text`, and `reply` once it has ended."""

    def __init__(self, context: Context, llm: LLM, request: LLMRequest) -> None:
        self.text = ""
        self.reply: LLMReply | None = None
        self._context = context
        self._llm = llm
        self._request = request
        self._parts: AsyncIterator[StreamPart] | None = None
        self._taken = 0
        self._seconds = context.settings.calls.llm_timeout

    def take(self) -> str:
        """The text that was not taken yet."""
        text = self.text[self._taken :]
        self._taken = len(self.text)
        return text

    async def read(self) -> None:
        """Wait for the next part; at the end of the stream there is a reply."""
        clock = self._context.clock.monotonic
        begun = clock()
        allowed = self._context.settings.calls.llm_timeout
        async with provider_time(self._context, allowed, self._llm.model, left=self._seconds):
            if self._parts is None:
                self._parts = self._llm.stream(self._request)
            part = await anext(self._parts, None)
        self._seconds -= clock() - begun
        if part is None:
            self.reply = LLMReply(text=self.text)
            return
        self.text += part.text
        if part.reply is not None:
            self.text = self.text or part.reply.text
            self.reply = part.reply if part.reply.text else replace(part.reply, text=self.text)

    async def close(self) -> None:
        close = getattr(self._parts, "aclose", None)
        if close is not None:
            with foreign_errors(self._llm.model):
                await close()


def _llm(context: Context, request: LLMRequest) -> LLM:
    if context.llm is None:
        raise InvalidInput(f"The context has no LLM, which the step {request.purpose!r} needs; give it one.")
    return context.llm


def _clean(model: str, reply: Any) -> LLMReply:
    """A reply that the journal can carry: an escape cut in half in the provider's JSON is a lone surrogate."""
    if not isinstance(reply, LLMReply) or not isinstance(reply.text, str):
        raise InvalidReply(f"{model} answered with {reply!r:.80}, which is no LLMReply with a text.")
    text = clean_text(reply.text)
    return reply if text is reply.text else replace(reply, text=text)


def _is_empty(reply: LLMReply) -> bool:
    return not reply.text.strip() and not reply.truncated


def _empty_reply(model: str) -> InvalidReply:
    return InvalidReply(f"{model} answered with an empty text.")


def _usage(context: Context, request: LLMRequest, reply: LLMReply) -> Usage:
    """What a reply cost; the tokenizer counts where the provider does not."""
    count = context.tokenizer.count
    prompt, completion = reply.prompt_tokens, reply.completion_tokens
    if prompt is None:
        texts = [request.system or "", *(message.content for message in request.history), request.prompt]
        prompt = sum(count(text) for text in texts if text)
    return Usage(1, prompt, count(reply.text) if completion is None else completion)


def _counted(context: Context, request: LLMRequest, reply: LLMReply) -> tuple[LLMReply, Usage]:
    usage = _usage(context, request, reply)
    counted = replace(reply, prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens)
    return counted, usage


# ---- the reranker --------------------------------------------------------------------------------------


async def rerank(context: Context, query: str, texts: Sequence[str], top_n: int) -> list[tuple[int, float]]:
    """The indexes of at most `top_n` texts with their scores, best first, ties by index.

    Raises as `complete` does; `InvalidInput` if the context has no reranker.
    """
    reranker = context.reranker
    if reranker is None:
        raise InvalidInput("The context has no reranker; give it one, or do not rerank.")
    if not texts or top_n < 1:
        return []

    async def attempt() -> list[tuple[int, float]]:
        seconds = context.settings.calls.rerank_timeout
        async with slot(context, "reranker"), provider_time(context, seconds, reranker.model):
            ranked = await reranker.rerank(query, texts, top_n=min(top_n, len(texts)))
        context.meter.add("rerank", Usage(calls=1))
        return _checked_ranks(reranker.model, ranked, len(texts))[:top_n]

    return await until_answered(context, attempt)


def _checked_ranks(model: str, ranked: Sequence[tuple[int, float]], count: int) -> list[tuple[int, float]]:
    scores: dict[int, float] = {}
    try:
        for index, score in ranked:
            if index not in range(count) or index in scores or not math.isfinite(score):
                raise InvalidReply(f"{model} ranked {count} texts and gave {index!r} the score {score!r}.")
            scores[int(index)] = float(score)
    except (TypeError, ValueError) as exc:
        raise InvalidReply(f"{model} gave a ranking that is not pairs of index and score: {exc}") from exc
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))
