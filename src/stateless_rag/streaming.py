"""An LLM's reply piece by piece, at the consumer's pace as long as the consumer has one.

The part of `stateless_rag.calls` that streams; import it from there.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from stateless_rag.attempts import provider_time, slot, until_answered
from stateless_rag.counting import count_usage
from stateless_rag.errors import ProviderError, StreamAbandoned
from stateless_rag.protocols import LLMReply, StreamPart
from stateless_rag.replies import checked_part, empty_reply, is_empty, required_llm

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from stateless_rag.context import Context
    from stateless_rag.protocols import LLM, LLMRequest

__all__ = ["stream"]


async def stream(context: Context, request: LLMRequest) -> AsyncGenerator[StreamPart, None]:
    """The LLM's reply piece by piece; the last part carries the whole reply with its tokens.

    The slot is held until the reply is whole, or the stream is closed (`contextlib.aclosing`). An attempt that
    fails before its first text is repeated; later failures are raised. `CallSettings.llm_timeout` counts the
    time that the provider takes, not the time that the consumer does; a consumer that asks for nothing for
    `CallSettings.stream_idle` loses slot and connection, and finds `StreamAbandoned` when it asks again.
    Errors as for `complete`; nothing is journaled.
    """
    llm = required_llm(context, request)
    async with AsyncExitStack() as held:
        answer = await until_answered(context, partial(_open, context, llm, request, held))
        patience = _Patience(context.settings.calls.stream_idle, held)
        metered = False
        try:
            while answer.reply is None:
                if text := answer.take():
                    with patience.waiting():
                        yield StreamPart(text=text)
                    await patience.check()
                await answer.read()
            usage = await count_usage(context, request, answer.reply)
            context.meter.add(request.purpose, usage)
            metered = True
        finally:
            if not metered:  # closed or broken half-way: what was said so far is paid for
                usage = await count_usage(context, request, LLMReply(text=answer.text))
                context.meter.add(request.purpose, usage)
    reply = replace(
        answer.reply, prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens
    )
    yield StreamPart(text=answer.take(), reply=reply)


async def _open(context: Context, llm: LLM, request: LLMRequest, held: AsyncExitStack) -> _StreamedAnswer:
    """Take a slot and read up to the first text; both stay in `held` unless this fails."""
    try:
        await held.enter_async_context(slot(context, "llm"))
        answer = _StreamedAnswer(context, llm, request)
        held.push_async_callback(answer.close)
        while not answer.text.strip() and answer.reply is None:
            await answer.read()
        if answer.reply is not None and is_empty(answer.reply):
            context.meter.add(request.purpose, await count_usage(context, request, answer.reply))
            raise empty_reply(llm.model)
    except BaseException:
        await held.aclose()
        raise
    return answer


class _Patience:
    """Waits for the consumer for so many seconds at a time, then lets go of what is held."""

    def __init__(self, seconds: float, held: AsyncExitStack) -> None:
        self._seconds = seconds
        self._held = held
        self._loop = asyncio.get_running_loop()
        self._letting_go: asyncio.Task[None] | None = None

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """The time in which the consumer has the word."""
        timer = self._loop.call_later(self._seconds, self._lose)
        try:
            yield
        finally:
            timer.cancel()

    async def check(self) -> None:
        """Raises `StreamAbandoned` if the consumer came too late."""
        if self._letting_go is None:
            return
        await asyncio.wait([self._letting_go])
        raise StreamAbandoned(
            f"nobody asked for the next part of the answer for {self._seconds:g} s, so the stream was closed. "
            "Read it faster, close it when it is no longer wanted, or raise stream_idle in CallSettings."
        )

    def _lose(self) -> None:
        self._letting_go = self._loop.create_task(self._held.aclose())


class _StreamedAnswer:
    """A stream as read so far: `text`, and `reply` once it has ended."""

    def __init__(self, context: Context, llm: LLM, request: LLMRequest) -> None:
        self.text = ""
        self.reply: LLMReply | None = None
        self._context = context
        self._llm = llm
        self._parts = _Parts(llm, request)
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
            part = await self._parts.next()
            if part is not None:
                part = checked_part(self._llm.model, part)
        self._seconds -= clock() - begun
        if part is None:
            self.reply = LLMReply(text=self.text)
            return
        self.text += part.text
        if part.reply is not None:
            self.text = self.text or part.reply.text
            self.reply = part.reply if part.reply.text else replace(part.reply, text=self.text)

    async def close(self) -> None:
        """Close the provider's stream."""
        await self._parts.close()


class _Parts:
    """The provider's stream, a part for each that is asked for.

    One task opens, reads and closes it, as cancel scopes and task groups in it require: the consumer may ask
    and close in several.
    """

    def __init__(self, llm: LLM, request: LLMRequest) -> None:
        self._llm = llm
        self._request = request
        self._asked: asyncio.Queue[asyncio.Future[StreamPart | None]] = asyncio.Queue()
        self._reading: asyncio.Task[None] | None = None
        self._closed = False

    async def next(self) -> StreamPart | None:
        """The next part, None after the last; the provider's errors as they are."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        part: asyncio.Future[StreamPart | None] = asyncio.get_running_loop().create_future()
        self._asked.put_nowait(part)
        either: list[asyncio.Future[Any]] = [part, self._reading]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if part.done():
            return part.result()
        if self._reading.cancelled():
            raise ProviderError(f"{self._llm.model} ended its stream by cancelling the task that reads it")
        self._reading.result()
        return None

    async def _read(self) -> None:
        parts = self._llm.stream(self._request)
        try:
            while not self._closed:
                wanted = await self._asked.get()
                wanted.set_result(await anext(parts, None))
        finally:
            close = getattr(parts, "aclose", None)
            if close is not None:
                # That it could not be closed is of no use to anybody. A task group around a `yield` makes
                # a group of GeneratorExit, which is no Exception.
                with suppress(Exception, BaseExceptionGroup):
                    await close()

    async def close(self) -> None:
        """Close it; what the provider raises then is dropped, as nothing more is wanted from it."""
        self._closed = True
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
