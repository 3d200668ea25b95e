"""What keeping a workspace in order found and did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from stateless_rag.types.reports import UsageByPurpose

__all__ = ["BackupReport", "CheckReport", "CompactReport", "EraseReport", "Fault", "RepairReport"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that is not as it must be.

    `kind` names it for programs, `where` is the table or file, `count` how many rows are so, `examples` some of
    them. `what` says what is wrong and `advice` what to do. With `repairable` `Engine.repair` mends it from what
    is there.
    """

    kind: str
    where: str
    what: str
    advice: str
    count: int = 1
    examples: tuple[str, ...] = ()
    repairable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What a check of one revision found; `ok` if that is nothing.

    `counts` are the rows that were looked at, by table. `unverified` counts descriptions that the LLM wrote and
    whose reply is not kept: they may be right. `unused_vectors` are named by nothing; they go by themselves.
    """

    workspace: str
    revision: int
    faults: tuple[Fault, ...]
    counts: Mapping[str, int]
    unverified: int = 0
    unused_vectors: int = 0
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairReport:
    """What a repair did: the faults there were, those that are left, and what providers cost.

    `lost` are ids of documents that have to be ingested again from where they came: part of them is gone.
    """

    workspace: str
    revision: int
    found: tuple[Fault, ...]
    left: tuple[Fault, ...]
    lost: tuple[str, ...] = ()
    usage: UsageByPurpose = field(default_factory=lambda: MappingProxyType({}))
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong any more, and nothing was lost."""
        return not (self.left or self.lost)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupReport:
    """A backup: the file, its bytes, and the revision of the workspace that it holds."""

    workspace: str
    revision: int
    path: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactReport:
    """The bytes of a workspace's database file before and after it was written anew.

    The file of the root is that of all workspaces without a file of their own.
    """

    workspace: str
    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseReport:
    """What went besides the documents: replies of the LLM that were kept, by purpose, and vectors.

    `curations` are numbers of changes by hand that name something which nothing tells of any more. They were
    not made of the documents, so they stay: `Engine.history` shows them.
    """

    replies: Mapping[str, int]
    vectors: int
    curations: tuple[int, ...] = ()
    compacted: CompactReport | None = None
