"""Large JSON, read in pieces: one value of an array after the other, so that other threads have their turns.

`json.loads` reads a body of 200 MB in one call, during which the interpreter runs nothing else.
"""

from __future__ import annotations

import json
import re
from typing import Any

from stateless_rag.errors import InvalidInput

__all__ = ["read_json"]

_SPACE = re.compile(r"[ \t\n\r]*")
_LEVELS = 3  # of objects and arrays that are read piece by piece; what is deeper is read at once


def read_json(body: bytes) -> Any:
    """The value that a body says. Raises InvalidInput for what is no JSON, NaN and infinity included."""
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    try:
        text = body.decode("utf-8-sig")
        value, place = _value(decoder, text, _skipped(text, 0), _LEVELS)
        if _skipped(text, place) != len(text):
            raise InvalidInput(f"the body goes on after its JSON value, at character {place}")
    except InvalidInput:
        raise
    except StopIteration as error:
        raise InvalidInput(f"the body is no JSON: a value is missing at character {error.value}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the body is not UTF-8: {error.reason} at byte {error.start}") from error
    except ValueError as error:
        raise InvalidInput(f"the body is no JSON: {error}") from error
    except RecursionError as error:
        raise InvalidInput("the body is nested too deep") from error
    return value


def _value(decoder: json.JSONDecoder, text: str, place: int, levels: int) -> tuple[Any, int]:
    opening = text[place : place + 1]
    if levels and opening == "{":
        return _object(decoder, text, place + 1, levels - 1)
    if levels and opening == "[":
        return _array(decoder, text, place + 1, levels - 1)
    found: tuple[Any, int] = decoder.scan_once(text, place)  # type: ignore[attr-defined]  # as `raw_decode` calls it
    return found


def _object(decoder: json.JSONDecoder, text: str, place: int, levels: int) -> tuple[dict[str, Any], int]:
    made: dict[str, Any] = {}
    place = _skipped(text, place)
    if text[place : place + 1] == "}":
        return made, place + 1
    while True:
        if text[place : place + 1] != '"':
            raise InvalidInput(f"the body is no JSON: a name in quotes is missing at character {place}")
        name, place = _value(decoder, text, place, 0)
        place = _skipped(text, place)
        if text[place : place + 1] != ":":
            raise InvalidInput(f"the body is no JSON: a colon is missing at character {place}")
        made[name], place = _value(decoder, text, _skipped(text, place + 1), levels)
        place = _skipped(text, place)
        if text[place : place + 1] == "}":
            return made, place + 1
        place = _after_comma(text, place)


def _array(decoder: json.JSONDecoder, text: str, place: int, levels: int) -> tuple[list[Any], int]:
    made: list[Any] = []
    place = _skipped(text, place)
    if text[place : place + 1] == "]":
        return made, place + 1
    while True:
        value, place = _value(decoder, text, place, levels)
        made.append(value)
        place = _skipped(text, place)
        if text[place : place + 1] == "]":
            return made, place + 1
        place = _after_comma(text, place)


def _after_comma(text: str, place: int) -> int:
    if text[place : place + 1] != ",":
        raise InvalidInput(f"the body is no JSON: a comma is missing at character {place}")
    return _skipped(text, place + 1)


def _skipped(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


def _no_constant(name: str) -> Any:
    raise InvalidInput(f"the body has the number {name}, which JSON does not")
