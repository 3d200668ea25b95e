"""Requests to a server, and what becomes of its answers: values, streams of events, files, errors."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import IO, TYPE_CHECKING, Any, TypeVar

import httpx2

from stateless_rag import errors
from stateless_rag.client.decoding import decoded
from stateless_rag.errors import (
    BudgetExhausted,
    InvalidInput,
    Overloaded,
    ServerError,
    StatelessRagError,
    WorkFailed,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Wire", "open_wire"]

Value = TypeVar("Value")

_CREDENTIALS = re.compile("//.*@", re.DOTALL)
_CONNECT = 10.0  # seconds
_PIECE = 2**16  # bytes
_API = "/api/v1"
_KEY = "set STATELESS_RAG_KEY, or say --key, to one that the server knows"


class Wire:
    """One server. Paths are those below /api/v1."""

    def __init__(self, client: httpx2.AsyncClient, url: str) -> None:
        self._client = client
        self.url = url

    async def ask(self, method: str, path: str, **given: Any) -> Any:
        """Send a request; what the answer says, None where it has no body. Raises as `_raise` tells."""
        with _mapped(self.url):
            answer = await self._client.request(method, self._at(path), **given)
        await self._check(answer)
        return None if answer.status_code == 204 else self._json(answer.content)

    async def get(self, kind: type[Value], path: str, **params: Any) -> Value:
        """What the server has there, as a value of a kind."""
        told = await self.ask("GET", path, params=_params(params))
        return self.value(kind, told)

    async def post(self, kind: type[Value], path: str, body: Any = None, **params: Any) -> Value:
        """Send something there; what the answer says, as a value of a kind."""
        told = await self.ask("POST", path, json=body, params=_params(params))
        return self.value(kind, told)

    async def patch(self, kind: type[Value], path: str, body: Any, **params: Any) -> Value:
        """Change something there; what the answer says, as a value of a kind."""
        told = await self.ask("PATCH", path, json=body, params=_params(params))
        return self.value(kind, told)

    async def delete(self, kind: type[Value], path: str, **params: Any) -> Value:
        """Remove something there; what the answer says, as a value of a kind."""
        told = await self.ask("DELETE", path, params=_params(params))
        return self.value(kind, told)

    def value(self, kind: type[Value], told: Any) -> Value:
        """What the server told, as a value of a kind. Raises ServerError for what is none."""
        try:
            return decoded(kind, told)
        except ValueError as error:
            raise ServerError(
                f"{self.url} answered what this version does not understand ({error}); is it of another version?"
            ) from error

    async def events(
        self, path: str, body: Any, *, content: AsyncIterable[bytes] | None = None
    ) -> AsyncGenerator[tuple[str, Any]]:
        """The server-sent events that answer a request, by kind; `content` is sent in place of `body`, as it comes.

        An event of kind "error" is raised.
        """
        given: dict[str, Any] = {"json": body} if content is None else {"content": content}
        with _mapped(self.url):
            async with self._answer("POST", path, **given) as answer:
                kind = ""
                async for line in answer.aiter_lines():
                    if line.startswith("event: "):
                        kind = line.removeprefix("event: ")
                    elif line.startswith("data: "):
                        told = self._json(line.removeprefix("data: "))
                        if kind == "error":
                            raise _error(int(told["status"]), told, self.url, None)
                        yield kind, told

    async def download(self, path: str, file: IO[bytes], **params: Any) -> Mapping[str, str]:
        """Write what the server has there into a file, as it comes; returns the answer's headers."""
        with _mapped(self.url):
            async with self._answer("GET", path, params=_params(params)) as answer:
                async for piece in answer.aiter_bytes(_PIECE):
                    await asyncio.to_thread(file.write, piece)
                return answer.headers

    async def upload(self, kind: type[Value], path: str, file: Path, **params: Any) -> Value:
        """Send a file there, piece by piece."""
        with _opened(file) as opened:
            told = await self.ask("POST", path, content=_pieces(opened), params=_params(params))
        return self.value(kind, told)

    @asynccontextmanager
    async def _answer(self, method: str, path: str, **given: Any) -> AsyncIterator[httpx2.Response]:
        async with self._client.stream(method, self._at(path), **given) as answer:
            await self._check(answer)
            yield answer

    def _at(self, path: str) -> str:
        return f"{self.url}{_API}{path}"

    async def _check(self, answer: httpx2.Response) -> None:
        """Raise what an answer says that is no success."""
        if answer.is_success:
            return
        await answer.aread()
        kind = answer.headers.get("content-type", "").partition(";")[0]
        if kind == "application/problem+json":
            told = self._json(answer.content)
            raise _error(answer.status_code, told, self.url, answer.headers.get("retry-after"))
        if answer.status_code in (502, 503, 504):  # of a proxy
            raise ServerError(
                f"{self.url} answered {answer.status_code}; it may be starting or stopping: try again later",
                status=answer.status_code,
            )
        if answer.status_code == 413:
            raise ServerError(
                f"{self.url} takes no request that large; a proxy before it may need a higher bound",
                status=413,
            )
        raise ServerError(
            f"{self.url} answered {answer.status_code} and not as a stateless-rag server does; check the address",
            status=answer.status_code,
        )

    def _json(self, body: bytes | str) -> Any:
        try:
            return json.loads(body)
        except ValueError as error:
            raise ServerError(
                f"{self.url} did not answer as a stateless-rag server does; check the address"
            ) from error


@asynccontextmanager
async def open_wire(url: str, key: str | None = None) -> AsyncIterator[Wire]:
    """A connection to a server. Raises InvalidInput for an address or a key that can be none.

    There is no bound on the time that an answer takes: what it asks for may take long.
    """
    checked, credentials = _checked(url)
    headers = {"Accept": "application/json, text/event-stream"}
    if key is not None:
        if not (key.isascii() and key.isprintable() and key.strip()):
            raise InvalidInput("the key is blank or not ASCII; HTTP headers cannot carry it")
        headers["X-API-Key"] = key
    timeout = httpx2.Timeout(None, connect=_CONNECT)
    # The key goes nowhere but to the server that was named: proxies and redirects are not followed.
    async with httpx2.AsyncClient(
        timeout=timeout, headers=headers, trust_env=False, auth=credentials
    ) as client:
        yield Wire(client, checked)


def _checked(url: str) -> tuple[str, tuple[str, str] | None]:
    """A server's address without the name and the password that it may hold for a proxy, and these."""
    shown = _CREDENTIALS.sub("//***@", url)
    try:
        parsed = httpx2.URL(url.strip().rstrip("/"))
    except httpx2.InvalidURL as error:
        if shown != url:  # what is wrong may be told with a part of the password
            raise InvalidInput(f"the server's address {shown!r} cannot be read") from None
        raise InvalidInput(f"the server's address {url!r} cannot be read: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query or parsed.fragment:
        raise InvalidInput(f"the server's address is {shown!r}; it must be like http://127.0.0.1:9621")
    credentials = (parsed.username, parsed.password) if parsed.userinfo else None
    return str(parsed.copy_with(username=None, password=None)).rstrip("/"), credentials


@contextmanager
def _mapped(url: str) -> Iterator[None]:
    """Raise errors of `httpx2` as ServerError."""
    try:
        yield
    except httpx2.ConnectTimeout as error:
        raise ServerError(
            f"{url} did not answer within {_CONNECT:.0f} seconds; is the address right?"
        ) from error
    except httpx2.ConnectError as error:
        if isinstance(_root(error), ssl.SSLError) or "CERTIFICATE" in str(error) or "SSL" in str(error):
            raise ServerError(
                f"no safe connection to {url}: {error}; check that it serves HTTPS, and its certificate"
            ) from error
        raise ServerError(
            f"{url} cannot be reached: {error}; is `stateless-rag serve` running there?"
        ) from error
    except httpx2.RemoteProtocolError as error:
        raise ServerError(
            f"{url} broke the connection off, or does not speak HTTP: {error}; see its log"
        ) from error
    except httpx2.HTTPError as error:
        raise ServerError(
            f"the connection to {url} broke: {type(error).__name__} {error}; try again"
        ) from error


def _root(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def _error(status: int, told: Any, url: str, retry_after: str | None) -> StatelessRagError:
    """The error that an answer tells of, of the class that the library raises for it where it names one."""
    detail = str(told.get("detail", told)) if isinstance(told, Mapping) else str(told)
    wait = float(retry_after) if retry_after is not None and retry_after.isdigit() else None
    kind = getattr(errors, str(told.get("error")), None) if isinstance(told, Mapping) else None
    if isinstance(kind, type) and issubclass(kind, StatelessRagError) and kind is not WorkFailed:
        if kind is Overloaded or kind is BudgetExhausted:
            return kind(detail, retry_after=wait or 1.0)
        return kind(detail)
    if status == 401:
        return ServerError(f"{url} wants a key: {detail}; {_KEY}", status=status)
    if status == 403:
        return ServerError(f"{url} refuses: {detail}", status=status)
    if status in (400, 422):
        return InvalidInput(detail)
    if status in (429, 503):
        after = "" if wait is None else f" (in {wait:.0f} s)"
        return ServerError(f"{url} is too busy: {detail}{after}", status=status, retry_after=wait)
    return ServerError(detail if status == 409 else f"{url}: {detail}", status=status, retry_after=wait)


def _params(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise InvalidInput(f"{str(path)!r} cannot be read: {error.strerror or error}") from error
    with file:
        yield file


async def _pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, _PIECE):
        yield piece
