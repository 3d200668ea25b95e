"""Entity resolution: which entities may be one, and saying so."""

from __future__ import annotations

__all__: list[str] = []
