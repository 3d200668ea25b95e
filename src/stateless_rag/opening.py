"""What is opened: awaitable, and an async context manager."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import Any, Generic, TypeVar

__all__ = ["Opening"]

Resource = TypeVar("Resource")


class Opening(Generic[Resource]):
    """The result of an `open()`: `resource = await X.open(…)`, or `async with X.open(…) as resource`."""

    def __init__(
        self, enter: Callable[[], Awaitable[Resource]], close: Callable[[Resource], Awaitable[None]]
    ) -> None:
        self._enter = enter
        self._close = close
        self._resource: Resource | None = None

    def __await__(self) -> Generator[Any, Any, Resource]:
        return self._enter().__await__()

    async def __aenter__(self) -> Resource:
        self._resource = await self._enter()
        return self._resource

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._resource is not None:
            await self._close(self._resource)
