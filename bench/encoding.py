"""The tokenizer's encoding for the baseline, from this package's data: no run downloads anything."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING

from stateless_rag.providers.ranks import read_ranks

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["encoding_folder"]

_URL = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"


def encoding_folder(folder: Path) -> Path:
    """Fill a folder for TIKTOKEN_CACHE_DIR, where tiktoken looks before it downloads; gives the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    packed = files("stateless_rag.providers") / "encodings" / "o200k_base.ranks.zz"
    name = hashlib.sha1(_URL.encode(), usedforsecurity=False).hexdigest()
    (folder / name).write_bytes(read_ranks(packed.read_bytes()).tiktoken_file())
    return folder
