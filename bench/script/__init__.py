"""One script, run with LightRAG and with the façade: see docs/coming-from-lightrag.md."""

from __future__ import annotations
