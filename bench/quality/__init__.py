"""Quality of retrieval, measured on the sets beside the project: `python -m bench.quality`."""

from __future__ import annotations
