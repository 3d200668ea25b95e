"""JSON files that may be cut off or damaged: as many of their rows as can be told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stateless_rag.interop.problems import Problems

__all__ = ["Row", "file_text", "items_from", "read_rows", "string", "strings"]

Row = Mapping[str, Any]

_RESYNC = re.compile(r'\n  (?=")')  # where a row begins in a file that is indented as they mostly are
_SPACE = re.compile(r"[ \t\r\n]*")
_ATTEMPTS = 100  # each reads on to the end of what is damaged


def file_text(path: Path, problems: Problems) -> str | None:
    """The text of a file, None if it is not there. What is no UTF-8 is replaced, and noted."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        problems.add(path.name, f"cannot be read ({error.strerror or error})")
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        problems.add(path.name, "is not UTF-8 throughout")
        return content.decode("utf-8-sig", "replace")


def read_rows(path: Path, problems: Problems) -> dict[str, Row]:
    """The rows of a JSON object of objects, by id, in the order of the file. A blank file has none."""
    text = file_text(path, problems)
    if text is None or not text.strip():
        return {}
    found: dict[str, Any]
    try:
        whole = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        found = dict(_salvaged(text))
        problems.add(path.name, f"is cut off or damaged; {len(found):,} rows could be read")
    else:
        found = whole if isinstance(whole, dict) else {}
        if not isinstance(whole, dict):
            problems.add(path.name, "holds no JSON object")
    rows: dict[str, Row] = {}
    for key, row in found.items():
        if isinstance(row, dict):
            rows[key] = row
        else:
            problems.add(path.name, "a row is no JSON object", key)
    return rows


def _salvaged(text: str) -> Iterator[tuple[str, Any]]:
    decoder = json.JSONDecoder(strict=False)
    place = _after_space(text, 0)
    for _ in range(_ATTEMPTS):
        try:
            while text[place : place + 1] in ("{", ","):
                key, place = decoder.raw_decode(text, _after_space(text, place + 1))
                place = _after_space(text, place)
                if not isinstance(key, str) or text[place : place + 1] != ":":
                    break
                value, place = decoder.raw_decode(text, _after_space(text, place + 1))
                place = _after_space(text, place)
                yield key, value
        except (ValueError, RecursionError):
            pass
        if text[place : place + 1] == "}":
            return
        following = _RESYNC.search(text, place + 1)
        if following is None:
            return
        place = following.end() - 1
        text = f"{text[:place]},{text[place + 1 :]}"


def _after_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return place if found is None else found.end()


def items_from(text: str, place: int) -> list[Any]:
    """The items of a JSON array whose bracket opens before `place`, as far as they can be read."""
    decoder = json.JSONDecoder(strict=False)
    items: list[Any] = []
    try:
        place = _after_space(text, place)
        while text[place : place + 1] not in ("]", ""):
            item, place = decoder.raw_decode(text, place)
            items.append(item)
            place = _after_space(text, place)
            if text[place : place + 1] != ",":
                break
            place = _after_space(text, place + 1)
    except (ValueError, RecursionError):
        pass
    return items


def string(row: Row, name: str) -> str:
    """A field that should be a string; "" if it is none."""
    value = row.get(name)
    return value if isinstance(value, str) else ""


def strings(row: Row, name: str) -> tuple[str, ...]:
    """A field that should be a list of strings: those that are."""
    value = row.get(name)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
