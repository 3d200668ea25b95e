"""Tokens of those who have logged in (JWT), and how often a login may fail."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jwt

from stateless_rag.errors import InvalidInput
from stateless_rag.server.problems import Refused

if TYPE_CHECKING:
    from stateless_rag.server.settings import Account, ServerSettings

__all__ = ["Claims", "Logins", "Tokens"]

_BCRYPT = "{bcrypt}"
_REMEMBERED = 10_000  # pairs of an address and a name
_RENEWED_EVERY = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says: who, until when (seconds since 1970), and as what."""

    subject: str
    expires: float
    guest: bool


class Tokens:
    """Makes and reads tokens. Without accounts they are signed with a secret of this process, and open nothing."""

    def __init__(self, settings: ServerSettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._secret = settings.token_secret or secrets.token_urlsafe(48)
        self._renewed: OrderedDict[str, float] = OrderedDict()

    def made(self, subject: str, *, guest: bool) -> str:
        """A new token."""
        hours = self._settings.guest_token_hours if guest else self._settings.token_hours
        claims = {
            "sub": subject,
            "exp": int(self._clock() + hours * 3600.0),
            "role": "guest" if guest else "user",
            "metadata": {"auth_mode": "disabled" if guest else "enabled"},
        }
        return jwt.encode(claims, self._secret, algorithm=self._settings.token_algorithm)

    def read(self, token: str) -> Claims:
        """What a token says. Raises Refused (401) for one that is not ours, or has expired."""
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[self._settings.token_algorithm],
                options={"require": ["sub", "exp", "role"], "verify_exp": False},
            )
        except jwt.PyJWTError as error:
            raise Refused(401, "Invalid token", {"WWW-Authenticate": "Bearer"}) from error
        if not isinstance(claims["exp"], int) or claims["exp"] <= self._clock():
            raise Refused(401, "Token expired", {"WWW-Authenticate": "Bearer"})
        return Claims(str(claims["sub"]), float(claims["exp"]), claims["role"] == "guest")

    def renewed(self, claims: Claims) -> str | None:
        """A fresh token for one that will expire soon; at most one a minute for everybody."""
        settings, now = self._settings, self._clock()
        life = settings.token_hours * 3600.0
        if not settings.token_renew or claims.expires - now >= settings.token_renew_threshold * life:
            return None
        if now - self._renewed.get(claims.subject, -_RENEWED_EVERY) < _RENEWED_EVERY:
            return None
        self._renewed[claims.subject] = now
        return self.made(claims.subject, guest=False)


class Logins:
    """Checks passwords, and refuses who has failed too often. Attempts that are under way count as failed."""

    def __init__(self, settings: ServerSettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._failures: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    async def check(self, address: str, name: str, password: str) -> Account:
        """The account. Raises Refused: 401 for a wrong name or password, 429 after too many of them."""
        attempts = self._attempt(address, name)
        account = next((each for each in self._settings.accounts if each.name == name), None)
        kept = account.password if account else ""
        matches = await asyncio.to_thread(_matches, password, kept)
        if account is None or not matches:
            raise Refused(401, "Incorrect credentials")
        attempts.clear()
        self._failures.pop((address, name), None)
        return account

    def _attempt(self, address: str, name: str) -> deque[float]:
        allowed, window, now = self._settings.login_attempts, self._settings.login_window, self._clock()
        attempts = self._failures.setdefault((address, name[:256]), deque())
        self._failures.move_to_end((address, name[:256]))
        while len(self._failures) > _REMEMBERED:
            self._failures.popitem(last=False)
        while attempts and attempts[0] <= now - window:
            attempts.popleft()
        if allowed and len(attempts) >= allowed:
            left = max(1, int(attempts[0] + window - now) + 1)
            raise Refused(429, "Too many failed login attempts; try again later", {"Retry-After": str(left)})
        attempts.append(now)
        return attempts


def _matches(given: str, kept: str) -> bool:
    said = given.encode("utf-8", "surrogatepass")
    if not kept.startswith(_BCRYPT):
        return hmac.compare_digest(said, kept.encode("utf-8", "surrogatepass")) and bool(kept)
    try:
        import bcrypt
    except ImportError as error:
        raise InvalidInput("passwords kept by bcrypt need it: pip install 'stateless-rag[server]'") from error
    try:
        return bcrypt.checkpw(said[:72], kept.removeprefix(_BCRYPT).encode())
    except ValueError:  # what is kept is no such hash
        return False
