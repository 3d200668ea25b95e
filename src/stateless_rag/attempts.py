"""One provider call with what surrounds it: the slot, the time-out, the deadline, the retries.

The slot is held while the provider works and at no other time: not between attempts, not while journals are
read or written.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, TypeVar

from stateless_rag.errors import (
    DeadlineExceeded,
    Overloaded,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    StatelessRagError,
)
from stateless_rag.limits import Priority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tenacity import RetryCallState

    from stateless_rag.context import Context
    from stateless_rag.limits import Kind

__all__ = ["foreign_errors", "provider_time", "slot", "until_answered", "within_deadline"]

Answer = TypeVar("Answer")

_LONGEST_PAUSE = 1.0  # seconds between two tries to enter a full queue
_LONGEST_OBEYED = 10  # times `max_backoff`: a provider that asks for a longer wait is asked again after this


@asynccontextmanager
async def slot(context: Context, kind: Kind) -> AsyncIterator[None]:
    """A slot for one call, waited for under the context's workspace, priority and deadline.

    A query that finds the queue full is told so (`Overloaded`); ingestion can wait and tries again.
    """
    async with AsyncExitStack() as held:
        while True:
            try:
                await held.enter_async_context(
                    context.limits.slot(
                        kind,
                        workspace=context.workspace,
                        priority=context.priority,
                        deadline=context.deadline,
                        clock=context.clock.monotonic,
                    )
                )
                break
            except Overloaded as full:
                if context.priority is Priority.QUERY:
                    raise
                pause = asyncio.sleep(min(full.retry_after, _LONGEST_PAUSE))
                await within_deadline(context, pause, "the queue for a provider was full")
        yield


@asynccontextmanager
async def provider_time(
    context: Context, seconds: float, model: str, *, left: float | None = None
) -> AsyncIterator[None]:
    """Let a provider work for so many seconds, and not past the deadline; foreign errors become our own.

    `left` is what remains of the seconds, for a call that is awaited in pieces. Raises `ProviderTimeout`,
    `DeadlineExceeded`, or what `foreign_errors` makes of the provider's error.
    """
    allowed, until_deadline = seconds if left is None else left, _time_left(context)
    late = until_deadline is not None and until_deadline < allowed
    window = asyncio.timeout(until_deadline if late else allowed)
    try:
        async with window:
            with foreign_errors(model):
                yield
    except (TimeoutError, StatelessRagError) as exc:
        if not window.expired():
            raise
        if late:
            raise _deadline_exceeded(f"{model} was answering") from exc
        raise ProviderTimeout(
            f"{model} gave no answer within {seconds:g} s. If that is normal, raise it in CallSettings."
        ) from exc


@contextmanager
def foreign_errors(model: str) -> Iterator[None]:
    """Map what a provider raises to the error tree; errors of the tree pass as they are.

    A `TimeoutError` or `ConnectionError` may pass and becomes the class that is retried; any other exception
    becomes a plain `ProviderError`, which is not.
    """
    try:
        yield
    except StatelessRagError:
        raise
    except Exception as exc:
        raise _provider_error(model, exc) from exc


async def within_deadline(context: Context, waiting: Awaitable[Answer], doing: str) -> Answer:
    """Await something that is no provider call. Raises `DeadlineExceeded` when the deadline passes."""
    if context.deadline is None:
        return await waiting
    window = asyncio.timeout(_time_left(context))
    try:
        async with window:
            return await waiting
    except TimeoutError as exc:
        if not window.expired():
            raise
        raise _deadline_exceeded(doing) from exc


async def until_answered(context: Context, attempt: Callable[[], Awaitable[Answer]]) -> Answer:
    """Run the attempt, again while it raises a `ProviderError` that may pass, by `context.settings.calls`.

    After the last attempt its error is raised. If the wait before the next one would go beyond the deadline,
    `DeadlineExceeded` is raised at once, from the error.
    """
    try:
        return await attempt()
    except ProviderError as error:
        if not error.retryable:
            raise
        failed = error
    return await _again(context, attempt, failed)


async def _again(context: Context, attempt: Callable[[], Awaitable[Answer]], failed: ProviderError) -> Answer:
    """The attempts after the first, which `failed`. Most calls need none, and are spared the machinery."""
    from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

    earlier = [failed]

    async def next_attempt() -> Answer:
        if earlier:
            raise earlier.pop()
        return await attempt()

    retrying = AsyncRetrying(
        retry=retry_if_exception(lambda exc: isinstance(exc, ProviderError) and exc.retryable),
        stop=stop_after_attempt(context.settings.calls.attempts),
        wait=lambda state: _pause(context, state),
        before_sleep=lambda state: _check_deadline(context, state),
        sleep=context.clock.sleep or asyncio.sleep,
        reraise=True,
    )
    return await retrying(next_attempt)


def _pause(context: Context, state: RetryCallState) -> float:
    from tenacity import wait_random_exponential

    calls = context.settings.calls
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, ProviderError) and error.retry_after is not None:
        return min(max(error.retry_after, 0.0), _LONGEST_OBEYED * calls.max_backoff)
    return wait_random_exponential(multiplier=calls.backoff, max=calls.max_backoff)(state)


def _check_deadline(context: Context, state: RetryCallState) -> None:
    left = _time_left(context)
    pause = state.next_action.sleep if state.next_action else 0.0
    if left is not None and left <= pause:
        error = state.outcome.exception() if state.outcome else None
        raise _deadline_exceeded(f"waiting {pause:.1f} s to try again after: {error}") from error


def _time_left(context: Context) -> float | None:
    return None if context.deadline is None else context.deadline - context.clock.monotonic()


def _deadline_exceeded(doing: str) -> DeadlineExceeded:
    return DeadlineExceeded(f"The deadline of the operation passed while {doing}. Allow it more time.")


def _provider_error(model: str, exc: Exception) -> ProviderError:
    kind = ProviderError
    if isinstance(exc, TimeoutError):
        kind = ProviderTimeout
    elif isinstance(exc, ConnectionError):
        kind = ProviderUnavailable
    return kind(f"{model} failed with {type(exc).__name__}: {exc}")
