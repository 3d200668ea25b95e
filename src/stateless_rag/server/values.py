"""What variables of an environment say, as values. Raises InvalidInput, which never repeats more than a beginning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stateless_rag.errors import InvalidInput

__all__ = ["flag_of", "number_of", "said"]

_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off"})


def said(names: Mapping[str, str], name: str) -> str:
    """What a variable says, without blanks around it; empty where it is not set."""
    return names.get(name, "").strip()


def flag_of(name: str, value: str) -> bool:
    """True or false."""
    if value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise InvalidInput(f"{name} must be true or false, not {value[:40]!r}")


def number_of(name: str, value: str, kind: Callable[[str], Any]) -> Any:
    """A number, of the kind that is asked for."""
    try:
        return kind(value.strip())
    except ValueError:
        raise InvalidInput(f"{name} must be a number, not {value[:40]!r}") from None
