"""Names of models that chat clients send: a workspace, and a mode after a colon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from stateless_rag.errors import InvalidInput, InvalidWorkspaceName
from stateless_rag.server.asked import is_named
from stateless_rag.server.problems import Refused
from stateless_rag.stores.duckdb.names import check_name
from stateless_rag.types import Mode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from stateless_rag.server.asked import Asked

__all__ = ["Chosen", "chosen", "model_names"]

_LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a model's name has chosen: a request of a workspace, and a mode, if it says one."""

    asked: Asked
    mode: str | None


async def chosen(request: Request, asked: Asked, model: str) -> Chosen:
    """What a name stands for: "papers", "papers:local"; the server's own model is the workspace of the request.

    The request is for that workspace from now on. Raises InvalidInput if it names another one itself, and Refused: 404
    for a name that stands for nothing, 403 for a workspace that the key does not open, 429.
    """
    named = is_named(request)
    name, _, tag = model.partition(":")
    mode = None if tag in ("", _LATEST) else tag
    if (
        model == asked.service.settings.ollama_model
        or name == asked.service.settings.ollama_model.partition(":")[0]
    ):
        if mode is None or mode in get_args(Mode):
            return Chosen(asked if named else asked.entered(request, asked.workspace), mode)
    elif mode is None or mode in get_args(Mode):
        try:
            check_name(name)
        except InvalidWorkspaceName:
            raise _unknown(model) from None
        if named and name != asked.workspace:
            raise InvalidInput(
                f"the request is for workspace {asked.workspace!r}, its model for {name!r}; name one"
            )
        asked.of(name)
        if await asked.service.leases.exists(name):
            return Chosen(asked if named else asked.entered(request, name), mode)
    raise _unknown(model)


async def model_names(asked: Asked) -> Sequence[str]:
    """The workspaces that the key opens, each alone and with each mode."""
    names = [name for name in await asked.service.leases.store.names() if asked.principal.may_use(name)]
    return [model for name in names for model in (name, *(f"{name}:{mode}" for mode in get_args(Mode)))]


def _unknown(model: str) -> Refused:
    return Refused(404, f"model {model[:200]!r} not found")
