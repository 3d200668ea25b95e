"""The stages, to be used alone: each is a function of a Context and values.

    from stateless_rag.stages import chunk, embed, extract, merge, summarize

Each lies in a module of its own name. The functions are bound here after those modules were loaded, so these
names are always the functions, whatever was imported first.
"""

from __future__ import annotations

from stateless_rag.stages.chunk import chunk
from stateless_rag.stages.embed import embed
from stateless_rag.stages.extract import extract
from stateless_rag.stages.merge import merge
from stateless_rag.stages.summarize import summarize

__all__ = ["chunk", "embed", "extract", "merge", "summarize"]
