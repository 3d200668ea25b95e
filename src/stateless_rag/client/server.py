"""A server, with the names that the library's store has, and its workspaces."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from stateless_rag.client.engine import RemoteEngine
from stateless_rag.client.files import downloaded, local_path
from stateless_rag.client.wire import Wire, open_wire
from stateless_rag.errors import InvalidInput
from stateless_rag.opening import Opening
from stateless_rag.types import BackupReport, CompactReport, WorkspaceInfo

if TYPE_CHECKING:
    from pathlib import Path

    from stateless_rag.types import Event

__all__ = ["Server"]

_PAGE = 1000


class Server:
    """A stateless-rag server that runs somewhere.

        async with Server.open("http://127.0.0.1:9621", key="…") as server:
            papers = server.workspace("papers")
            answer = await papers.query("Who designed the Analytical Engine?")

    Raises ServerError where it cannot be reached, is none, or refuses; what the library raises on the other side is
    raised here as the same error, but for what providers have said, which stays in the server's log.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    @staticmethod
    def open(url: str, *, key: str | None = None) -> Opening[Server]:
        """Connect to a server: `async with Server.open(url) as server`. Nothing is sent yet.

        Raises InvalidInput for an address or a key that can be none.
        """
        opened = open_wire(url, key)

        async def enter() -> Server:
            return Server(await opened.__aenter__())

        async def leave(_: Server) -> None:
            await opened.__aexit__(None, None, None)

        return Opening(enter, leave)

    @property
    def url(self) -> str:
        """Where it is."""
        return self._wire.url

    def workspace(self, name: str, *, observer: Callable[[Event], None] | None = None) -> RemoteEngine:
        """A workspace, which need not be there; `observer` is told the steps of what is done in it."""
        return RemoteEngine(self._wire, name, observer=observer)

    async def names(self) -> Sequence[str]:
        """The names of the workspaces that the key opens, in code point order."""
        found: list[str] = []
        while True:
            told = await self._wire.ask("GET", "/projects", params={"offset": len(found), "limit": _PAGE})
            found += [each["name"] for each in told["projects"]]
            if not told["projects"] or len(found) >= told["total"]:
                return found

    async def describe(self, name: str) -> WorkspaceInfo:
        """As `Store.describe`."""
        return await self._wire.get(WorkspaceInfo, _at(name))

    async def create(self, name: str, *, placement: Literal["root", "own"] | None = None) -> WorkspaceInfo:
        """Make an empty workspace. Raises ServerError (409) if there is one of that name."""
        _require_unplaced(placement)
        return await self._wire.post(WorkspaceInfo, "/projects", {"name": name})

    async def drop(self, name: str) -> None:
        """As `Store.drop`."""
        await self._wire.ask("DELETE", _at(name))

    async def copy(self, name: str, to: str, *, placement: Literal["root", "own"] | None = None) -> None:
        """As `Store.copy`; what waits in the copy is taken in by the server."""
        _require_unplaced(placement)
        await self._wire.ask("POST", f"{_at(name)}/copy", json={"name": to})

    async def compact(self, name: str) -> CompactReport:
        """As `Store.compact`."""
        return await self._wire.post(CompactReport, f"{_at(name)}/compact")

    async def backup(self, name: str, path: str | Path, *, overwrite: bool = False) -> BackupReport:
        """As `Store.backup`: the server makes the file, and it is written here."""
        target = local_path(path)
        headers = await downloaded(self._wire, f"{_at(name)}/backup", target, overwrite=overwrite)
        told = json.loads(headers["x-report"])
        return self._wire.value(BackupReport, told | {"path": str(target)})

    async def restore(
        self,
        path: str | Path,
        name: str | None = None,
        *,
        placement: Literal["root", "own"] | None = None,
        overwrite: bool = False,
    ) -> str:
        """As `Store.restore`: the file is sent."""
        _require_unplaced(placement)
        source = local_path(path)
        info = await self._wire.upload(WorkspaceInfo, "/restore", source, name=name, overwrite=overwrite)
        return info.name


def _require_unplaced(placement: str | None) -> None:
    if placement is not None:
        raise InvalidInput(
            f"placement is {placement!r}, but a server places workspaces as it was told at its start; leave it out"
        )


def _at(name: str) -> str:
    return f"/projects/{quote(name, safe='')}"
