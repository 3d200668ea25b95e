"""One provider call with what surrounds it: the slot, the time-out, the deadline, the retries.

The slot is held while the provider works and at no other time: not between attempts, not while journals are
read or written.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, TypeVar

from stateless_rag.errors import (
    BudgetExhausted,
    DeadlineExceeded,
    Overloaded,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    StatelessRagError,
    WorkCancelled,
)
from stateless_rag.limits import Priority
from stateless_rag.pricing import is_free

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from types import TracebackType
    from typing import Any

    from tenacity import RetryCallState

    from stateless_rag.context import Context
    from stateless_rag.limits import Kind

__all__ = ["provider_time", "slot", "together", "until_answered", "within_deadline"]

Answer = TypeVar("Answer")

_LONGEST_PAUSE = 1.0  # seconds between two tries to enter a full queue
_LONGEST_OBEYED = 10  # times `max_backoff`: a provider that asks for a longer wait is asked again after this


# Classes, not generators: both surround every call, and a generator takes several times as long.


class slot(AbstractAsyncContextManager[None]):  # noqa: N801 -- reads like a function where it is used
    """A slot for one call, waited for under the context's workspace, priority and deadline.

    A query that finds the queue full is told so (`Overloaded`); ingestion can wait and tries again.
    """

    def __init__(self, context: Context, kind: Kind) -> None:
        self._context = context
        self._kind = kind
        self._held: AbstractAsyncContextManager[None] | None = None

    async def __aenter__(self) -> None:
        """Wait for the slot. Raises WorkCancelled if what it is for was cancelled meanwhile, BudgetExhausted."""
        self._check()  # no need to wait for what may not be done
        while self._held is None:
            self._held = await self._taken()
        try:
            self._check()
        except StatelessRagError:
            await self._held.__aexit__(None, None, None)
            raise

    def _check(self) -> None:
        context = self._context
        if context.cancelled is not None and context.cancelled():
            raise WorkCancelled(f"a call of the {self._kind} was not made, because its work was cancelled")
        if context.allowance is not None and not (
            self._kind == "embedder" and is_free(context.embedder.model)
        ):
            context.allowance.check()

    async def _taken(self) -> AbstractAsyncContextManager[None] | None:
        context = self._context
        one = context.limits.slot(
            self._kind,
            workspace=context.workspace,
            priority=context.priority,
            deadline=context.deadline,
            clock=context.clock.monotonic,
        )
        try:
            await one.__aenter__()
        except Overloaded as full:
            if context.priority is Priority.QUERY:
                raise
            pause = asyncio.sleep(min(full.retry_after, _LONGEST_PAUSE))
            await within_deadline(context, pause, "the queue for a provider was full")
            return None
        return one

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give it back."""
        if self._held is not None:
            await self._held.__aexit__(exc_type, exc, traceback)


class provider_time(AbstractAsyncContextManager[None]):  # noqa: N801 -- reads like a function where it is used
    """Let a provider work for so many seconds, and not past the deadline; foreign errors become our own.

    `left` is what remains of the seconds, for a call that is awaited in pieces. Raises `ProviderTimeout`, or
    `DeadlineExceeded`. Errors of the tree pass as they are. A `TimeoutError` or `ConnectionError` of the
    provider may pass and becomes the class that is retried; any other exception becomes a plain
    `ProviderError`, which is not.
    """

    def __init__(self, context: Context, seconds: float, model: str, *, left: float | None = None) -> None:
        allowed, until_deadline = seconds if left is None else left, _time_left(context)
        self._late = until_deadline is not None and until_deadline < allowed
        self._window = asyncio.timeout(until_deadline if self._late else allowed)
        self._seconds = seconds
        self._model = model

    async def __aenter__(self) -> None:
        """Begin to count."""
        await self._window.__aenter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Raise what an error of the provider is called here."""
        try:
            await self._window.__aexit__(exc_type, exc, traceback)
        except TimeoutError as expired:
            raise self._too_late() from expired
        if not isinstance(exc, Exception):
            return
        if self._window.expired():
            raise self._too_late() from exc
        if not isinstance(exc, StatelessRagError):
            raise _provider_error(self._model, exc) from exc

    def _too_late(self) -> StatelessRagError:
        if self._late:
            return _deadline_exceeded(f"{self._model} was answering")
        return ProviderTimeout(
            f"{self._model} gave no answer within {self._seconds:g} s. If that is normal, raise it in "
            "CallSettings."
        )


async def together(work: Callable[[], Coroutine[Any, Any, None]], count: int) -> None:
    """Run `work` so many times at once; the first error cancels the others and is raised as it is.

    But BudgetExhausted is raised when the others have ended: their calls are paid for already.
    """
    refused: list[BudgetExhausted] = []

    async def until_refused() -> None:
        try:
            await work()
        except BudgetExhausted as error:
            refused.append(error)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(until_refused())
    except BaseExceptionGroup as errors:
        first = errors.exceptions[0]
        raise first from first.__cause__
    if refused:
        raise refused[0]


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
