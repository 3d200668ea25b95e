"""JSON as a server tells it becomes the values of this library, by their annotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import PurePath
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from stateless_rag import types

__all__ = ["decoded"]

Value = TypeVar("Value")


def decoded(kind: type[Value], told: Any) -> Value:
    """What was told as a value of a kind: a dataclass, or whatever stands in the annotations of one.

    What is told besides is left out, so that a newer server can say more. Raises ValueError for what is none.

    >>> decoded(types.Usage, {"calls": 2, "prompt_tokens": 7, "new": True})
    Usage(calls=2, prompt_tokens=7, completion_tokens=0, cached=0)
    """
    made: Value = _value(kind, told)
    return made


def _value(kind: Any, told: Any) -> Any:
    if kind is Any:
        return told
    if is_dataclass(kind):
        return _dataclass(kind, told)
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _either(parts, told)
    if origin is Literal:
        return _require(told in parts, kind, told)
    if origin is tuple:
        _require(isinstance(told, list | tuple), kind, told)
        if parts[-1] is Ellipsis:
            return tuple(_value(parts[0], each) for each in told)
        _require(len(told) == len(parts), kind, told)
        return tuple(_value(part, each) for part, each in zip(parts, told, strict=True))
    if origin in (list, Sequence):
        _require(isinstance(told, list), kind, told)
        return [_value(parts[0], each) for each in told]
    if origin in (dict, Mapping):
        _require(isinstance(told, Mapping), kind, told)
        return MappingProxyType({_value(parts[0], k): _value(parts[1], v) for k, v in told.items()})
    return _plain(kind, told)


def _plain(kind: Any, told: Any) -> Any:
    if kind is float and isinstance(told, int) and not isinstance(told, bool):
        return told  # as the library counts weights, where nobody said otherwise
    if isinstance(kind, type) and issubclass(kind, Enum | PurePath):
        return kind(_require(isinstance(told, str), kind, told))
    expected = NoneType if kind is None else kind
    return _require(isinstance(told, expected), kind, told)


def _either(parts: Sequence[Any], told: Any) -> Any:
    if told is None and NoneType in parts:
        return None
    failed: ValueError | None = None
    for part in parts:
        if part is not NoneType:
            try:
                return _value(part, told)
            except ValueError as error:
                failed = error
    raise failed or ValueError(f"{str(told)[:100]!r} is none of {parts}")


def _dataclass(kind: Any, told: Any) -> Any:
    _require(isinstance(told, Mapping), kind, told)
    # Types that are named for checkers only, because modules would import each other, are looked up among all.
    hints = get_type_hints(kind, localns={name: getattr(types, name) for name in types.__all__})
    given = {}
    for each in fields(kind):
        if each.name in told:
            given[each.name] = _value(hints[each.name], told[each.name])
        elif each.default is MISSING and each.default_factory is MISSING:
            raise ValueError(f"{kind.__name__} has no {each.name}")
    return kind(**given)


def _require(holds: bool, kind: Any, told: Any) -> Any:
    if not holds:
        raise ValueError(f"{str(told)[:100]!r} is no {getattr(kind, '__name__', kind)}")
    return told
