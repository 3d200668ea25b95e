"""The engines that are compared, behind one interface. Each is imported in its own process only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Protocol

from bench.corpus import Passage, Question
from bench.providers import Providers
from bench.runs import OURS, Run

__all__ = ["Arm", "Subject", "load_arm", "open_arm"]


class Subject(Protocol):
    """One open workspace of an engine."""

    async def insert(self, passages: Sequence[Passage]) -> None:
        """Take passages in, one document each; raises if not all of them are there afterwards."""

    async def retrieve(self, question: Question, mode: str, *, tenth: int | None = None) -> int:
        """How many passages were found, among those of one `tenth` if it is given; no LLM is called."""

    async def delete(self, ids: Sequence[str]) -> None:
        """Delete documents."""

    async def sizes(self) -> Mapping[str, float]:
        """How many entities and relations there are."""


class Arm(Protocol):
    """An engine on a folder."""

    def open(self, workspace: str = "bench") -> AbstractAsyncContextManager[Subject]:
        """A workspace. Several may be open at once; they share the limit of LLM calls."""

    @property
    def filters(self) -> bool:
        """Whether it can look among documents with certain metadata only."""


def load_arm(run: Run) -> ModuleType:
    """Import what the arm needs; in a fresh process that takes a while."""
    return import_module("bench.arms.ours" if run.arm == OURS else "bench.arms.baseline")


def open_arm(run: Run, folder: Path, providers: Providers) -> AbstractAsyncContextManager[Arm]:
    """The arm that the run names, on its folder."""
    opened: AbstractAsyncContextManager[Arm] = load_arm(run).open_arm(run, folder, providers)
    return opened
