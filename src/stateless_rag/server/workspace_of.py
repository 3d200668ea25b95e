"""Which workspace a request is for: its path, a header, or the default; all that say something must agree.

/api/v1/projects/NAME/…      the path
/w/NAME/…                    the path, for clients that cannot send a header: what follows is any other route
LIGHTRAG-WORKSPACE: NAME     a header
X-Workspace: NAME            a header
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from stateless_rag.checks import shown
from stateless_rag.errors import InvalidInput
from stateless_rag.server.problems import answer_error
from stateless_rag.stores.duckdb.names import check_name

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["HEADERS", "WorkspacePaths", "named_in_path", "one_workspace", "path_of"]

HEADERS = ("LIGHTRAG-WORKSPACE", "X-Workspace")

_NAMED = "stateless_rag.workspace"
_PREFIX = "/w/"
_PROJECTS = "/api/v1/projects/"


def path_of(scope: MutableMapping[str, Any]) -> str:
    """The path of a request without what the application is mounted at."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    inside = root and (path == root or path.startswith(f"{root}/"))
    return (path[len(root) :] or "/") if inside else path


def named_in_path(scope: MutableMapping[str, Any]) -> list[str]:
    """The names that the path of a request says, checked by `WorkspacePaths`."""
    found: list[str] = scope.get(_NAMED, [])
    return found


def one_workspace(names: Iterable[str], default: str) -> str:
    """The one workspace that is named; blank names say nothing.

    Raises InvalidInput for names that disagree, InvalidWorkspaceName for one that is none.

    >>> one_workspace(["", " papers "], "default"), one_workspace([], "default")
    ('papers', 'default')
    """
    said = list(dict.fromkeys(name.strip(" \t") for name in names))
    said = [check_name(name) for name in said if name]
    if len(said) > 1:
        raise InvalidInput(f"the request names different workspaces, {', '.join(map(shown, said))}; name one")
    return said[0] if said else default


class WorkspacePaths:
    """ASGI: takes `/w/NAME` off the path, and refuses names in paths that are none, before anything else reads them.

    Names are read as they were sent, so that an encoded slash does not make two segments of one. `prefix` is what a
    proxy has before all paths; it may take it off or leave it.
    """

    def __init__(self, app: ASGIApp, prefix: str = "") -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["root_path"] = scope.get("root_path") or self._prefix
        try:
            # In place: what is found out about a request further in is told to who logs it further out.
            scope.update(_named(scope))
        except InvalidInput as error:
            await answer_error(scope, receive, send, error)
            return
        await self._app(scope, receive, send)


def _named(scope: Scope) -> Scope:
    """What changes in the scope of a request. Raises InvalidWorkspaceName."""
    names: list[str] = []
    changed: Scope = {_NAMED: names}
    sent = _sent(scope)
    if sent.startswith(_PREFIX):
        segment = sent[len(_PREFIX) :].partition("/")[0]
        names.append(check_name(unquote(segment)))
        root = scope.get("root_path", "")
        if not _is_below(scope["path"], root):
            changed["path"] = root + scope["path"]
        changed["root_path"] = f"{root}{_PREFIX}{names[0]}"
        sent = sent[len(_PREFIX) + len(segment) :]
    if sent.startswith(_PROJECTS) and (segment := sent[len(_PROJECTS) :].partition("/")[0]):
        names.append(check_name(unquote(segment)))
    return changed


def _sent(scope: Scope) -> str:
    """The path as it was sent, still encoded, without what the application is mounted at."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    path = raw.partition(b"?")[0].decode("latin-1")
    root = scope.get("root_path", "")
    return path[len(root) :] if _is_below(path, root) else path


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root}/")
