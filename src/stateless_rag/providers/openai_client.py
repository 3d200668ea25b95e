"""How the OpenAI SDK is used: a client for each event loop, no environment, our own errors."""

from __future__ import annotations

import asyncio
import json
import math
import re
import threading
import time
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import httpx2
import openai

from stateless_rag.checks import json_object, optional, text
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
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["DEFAULT_BASE_URL", "LoopClients", "mapped_errors", "parse_body", "retry_after"]

DEFAULT_BASE_URL = "https://api.openai.com/v1"

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.\[\]-]{0,60}")
_MAY_PASS = frozenset({408, 409, 425})
_CONNECTIONS = 1000


class _Client(openai.AsyncOpenAI):
    """The SDK's client without what it takes from OPENAI_* variables."""

    def __init__(
        self, *, api_key: str, base_url: str, headers: Mapping[str, str], http_client: httpx2.AsyncClient
    ) -> None:
        super().__init__(
            api_key=api_key,
            admin_api_key="",
            organization="",
            project="",
            webhook_secret="",
            base_url=base_url,
            default_headers=headers,
            http_client=http_client,
            max_retries=0,
            timeout=None,
        )
        self.admin_api_key = self.organization = self.project = self.webhook_secret = None
        # OPENAI_CUSTOM_HEADERS was mixed in; there is no argument against it.
        self._custom_headers = dict(headers)
        self._ambient_authorizations = frozenset()


class LoopClients:
    """The clients of one provider, one for each event loop that calls it.

    Connections belong to the loop they were opened on. `close` closes those of the running loop; clients of
    loops that have been closed are dropped. Thread-safe. The environment's proxies are not used: give a
    `http_client_factory` for that.
    """

    def __init__(
        self,
        *,
        api_key: str | None,
        base_url: str | None,
        headers: Mapping[str, str] | None,
        http_client_factory: Callable[[], httpx2.AsyncClient] | None,
    ) -> None:
        if api_key is not None and not isinstance(api_key, str):
            raise InvalidInput(f"api_key is a {type(api_key).__name__}; it must be a string")
        self._base_url = optional("base_url", base_url, text) or DEFAULT_BASE_URL
        parts = urlsplit(self._base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidInput("base_url must be like https://host/v1")
        self._server = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        if not api_key and self.is_default:
            raise InvalidInput(
                f"api_key is needed for {DEFAULT_BASE_URL}; it is not read from the environment"
            )
        # Servers without keys get a placeholder: the SDK insists on one.
        self._api_key = api_key or "none"
        self._headers = {
            name: text(f"headers[{name!r}]", value)
            for name, value in json_object("headers", headers or {}, error=InvalidInput).items()
        }
        self._factory = http_client_factory or _http_client
        self._lock = threading.Lock()
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, openai.AsyncOpenAI] = WeakKeyDictionary()

    @property
    def is_default(self) -> bool:
        """Whether requests go to OpenAI itself."""
        return self._base_url.rstrip("/") == DEFAULT_BASE_URL

    @property
    def server(self) -> str:
        """Where requests are sent, for messages: without credentials and query."""
        return self._server

    def get(self) -> openai.AsyncOpenAI:
        """The running loop's client, made on first use."""
        loop = asyncio.get_running_loop()
        with self._lock:
            for other in [other for other in self._clients if other.is_closed()]:
                del self._clients[other]
            client = self._clients.get(loop)
            if client is None or client.is_closed():
                client = _Client(
                    api_key=self._api_key,
                    base_url=self._base_url,
                    headers=self._headers,
                    http_client=self._factory(),
                )
                self._clients[loop] = client
            return client

    async def close(self) -> None:
        """Close the running loop's connections; a later call opens new ones."""
        with self._lock:
            client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()


def _http_client() -> httpx2.AsyncClient:
    # No time-out: each call is timed by its caller.
    limits = httpx2.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=100)
    return httpx2.AsyncClient(timeout=None, trust_env=False, follow_redirects=True, limits=limits)


@contextmanager
def mapped_errors(model: str, server: str) -> Iterator[None]:
    """Raise errors of the SDK as `ProviderError`s. Messages hold neither keys nor texts."""
    where = f"{model} at {server}"
    try:
        yield
    except openai.APITimeoutError as exc:
        raise ProviderTimeout(f"{where} did not answer in time") from exc
    except (openai.APIConnectionError, httpx2.HTTPError) as exc:
        raise _connection_error(exc.__cause__ or exc, where) from exc
    except openai.APIStatusError as exc:
        raise _status_error(exc, where) from exc
    except openai.APIResponseValidationError as exc:
        raise InvalidReply(f"{where} answered with a body of another shape", status=exc.status_code) from exc
    except openai.APIError as exc:
        # What is left are errors that a server reports within a stream.
        code = _code(exc.code, exc.type)
        kind = ProviderRateLimited if "rate_limit" in code or "429" in str(exc.code) else ProviderUnavailable
        raise kind(f"{where} broke off with an error{code}") from exc
    except openai.OpenAIError as exc:
        raise ProviderRejected(f"{where}: the request could not be made ({type(exc).__name__})") from exc
    except UnicodeEncodeError as exc:
        raise ProviderRejected(
            f"{where}: the request could not be made, because a text or a header holds characters that HTTP "
            f"cannot carry ({exc.encoding})"
        ) from exc
    except (UnicodeDecodeError, json.JSONDecodeError) as exc:
        raise InvalidReply(f"{where} answered with something that is not JSON") from exc


def _connection_error(cause: BaseException, where: str) -> ProviderError:
    reason = type(cause).__name__
    if isinstance(cause, httpx2.DecodingError):
        return InvalidReply(f"{where} answered with a body that is not in the encoding it names")
    if isinstance(cause, httpx2.TooManyRedirects | httpx2.UnsupportedProtocol):
        return ProviderRejected(f"{where} sends requests elsewhere and nowhere ({reason}): check base_url")
    return ProviderUnavailable(f"{where} could not be reached, or broke the connection ({reason})")


def _status_error(exc: openai.APIStatusError, where: str) -> ProviderError:
    status = exc.status_code
    said = f"{where} answered {status}{_code(exc.code, exc.type)}"
    wait = retry_after(exc.response.headers, time.time())
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
        advice = "check the model's limits, extra_body and max_tokens"
    return ProviderRejected(f"{said}: {advice}", status=status)


def _code(*codes: object) -> str:
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


def parse_body(content: bytes, model: str) -> Mapping[str, Any]:
    """The JSON object of a model's answer. Raises `InvalidReply` if it is none."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise InvalidReply(f"{model} gave an answer of {len(content)} bytes that is not JSON") from exc
    if not isinstance(body, dict):
        raise InvalidReply(f"{model} answered with a JSON {type(body).__name__}, not an object")
    return body
