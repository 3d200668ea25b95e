"""What the fake server does wrong, on demand."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from stateless_rag.checks import iterable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "Disconnect",
    "Empty",
    "Fault",
    "Faults",
    "Hang",
    "Malformed",
    "RateLimited",
    "ServedRequest",
    "ServerError",
    "Truncated",
]


@dataclass(frozen=True, slots=True)
class RateLimited:
    """Answer 429, with a `Retry-After` of so many seconds if any."""

    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class ServerError:
    """Answer with this status, of 400 or more."""

    status: int = 500


@dataclass(frozen=True, slots=True)
class Hang:
    """Wait so many seconds, then answer as if nothing had been."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the connection: before the answer, in the middle of its body, or of its stream."""

    when: Literal["before", "body", "stream"] = "before"


@dataclass(frozen=True, slots=True)
class Empty:
    """Answer with no text; with no vectors; with no ranks."""


@dataclass(frozen=True, slots=True)
class Truncated:
    """Answer with the first half of the text and finish reason "length"; with a vector or a rank too few."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """Answer with a body that is not JSON, or with a text (vectors, ranks) that makes no sense."""

    where: Literal["body", "text"] = "body"


Fault = RateLimited | ServerError | Hang | Disconnect | Empty | Truncated | Malformed


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedRequest:
    """A request as the server got it. `number` counts from 1; `text` is all messages, inputs, or question
    and texts, joined by line feeds. `batch` names the batch that a request to a chat model was part of.
    """

    number: int
    path: str
    method: str = "POST"
    batch: str | None = None
    model: str
    stream: bool
    text: str
    digest: str


class Faults:
    """Decides for each request what goes wrong, if anything.

    `script` is a sequence that is used up request by request (None: nothing goes wrong), or a function of the
    request. Thread-safe; a sequence is used up for good.
    """

    def __init__(self, script: Sequence[Fault | None] | Callable[[ServedRequest], Fault | None] = ()) -> None:
        self._lock = threading.Lock()
        self._choose = script if callable(script) else _scripted(script)

    def choose(self, request: ServedRequest) -> Fault | None:
        """What goes wrong with this request."""
        with self._lock:
            return self._choose(request)

    @classmethod
    def every(cls, n: int, fault: Fault) -> Faults:
        """Each n-th request."""
        return cls(lambda request: None if request.number % n else fault)

    @classmethod
    def first(cls, k: int, fault: Fault) -> Faults:
        """The first k requests."""
        return cls(lambda request: fault if request.number <= k else None)

    @classmethod
    def matching(cls, substring: str, fault: Fault, times: int | None = None) -> Faults:
        """Requests whose text holds the substring: all, or the first `times` of them."""
        matches = 0

        def choose(request: ServedRequest) -> Fault | None:
            nonlocal matches
            if substring not in request.text:
                return None
            matches += 1
            return fault if times is None or matches <= times else None

        return cls(choose)


def _scripted(script: Sequence[Fault | None]) -> Callable[[ServedRequest], Fault | None]:
    left = iter(tuple(iterable("script", script, wanted="faults, or a function of the request")))
    return lambda _: next(left, None)
