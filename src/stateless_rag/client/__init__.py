"""A client of a running server: the library's names, spoken over HTTP."""

from __future__ import annotations

from stateless_rag.client.engine import RemoteEngine
from stateless_rag.client.server import Server

__all__ = ["RemoteEngine", "Server"]
