"""Values that were asked for lately, by key: a bounded cache that any thread may use without waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

__all__ = ["Recent"]

Key = TypeVar("Key", bound="Hashable")
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """Keeps the last values, in number at most `most` and at least half of it. None stands for one that is not here.

    It belongs to something that never changes, so neither do the values. What two threads keep at once may be lost.
    """

    __slots__ = ("_half", "_new", "_old")

    def __init__(self, most: int) -> None:
        self._half = most // 2
        self._new: dict[Key, Value] = {}
        self._old: dict[Key, Value] = {}

    def __len__(self) -> int:
        return len(self._new) + len(self._old)

    def get(self, key: Key) -> Value | None:
        """The value, if it is here."""
        value = self._new.get(key)
        return self._old.get(key) if value is None else value

    def among(self, keys: Iterable[Key]) -> dict[Key, Value | None]:
        """The value of each of the keys, in their order."""
        new, old = self._new, self._old
        return {key: new[key] if key in new else old.get(key) for key in keys}

    def keep(self, values: Mapping[Key, Value]) -> None:
        """Keep these, unless they are too many; the values that were kept first go."""
        if len(values) > self._half:
            return
        if len(self._new) + len(values) > self._half:
            self._old, self._new = self._new, {}
        self._new.update(values)
