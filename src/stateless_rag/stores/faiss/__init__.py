"""Vector search in memory: an immutable FAISS base segment and an exact delta of newer rows."""

from __future__ import annotations

from stateless_rag.stores.faiss.base_file import read_base, write_base
from stateless_rag.stores.faiss.base_segment import Base
from stateless_rag.stores.faiss.codes import BaseType
from stateless_rag.stores.faiss.segments import Rescore, VectorIndex, VectorView

__all__ = ["Base", "BaseType", "Rescore", "VectorIndex", "VectorView", "read_base", "write_base"]
