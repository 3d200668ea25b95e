"""How much a file may ask for, and what it has become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

from stateless_rag.checks import each_field, number, whole

__all__ = ["ConvertLimits", "Converted"]

_MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertLimits:
    """What one file may take. What takes more is refused, and the process that reads it is ended.

    `seconds` by the clock; `memory` bytes of address space of the process; `content` bytes of the file; `unpacked`
    bytes of all that an archive holds, and `ratio` times its size once that is above 16 MiB; `entries` files in an
    archive; `characters` of the text that comes out. `workers` processes convert side by side; each is replaced after
    `files` files, and ended when nothing has come for `idle` seconds.
    """

    seconds: float = 120.0
    memory: int = 1024 * _MIB
    content: int = 200 * _MIB
    unpacked: int = 512 * _MIB
    ratio: int = 200
    entries: int = 20_000
    characters: int = 50_000_000
    workers: int = 2
    files: int = 200
    idle: float = 30.0

    def __post_init__(self) -> None:
        each_field(self, number, "seconds", "idle", above=0.0)
        each_field(self, whole, "memory", least=128 * _MIB, most=2**50)
        each_field(self, whole, "content", "unpacked", "characters", least=1, most=2**40)
        each_field(self, whole, "ratio", "entries", "workers", "files", least=1, most=2**31)

    def to_json(self) -> dict[str, Any]:
        """As the worker is told them."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """The text of a file. `kind` is what it was, such as "pdf".

    `metadata` is JSON, and empty for plain texts: `kind`; `title` and `author` where the file names them; `pages`, of a
    PDF: where in the text each page begins; `slides`: how many; `sheets`: their names.
    """

    text: str
    kind: str
    metadata: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
