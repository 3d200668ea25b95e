"""The write path: chunk → extract → merge → embed → store, over many documents at once.

Documents are made durable as pending before anything is paid for. Extraction runs over the chunks of all
documents together, so the LLM's slots stay full; documents whose chunks are done are committed in groups while
the others go on. `source` reads the input, `run` is one run, `chunks` cuts and extracts, `commits` commits, and
`reports` tells what became of it.
"""

from __future__ import annotations

from stateless_rag.ingest.run import Ingest
from stateless_rag.ingest.source import Documents, groups_of, new_tracking_id, require_converter, submit

__all__ = ["Documents", "Ingest", "groups_of", "new_tracking_id", "require_converter", "submit"]
