"""The engine: the async façade on one workspace."""

from __future__ import annotations

from stateless_rag.engine.engine import Engine

__all__ = ["Engine"]
