"""Reads the JSON object in an LLM's reply, though it be wrapped, damaged or cut off.

What is repaired: prose and fences around the object, trailing and missing commas, missing closing brackets,
single and typographic quotes, quotes and line breaks that are not escaped, Python's literals, and backslashes
of LaTeX that were not doubled. Of an object that was cut off, the complete items are kept.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["Reading", "read_object"]

_CANDIDATES = 8
_DEPTH = 32
_QUOTES = "\"'“”"
_SPACE = re.compile(r"\s*")
_GAP = re.compile(r"[\s,:]*")
_NO_KEY = re.compile(r"[^\"'“”}\]\w]+")
_BARE_KEY = re.compile(r"\w+")
_BARE = re.compile(r"[^,}\]\n]*")
_DOUBLE = re.compile(r"[\\\"“”]")
_SINGLE = re.compile(r"[\\']")
_ENDS_VALUE = re.compile(r"\s*(?:[,:}\]]|$)")
_STRAY = re.compile(r"\}\s*(?:,\s*\{|\])")
_ARRAY = re.compile(r"\s*(?:`{3,}\w*\s*)?\[\s*[\[{\"\]]")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")
# Commands that begin like an escape of JSON. A line break is common in texts, so it takes a clearer case.
_LATEX = re.compile(
    "[\b\f](?=[a-z])"
    "|\t(?=heta|imes|au\\b|ext|an\\b|anh\\b|frac|ilde|riangle|op\\b|o\\b|herefore)"
    "|\r(?=ho\\b|ight|angle|floor|ceil|m\\{)"
    "|\n(?=abla\\b|eq\\b|u\\b|earrow\\b|otin\\b)"
)
_LETTERS = "\b\f\t\r\nbftrn"


@dataclass(frozen=True, slots=True)
class Reading:
    """An object, if there is one. `whole`: it was not cut off; `array`: a list stood in its place."""

    value: dict[str, Any] | None = None
    whole: bool = False
    array: bool = False


def read_object(reply: str, wanted: Collection[str]) -> Reading:
    """The first object in the reply that has one of the wanted keys; time grows with its length only.

    >>> read_object("Sure! {'colours': ['red', 'blue',], 'size': 1", ["colours"]).value
    {'colours': ['red', 'blue']}
    """
    if _ARRAY.match(reply):
        return Reading(array=True)
    decoder = json.JSONDecoder(strict=False)
    at = reply.find("{")
    first = at
    for _ in range(_CANDIDATES):
        if at < 0:
            break
        try:
            value, _stop = decoder.raw_decode(reply, at)
        except (ValueError, RecursionError):
            value = None
        if _has(value, wanted):
            return Reading(_latex(value), whole=True)
        at = reply.find("{", at + 1)
    if first < 0:
        return Reading()
    key = re.search(r"\{\s*[\"'“”]?(?:" + "|".join(map(re.escape, wanted)) + r")\b", reply)
    reader = _Reader(reply, key.start() if key else first)
    value = reader.read()
    return Reading(_latex(value), whole=not reader.cut) if _has(value, wanted) else Reading()


def _has(value: object, wanted: Collection[str]) -> bool:
    return isinstance(value, dict) and any(key in value for key in wanted)


def _latex(value: Any) -> Any:
    """The value with the backslashes of LaTeX commands that were read as escapes put back."""
    if isinstance(value, str):
        return _LATEX.sub(lambda match: "\\" + _LETTERS[_LETTERS.index(match[0]) + 5], value)
    if isinstance(value, list):
        return [_latex(item) for item in value]
    if isinstance(value, dict):
        return {key: _latex(item) for key, item in value.items()}
    return value


class _Reader:
    """Reads a damaged object by recursive descent. Every step moves on, so it ends, and in linear time."""

    def __init__(self, text: str, at: int) -> None:
        self.cut = False
        self._text = text
        self._at = at

    def read(self) -> Any:
        return self._value(0)

    def _peek(self, gap: re.Pattern[str]) -> str:
        """Skip a gap; returns the character after it, "" at the end."""
        match = gap.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._text[self._at : self._at + 1]

    def _end(self) -> None:
        self.cut = True
        self._at = len(self._text)

    def _value(self, depth: int) -> Any:
        mark = self._peek(_SPACE)
        if not mark or depth > _DEPTH:
            self._end()
            return None
        if mark == "{":
            return self._object(depth)
        if mark == "[":
            return self._array(depth)
        return self._string() if mark in _QUOTES else self._bare()

    def _object(self, depth: int) -> dict[str, Any]:
        self._at += 1
        found: dict[str, Any] = {}
        while mark := self._peek(_NO_KEY):
            if mark == "]":
                return found
            if mark == "}":
                self._at += 1
                return found
            if mark in _QUOTES:
                key = self._string()
            else:
                match = _BARE_KEY.match(self._text, self._at)
                key = match[0] if match else ""
                self._at += len(key)
            if self._peek(_SPACE) != ":":
                continue
            self._at += 1
            value = self._value(depth + 1)
            if not self.cut or isinstance(value, list | dict):
                found.setdefault(key, value)
        self._end()
        return found

    def _array(self, depth: int) -> list[Any]:
        self._at += 1
        found: list[Any] = []
        while mark := self._peek(_GAP):
            if mark == "]":
                self._at += 1
                return found
            if mark == "}":
                # After objects, a brace too many; else the array's own bracket is missing.
                stray = _STRAY.match(self._text, self._at)
                if not (stray and found and isinstance(found[-1], dict)):
                    return found
                self._at += 1
                continue
            start = self._at
            value = self._value(depth + 1)
            if self.cut:
                return found
            if mark in _QUOTES and self._peek(_SPACE) == ":":
                # A key: the array's bracket is missing, and this belongs to the object around it.
                self._at = start
                return found
            found.append(value)
        self._end()
        return found

    def _string(self) -> str:
        """A string. A quote ends it only before what may follow a string; others were not escaped."""
        single = self._text[self._at] == "'"
        pattern = _SINGLE if single else _DOUBLE
        start = at = self._at + 1
        while match := pattern.search(self._text, at):
            at = match.end()
            if match[0] == "\\":
                at += 1
            elif _ENDS_VALUE.match(self._text, at):
                self._at = at
                return _unescape(self._text[start : at - 1])
        self._end()
        return _unescape(self._text[start:])

    def _bare(self) -> Any:
        match = _BARE.match(self._text, self._at)
        word = match[0] if match else ""
        # A bare value may be cut off like any other, and without a quote nothing tells.
        self._at += max(1, len(word))
        if self._at >= len(self._text):
            self._end()
        word = word.strip()
        if word.casefold() in ("null", "none", ""):
            return None
        if word.casefold() in ("true", "false"):
            return word.casefold() == "true"
        try:
            return float(word) if "." in word else int(word)
        except ValueError:
            return word


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    text = _ESCAPE.sub(_character, text)
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _character(match: re.Match[str]) -> str:
    escape = match[1]
    if len(escape) == 5:
        return chr(int(escape[1:], 16))
    if escape in "bftrn":
        return _LETTERS[_LETTERS.index(escape) - 5]
    return escape if escape in "\"'\\/" else match[0]
