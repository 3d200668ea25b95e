"""Values that callers give: for each kind of value one function, which returns it as it is kept, or raises.

All take the name of the argument and its value. The error tells both, and what to give instead.

>>> whole("top_k", 0, least=1)
Traceback (most recent call last):
    ...
stateless_rag.errors.InvalidInput: top_k is 0; it must be a whole number of at least 1
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Callable, Collection, Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar

from stateless_rag.errors import InvalidDocument, InvalidInput
from stateless_rag.text import clean_text

__all__ = [
    "callback",
    "choice",
    "each_field",
    "flag",
    "identifier",
    "identifiers",
    "instance",
    "instances",
    "iterable",
    "json_object",
    "number",
    "optional",
    "path",
    "provider",
    "shown",
    "text",
    "texts",
    "weight",
    "whole",
]

Kind = TypeVar("Kind")
_LARGEST = 2**31 - 1  # what FAISS and the database count with
_INTEGERS = range(-(2**63), 2**64)  # what fits into 64 bits, signed or not
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NO_PATH = re.compile("[\x00\ud800-\udfff]")
_ID_LIMIT, _DEPTH_LIMIT = 512, 64
_SHOWN = 80
_HEAVIEST = 1e9


def shown(value: object) -> str:
    """A value for a message: short, however large it is, and whatever its `repr` does."""
    if isinstance(value, int) and value not in _INTEGERS:
        return f"an integer of {value.bit_length()} bits"
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = _SHOWN
    try:
        told = short.repr(value)
    except (ValueError, RecursionError):  # a huge integer somewhere inside
        return f"a {type(value).__name__}"
    return told if len(told) <= 2 * _SHOWN else f"{told[: 2 * _SHOWN]}…"


def _wrong(name: str, value: object, wanted: str, error: type[InvalidInput] = InvalidInput) -> InvalidInput:
    return error(f"{name} is {shown(value)}; it must be {wanted}")


# ---- numbers, flags, choices ---------------------------------------------------------------------------


def whole(name: str, value: Any, *, least: int = 0, most: int = _LARGEST) -> int:
    """A whole number within bounds."""
    if type(value) is int and least <= value <= most:  # nearly always; to ask the abstract class takes longer
        return value
    found = least - 1 if isinstance(value, bool) or not isinstance(value, Integral) else int(value)
    if found < least:
        raise _wrong(name, value, f"a whole number of at least {least}")
    if found > most:
        raise _wrong(name, value, f"a whole number of at most {most}")
    return found


def number(
    name: str, value: Any, *, least: float = -math.inf, most: float = math.inf, above: float = -math.inf
) -> float:
    """A finite number within bounds."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise _wrong(name, value, _bounded(least, most, above))
    try:
        found = float(value)
    except OverflowError:
        raise _wrong(name, value, _bounded(least, most, above)) from None
    if not (math.isfinite(found) and least <= found <= most and found > above):
        raise _wrong(name, value, _bounded(least, most, above))
    return found


def _bounded(least: float, most: float, above: float) -> str:
    bounds = [f"at least {least:g}"] * (least > -math.inf) + [f"at most {most:g}"] * (most < math.inf)
    bounds += [f"above {above:g}"] * (above > -math.inf)
    return f"a number {' and '.join(bounds)}".strip()


def weight(name: str, value: Any, *, least: float = 0.0) -> float:
    """What a relation weighs: a number up to a billion, to six decimals, whole if it can be.

    >>> weight("weight", 2.0), weight("weight", 0.1 + 0.2)
    (2, 0.3)
    """
    found = round(number(name, value, least=least, most=_HEAVIEST), 6)
    return int(found) if found.is_integer() else found


def flag(name: str, value: Any) -> bool:
    """True or False, and nothing that stands for them."""
    if not isinstance(value, bool):
        raise _wrong(name, value, "True or False")
    return value


def choice(name: str, value: Any, *, among: tuple[str, ...]) -> str:
    """One of some words."""
    if not isinstance(value, str) or value not in among:
        raise _wrong(name, value, f"one of {', '.join(among)}")
    return value


# ---- text ----------------------------------------------------------------------------------------------


def text(name: str, value: Any, *, most: int | None = None, error: type[InvalidInput] = InvalidInput) -> str:
    """A string, cleaned by `clean_text`."""
    if not isinstance(value, str):
        raise _wrong(name, value, "a string", error)
    if most is not None and len(value) > most:
        raise _wrong(name, value, f"at most {most} characters long; it has {len(value)}", error)
    return clean_text(value)


def texts(name: str, value: Any) -> tuple[str, ...]:
    """Strings, cleaned; a single string is refused, because its characters are not meant."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Collection):
        raise _wrong(name, value, "a tuple of strings")
    return tuple(text(f"{name}[{place}]", item) for place, item in enumerate(value))


def identifier(name: str, value: Any, *, error: type[InvalidInput] = InvalidInput) -> str:
    """An id: a string that is not blank, has at most 512 characters, and no control characters."""
    if not isinstance(value, str) or not value.strip():
        raise _wrong(name, value, "a string that is not blank", error)
    if len(value) > _ID_LIMIT:
        raise _wrong(name, value, f"at most {_ID_LIMIT} characters long; it has {len(value)}", error)
    if _CONTROL.search(value):
        raise _wrong(name, value, "without control characters and lone surrogates", error)
    return value


def identifiers(name: str, value: Any) -> tuple[str, ...]:
    """Different ids, from one or a collection of them, in order."""
    if isinstance(value, str):
        return (identifier(name, value),)
    if isinstance(value, bytes | Mapping) or not isinstance(value, Collection):
        raise _wrong(name, value, "an id or a collection of ids")
    return tuple(dict.fromkeys(identifier(f"{name}[{place}]", item) for place, item in enumerate(value)))


def path(name: str, value: Any) -> Path:
    """A path in the file system, `~` expanded."""
    if not isinstance(value, str | Path) or not str(value).strip() or _NO_PATH.search(str(value)):
        raise _wrong(name, value, "a path: a string that is not blank, or a pathlib.Path")
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise _wrong(name, value, f"a path that exists ({error})") from error


# ---- objects -------------------------------------------------------------------------------------------


def optional(name: str, value: Any, check: Callable[..., Kind], **rules: Any) -> Kind | None:
    """None, or what another check accepts."""
    return None if value is None else check(name, value, **rules)


def instance(name: str, value: Any, *, kind: type[Kind]) -> Kind:
    """An instance of a class."""
    if not isinstance(value, kind):
        raise _wrong(name, value, f"of type {kind.__name__}")
    return value


def instances(name: str, value: Any, *, kind: type[Kind]) -> list[Kind]:
    """Instances of a class, in a list."""
    items = iterable(name, value, wanted=f"an iterable of {kind.__name__}")
    return [instance(f"{name}[{place}]", item, kind=kind) for place, item in enumerate(items)]


def iterable(name: str, value: Any, *, wanted: str) -> Iterable[Any]:
    """An iterable whose items are meant, which those of a string or a mapping are not."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise _wrong(name, value, wanted)
    return value


def callback(name: str, value: Any) -> Any:
    """A function."""
    if not callable(value):
        raise _wrong(name, value, "callable")
    return value


def provider(name: str, value: Any, *, members: tuple[str, ...]) -> Any:
    """An object that has the members of a protocol."""
    missing = [member for member in members if not hasattr(value, member)]
    if missing or isinstance(value, type):
        raise _wrong(name, value, f"an object with {', '.join(members)} (see stateless_rag.protocols)")
    return value


def each_field(owner: object, check: Callable[..., Any], /, *names: str, **rules: Any) -> None:
    """Check fields of a frozen dataclass, and keep what the check returns. For its `__post_init__`."""
    for name in names:
        value = getattr(owner, name)
        kept = check(name, value, **rules)
        if kept is not value:
            object.__setattr__(owner, name, kept)


# ---- JSON ----------------------------------------------------------------------------------------------


def json_object(name: str, value: Any, *, error: type[InvalidInput] = InvalidDocument) -> dict[str, Any]:
    """A copy of a mapping that JSON can say, with clean strings; tuples become lists."""
    if not isinstance(value, Mapping):
        raise _wrong(name, value, "a mapping", error)
    cleaned: dict[str, Any] = _json(name, value, 0, error)
    return cleaned


def _json(name: str, value: Any, depth: int, error: type[InvalidInput]) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if value not in _INTEGERS:
            raise _wrong(name, value, "a number of at most 64 bits; give it as a string", error)
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _wrong(name, value, "finite, because JSON has no other numbers; leave it out", error)
        return value
    if depth == _DEPTH_LIMIT:
        raise error(f"{name:.200} is nested more than {_DEPTH_LIMIT} levels deep; make it flatter")
    if isinstance(value, Mapping):
        cleaned = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise error(f"{name:.200} has the key {shown(key)}; keys must be strings")
            cleaned[clean_text(key)] = _json(f"{name}[{key!r:.40}]", item, depth + 1, error)
        return cleaned
    if isinstance(value, list | tuple):
        return [_json(f"{name}[{place}]", item, depth + 1, error) for place, item in enumerate(value)]
    raise _wrong(name, value, f"a JSON value, not of type {type(value).__name__}", error)
