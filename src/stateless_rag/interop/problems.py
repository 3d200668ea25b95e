"""What was found wrong while a folder of another engine was read: noted, never raised."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Problem", "Problems"]

_EXAMPLES, _SHOWN = 5, 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong `where` (a file, or a part of the folder), how often, and the first few ids or names."""

    where: str
    what: str
    count: int = 1
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        times = f" ({self.count:,} times)" if self.count > 1 else ""
        shown = f": {', '.join(self.examples)}{', …' if self.count > len(self.examples) else ''}"
        return f"{self.where}: {self.what}{times}{shown if self.examples else ''}"


class Problems:
    """Collects problems; those of the same kind become one with a count."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[int, tuple[str, ...]]] = {}

    def add(self, where: str, what: str, example: str | None = None) -> None:
        """Note one problem."""
        count, examples = self._found.get((where, what), (0, ()))
        if example is not None and len(examples) < _EXAMPLES:
            examples = (*examples, example if len(example) <= _SHOWN else f"{example[:_SHOWN]}…")
        self._found[where, what] = (count + 1, examples)

    def all(self) -> tuple[Problem, ...]:
        """What was noted, in the order in which it first came."""
        return tuple(
            Problem(where=where, what=what, count=count, examples=examples)
            for (where, what), (count, examples) in self._found.items()
        )
