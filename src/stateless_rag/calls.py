"""Calls of providers as the stages make them: journaled, limited, timed, retried and metered.

A stage never touches `context.llm` or `context.embedder` itself. The order of the layers is

    journal → deadline → limits → time-out of one call → provider, again while the error may pass

so that an answer that was paid for once takes no slot, and the wait for a slot counts towards the deadline of
the operation but not towards the time-out of the call.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from stateless_rag.attempts import provider_time, slot, until_answered, within_deadline
from stateless_rag.counting import count_usage
from stateless_rag.embedding import embed_texts, vector_digest
from stateless_rag.errors import InvalidInput, InvalidReply
from stateless_rag.protocols import JournalEntry, LLMReply
from stateless_rag.replies import checked_reply, empty_reply, is_empty, required_llm
from stateless_rag.streaming import stream
from stateless_rag.text import digest
from stateless_rag.types import Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from stateless_rag.context import Context
    from stateless_rag.protocols import LLM, Journal, LLMRequest

    Check = Callable[[LLMReply], None]

__all__ = [
    "complete",
    "embed_texts",
    "keep",
    "recall",
    "request_digest",
    "rerank",
    "stream",
    "vector_digest",
]

# ---- digests -------------------------------------------------------------------------------------------


def request_digest(model: str, request: LLMRequest, salt: str = "") -> str:
    """The name of a call in the journal: all that determines the reply, and not its purpose.

    Calls with another `salt` are other calls.
    """
    system = () if request.system is None else (request.system,)
    turns = [part for message in request.history for part in (message.role, message.content)]
    options = (str(request.json), str(request.max_tokens), str(len(system)))
    salted = ("complete", "salted", salt) if salt else ("complete",)
    return digest(*salted, model, *options, *system, request.prompt, *turns)


# ---- the LLM -------------------------------------------------------------------------------------------


async def complete(
    context: Context,
    request: LLMRequest,
    *,
    journal: bool = True,
    check: Check | None = None,
    salt: str = "",
) -> LLMReply:
    """The LLM's reply, from the journal if it was paid for before, else journaled before it is returned.

    `check` raises InvalidReply for a reply that is of no use: it is then asked for again, like any error that
    may pass, and never journaled. Callers that ask the same at the same time pay once. Raises `ProviderError`
    after the last attempt, `DeadlineExceeded`, `Overloaded`, `InvalidInput` if the context has no LLM.
    """
    llm = required_llm(context, request)
    if context.journal is None or not journal:
        reply, _ = await _ask(context, llm, request, check)
        return reply
    key, ask = request_digest(llm.model, request, salt), partial(_ask, context, llm, request, check)
    while True:
        with context.journal.flights.lead((key,)) as led:
            found = await _known(context, context.journal, key, request) if led else None
            if led and found is None:
                found = await _paid(context, context.journal, key, llm, request, ask)
        if found is None:
            waiting = context.journal.flights.wait(key)
            await within_deadline(context, waiting, "the same request was under way elsewhere")
            # None if who led brought nothing back.
            found = await _known(context, context.journal, key, request)
        if found is not None:
            # The journal gives many replies in one go.
            await context.limits.turn(context.priority, context.way)
            return found


async def recall(context: Context, request: LLMRequest, salt: str) -> LLMReply | None:
    """The reply that was paid for before, None if none was or the context has no journal."""
    llm = required_llm(context, request)
    if context.journal is None:
        return None
    return await _known(context, context.journal, request_digest(llm.model, request, salt), request)


async def keep(context: Context, request: LLMRequest, reply: LLMReply, salt: str) -> None:
    """Journal a reply that was streamed."""
    llm = required_llm(context, request)
    if context.journal is not None:
        key = request_digest(llm.model, request, salt)
        usage = Usage(1, reply.prompt_tokens or 0, reply.completion_tokens or 0)
        entry = JournalEntry(digest=key, purpose=request.purpose, model=llm.model, reply=reply, usage=usage)
        await context.journal.put(entry)


async def _known(context: Context, journal: Journal, key: str, request: LLMRequest) -> LLMReply | None:
    """What was paid for before."""
    reply = await journal.get(key)
    if reply is None or (reply.truncated and context.renew_truncated):
        return None
    context.meter.add(request.purpose, Usage(cached=1))
    return reply


async def _paid(
    context: Context,
    journal: Journal,
    key: str,
    llm: LLM,
    request: LLMRequest,
    ask: Callable[[], Awaitable[tuple[LLMReply, Usage]]],
) -> LLMReply:
    with journal.flights.call():
        await context.limits.turn(context.priority, context.way)  # many are looked up in one go
        reply, usage = await ask()
    entry = JournalEntry(
        digest=key,
        purpose=request.purpose,
        model=llm.model,
        reply=reply,
        usage=usage,
        document=context.document,
    )
    await journal.put(entry)
    return reply


async def _ask(
    context: Context, llm: LLM, request: LLMRequest, check: Check | None
) -> tuple[LLMReply, Usage]:
    async def attempt() -> tuple[LLMReply, Usage]:
        usage: Usage | None = None
        async with slot(context, "llm"):
            async with provider_time(context, context.settings.calls.llm_timeout, llm.model):
                reply = checked_reply(llm.model, await llm.complete(request))
            if context.allowance is not None and context.allowance.bounded:  # before the next call may begin
                usage = await _counted(context, request, reply)
        if usage is None:
            usage = await _counted(context, request, reply)
        try:
            if is_empty(reply):
                raise empty_reply(llm.model)
            if check is not None:
                check(reply)
        except InvalidReply:
            if context.allowance is not None:
                context.allowance.refused(context, request.purpose, usage)
            raise
        return reply, usage

    return await until_answered(context, attempt)


async def _counted(context: Context, request: LLMRequest, reply: LLMReply) -> Usage:
    usage = await count_usage(context, request, reply)
    context.meter.add(request.purpose, usage)
    return usage


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
    if not scores:  # else a broken reranker would look like a question that nothing answers
        raise InvalidReply(f"{model} was given {count} texts and ranked none of them.")
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))
