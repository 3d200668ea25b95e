"""What is refused before anything of it is read: requests for other hosts, and bodies of who shows no key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request

from stateless_rag.server.asked import service_of
from stateless_rag.server.problems import Refused, answer_error
from stateless_rag.server.workspace_of import path_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["KeysFirst", "KnownHosts"]

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_LOGIN = "/login"


class KnownHosts:
    """ASGI: refuses requests that name a host which this server is not called.

    A page of another site may have its own name resolve to this machine (DNS rebinding); its browser then sends what
    it likes to a server that asks for no key, but with that name.
    """

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app = app
        self._names = frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            named = Request(scope).headers.getlist("host")
            if len(named) != 1 or _host(named[0]) not in self._names:
                told = (
                    f"This server is not called {_host(named[0])!r}" if named else "The request names no host"
                )
                await answer_error(scope, receive, send, Refused(400, f"{told}; see allowed_hosts"))
                return
        await self._app(scope, receive, send)


class KeysFirst:
    """ASGI: refuses who shows no key, or a wrong one, before the body of the request is read.

    What a key that is known may do, `CheckedRoute` looks at, likewise before the body.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["method"] not in _READING and path_of(scope) != _LOGIN:
            request = Request(scope)
            try:
                service_of(request).auth.principal(request)
            except Refused as error:
                await answer_error(scope, receive, send, error)
                return
        await self._app(scope, receive, send)


def _host(named: str) -> str:
    """The name in a Host header, without the port.

    >>> _host("LOCALHOST:9621"), _host("[::1]:9621"), _host("::1"), _host("a.example.")
    ('localhost', '::1', '::1', 'a.example')
    """
    name = named.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return (name if name.count(":") > 1 else name.partition(":")[0]).removesuffix(".")
