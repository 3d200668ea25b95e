"""LightRAG's methods, in its shapes, on an engine that the pool has opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stateless_rag.interop.lightrag.documents import Documents
from stateless_rag.interop.lightrag.editing import Editing

if TYPE_CHECKING:
    from stateless_rag.engine import Engine

__all__ = ["Facade"]


class Facade(Documents, Editing):
    """An instance that opens nothing and closes nothing; all arguments but the bound of graphs have their defaults."""

    def __init__(self, engine: Engine, max_graph_nodes: int) -> None:
        object.__setattr__(self, "_engine", engine)
        object.__setattr__(self, "max_graph_nodes", max_graph_nodes)

    async def engine(self) -> Engine:
        """The leased engine."""
        leased: Engine = self.__dict__["_engine"]
        return leased
