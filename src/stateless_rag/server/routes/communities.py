"""/api/v1/projects/{workspace}/graph/communities: entities that belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from stateless_rag.server.asked import ReadProject
from stateless_rag.server.problems import Refused
from stateless_rag.server.replies import told
from stateless_rag.server.routes.described import PROJECT, project_router
from stateless_rag.types import Community

if TYPE_CHECKING:
    from stateless_rag.server.settings import ServerSettings

__all__ = ["community_routes"]

_Level = Annotated[int, Query(ge=0, le=1000, description="0 has the coarsest.")]
_Resolution = Annotated[
    float | None, Query(gt=0, le=1000, allow_inf_nan=False, description="Higher for smaller ones.")
]
_Limit = Annotated[int, Query(ge=1, le=10_000)]
_Id = Annotated[str, Path(min_length=1, max_length=64)]


async def list_communities(
    asked: ReadProject, level: _Level = 0, resolution: _Resolution = None, limit: _Limit = 100
) -> Response:
    """The communities of a level, largest first."""
    async with asked.engine() as engine:
        return told(await engine.communities(level=level, resolution=resolution, limit=limit))


async def get_community(asked: ReadProject, community: _Id, resolution: _Resolution = None) -> Response:
    """One community, with all its members."""
    async with asked.engine() as engine:
        found = await engine.community(community, resolution=resolution)
    if found is None:
        raise Refused(404, f"the graph has no community {community!r}")
    return told(found)


def community_routes(settings: ServerSettings) -> APIRouter:  # noqa: ARG001 -- as all of them are called
    """Communities of entities."""
    router = project_router("graph")
    add: Any = router.add_api_route
    listed = f"{PROJECT}/graph/communities"
    add(listed, list_communities, methods=["GET"], response_model=list[Community])
    add(f"{listed}/{{community}}", get_community, methods=["GET"], response_model=Community)
    return router
