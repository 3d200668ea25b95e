"""What providers behind HTTP have in common: a client for each event loop, no environment, our own errors."""

from __future__ import annotations

import asyncio
import json
import math
import re
import threading
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import httpx2

from stateless_rag.checks import json_object, text
from stateless_rag.errors import (
    InvalidInput,
    InvalidReply,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "PerLoop",
    "checked_headers",
    "code_of",
    "connection_error",
    "http_client",
    "mapped_requests",
    "parse_body",
    "parse_json",
    "retry_after",
    "server_of",
    "status_error",
    "unsendable",
]

Client = TypeVar("Client")

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.\[\]-]{0,60}")
_MAY_PASS = frozenset({408, 409, 425})
_CONNECTIONS = 1000


# ---- clients -------------------------------------------------------------------------------------------


class PerLoop(ABC, Generic[Client]):
    """The clients of one provider, one for each event loop that calls it.

    Connections belong to the loop they were opened on. `close` closes those of the running loop; clients of
    loops that have been closed are dropped. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, Client] = WeakKeyDictionary()

    @abstractmethod
    def _open(self) -> Client:
        """A new client, for the running loop."""

    @abstractmethod
    def _is_closed(self, client: Client) -> bool:
        """Whether it was closed behind our back."""

    @abstractmethod
    async def _close(self, client: Client) -> None:
        """Close it on its loop."""

    def get(self) -> Client:
        """The running loop's client, made on first use."""
        loop = asyncio.get_running_loop()
        with self._lock:
            for other in [other for other in self._clients if other.is_closed()]:
                del self._clients[other]
            client = self._clients.get(loop)
            if client is None or self._is_closed(client):
                client = self._clients[loop] = self._open()
            return client

    async def close(self) -> None:
        """Close the running loop's connections; a later call opens new ones."""
        with self._lock:
            client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await self._close(client)


def http_client() -> httpx2.AsyncClient:
    """A client without time-outs, since each call is timed by its caller, and without the environment's proxies."""
    limits = httpx2.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=100)
    return httpx2.AsyncClient(timeout=None, trust_env=False, follow_redirects=True, limits=limits)


def server_of(base_url: str) -> str:
    """Where requests are sent, for messages: without credentials and query."""
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput("base_url must be like https://host/v1")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def checked_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Headers to send with each request."""
    return {
        name: text(f"headers[{name!r}]", value)
        for name, value in json_object("headers", headers or {}, error=InvalidInput).items()
    }


# ---- errors --------------------------------------------------------------------------------------------


@contextmanager
def mapped_requests(where: str) -> Iterator[None]:
    """Raise errors of `httpx2` as `ProviderError`s. `where` names the model and its server."""
    try:
        yield
    except httpx2.TimeoutException as exc:
        raise ProviderTimeout(f"{where} did not answer in time") from exc
    except httpx2.InvalidURL as exc:
        raise ProviderUnavailable(f"{where} sends requests to something that is no URL") from exc
    except httpx2.HTTPError as exc:
        raise connection_error(exc, where) from exc
    except UnicodeEncodeError as exc:
        raise unsendable(exc, where) from exc


def connection_error(cause: BaseException, where: str) -> ProviderError:
    """The error for a request that got no answer."""
    reason = type(cause).__name__
    if isinstance(cause, httpx2.DecodingError):
        return InvalidReply(f"{where} answered with a body that is not in the encoding it names")
    if isinstance(cause, httpx2.TooManyRedirects | httpx2.UnsupportedProtocol):
        return ProviderRejected(f"{where} sends requests elsewhere and nowhere ({reason}): check base_url")
    return ProviderUnavailable(f"{where} could not be reached, or broke the connection ({reason})")


def unsendable(exc: UnicodeEncodeError, where: str) -> ProviderRejected:
    """The error for a text or a header that no request can carry."""
    return ProviderRejected(
        f"{where}: the request could not be made, because a text or a header holds characters that HTTP "
        f"cannot carry ({exc.encoding})"
    )


def status_error(status: int, headers: Mapping[str, str], code: str, where: str, hint: str) -> ProviderError:
    """The error for an answer that is none. `hint` says what to check if the server only refuses."""
    said = f"{where} answered {status}{code}"
    wait = retry_after(headers, time.time())
    if status == 429:
        return ProviderRateLimited(
            f"{said}: too many requests, or the quota is used up", status=status, retry_after=wait
        )
    if status >= 500 or status in _MAY_PASS:
        return ProviderUnavailable(said, status=status, retry_after=wait)
    if status in (401, 403):
        advice = "check api_key and what it may be used for"
    elif status == 404:
        advice = "check the model's name and base_url"
    elif status in (301, 302, 303, 307, 308):
        advice = "check base_url"
    elif status == 413:
        advice = "the request is too large"
    else:
        advice = hint
    return ProviderRejected(f"{said}: {advice}", status=status)


def code_of(*codes: object) -> str:
    """The first error code that is only a code; servers echo keys and texts in their messages."""
    for code in codes:
        if isinstance(code, str) and _CODE.fullmatch(code) and not code.startswith("sk-"):
            return f" ({code})"
    return ""


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """The seconds to wait that `retry-after-ms` or `retry-after` (seconds or an HTTP date) ask for.

    `now` is in seconds since 1970; the answer's own `date`, if there is one, is preferred to it.
    """
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) / scale
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    until = _timestamp(headers.get("retry-after", ""))
    if until is None:
        return None
    since = _timestamp(headers.get("date", ""))
    return max(0.0, until - (now if since is None else since))


def _timestamp(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


# ---- bodies --------------------------------------------------------------------------------------------


def parse_json(content: bytes, model: str) -> Any:
    """What a model's answer says. Raises `InvalidReply` if it is no JSON."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise InvalidReply(f"{model} gave an answer of {len(content)} bytes that is not JSON") from exc


def parse_body(content: bytes, model: str) -> Mapping[str, Any]:
    """The JSON object of a model's answer. Raises `InvalidReply` if it is none."""
    body = parse_json(content, model)
    if not isinstance(body, dict):
        raise InvalidReply(f"{model} answered with a JSON {type(body).__name__}, not an object")
    return body
