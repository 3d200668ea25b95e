"""Who asks, and what they may do."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stateless_rag.server.problems import Refused
from stateless_rag.server.tokens import Claims, Logins, Tokens
from stateless_rag.server.workspace_of import path_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from stateless_rag.server.settings import Access, ServerSettings

__all__ = ["Auth", "Principal"]

_ORDER = ("read", "write", "admin")
_OURS = ("/api/v1", "/v1")
_NOT_RENEWED = frozenset({"/health", "/documents/paginated", "/documents/pipeline_status"})


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: a name for logs, the workspaces they may use, and how. `claims` are those of their token."""

    name: str
    workspaces: tuple[str, ...] = ("*",)
    access: Access = "admin"
    claims: Claims | None = None

    def may_use(self, workspace: str) -> bool:
        """Whether a workspace is among theirs."""
        return "*" in self.workspaces or workspace in self.workspaces

    def require(self, workspace: str, access: Access) -> None:
        """Raise Refused (403) if they may not."""
        if not self.may_use(workspace):
            raise Refused(403, f"This key is not for the workspace {workspace!r}")
        self.require_access(access)

    def require_access(self, access: Access) -> None:
        """Raise Refused (403) if they may not, whatever the workspace."""
        if _ORDER.index(self.access) < _ORDER.index(access):
            raise Refused(403, f"This key may only {self.access}; this needs {access}")


class Auth:
    """Keys, tokens and open paths of one application."""

    def __init__(self, settings: ServerSettings, clock: Callable[[], float]) -> None:
        self.settings = settings
        self.tokens = Tokens(settings, clock)
        self.logins = Logins(settings, clock)
        self._keys = tuple((_digest(key.key), key) for key in settings.keys)

    def principal(self, request: Request, *, open_paths: bool = True) -> Principal:
        """Who asks. Raises Refused: 401, or 403 where clients of LightRAG expect that."""
        if not self.settings.protected:
            return Principal("anybody")
        if open_paths and self._is_open(path_of(request.scope)):
            return Principal("anybody")
        return self._by_key(request) or self._by_token(request)

    def _by_key(self, request: Request) -> Principal | None:
        """By a key, in its own header or as a bearer token; all keys are compared, so that time tells nothing."""
        given = [request.headers.get("x-api-key", ""), _bearer(request) or ""]
        found = None
        for digest in map(_digest, given):
            for known, key in self._keys:
                if hmac.compare_digest(digest, known):
                    found = key
        return None if found is None else Principal(found.name, found.workspaces, found.access)

    def _by_token(self, request: Request) -> Principal:
        bearer, accounts = _bearer(request), self.settings.accounts
        ours = path_of(request.scope).startswith(_OURS)
        challenge = {"WWW-Authenticate": "Bearer"}
        if bearer and accounts:
            claims = self.tokens.read(bearer)
            account = next((each for each in accounts if each.name == claims.subject), None)
            if claims.guest or account is None:
                raise Refused(401, "Invalid token. Please login again.", challenge)
            return Principal(account.name, account.workspaces, account.access, claims)
        wrong = bool(request.headers.get("x-api-key"))
        if wrong or (ours and bearer):
            raise Refused(401 if ours else 403, "Invalid API Key", challenge if ours else None)
        if accounts:
            raise Refused(401, "No credentials provided. Please login.", challenge)
        raise Refused(401 if ours else 403, "API Key required", challenge if ours else None)

    def renewed(self, request: Request, principal: Principal) -> str | None:
        """A fresh token to send along, for one that is about to expire."""
        if principal.claims is None or path_of(request.scope) in _NOT_RENEWED:
            return None
        return self.tokens.renewed(principal.claims)

    def _is_open(self, path: str) -> bool:
        return any(_opens(pattern, path) for pattern in self.settings.open_paths)


def _opens(pattern: str, path: str) -> bool:
    """Whether a path is among those of a pattern.

    >>> _opens("/api/*", "/api/chat"), _opens("/api/*", "/api/v1/projects"), _opens("/health", "/health")
    (True, False, True)
    """
    for ours in _OURS:
        if path.startswith(f"{ours}/") and not pattern.startswith(ours):
            return False
    if not pattern.endswith("/*"):
        return path == pattern
    below = pattern.removesuffix("/*")
    return path == below or path.startswith(f"{below}/")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _bearer(request: Request) -> str | None:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" and token.strip() else None
