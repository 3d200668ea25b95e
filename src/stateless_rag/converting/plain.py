"""Texts in any encoding."""

from __future__ import annotations

import codecs
import re

from stateless_rag.errors import UnreadableFile

__all__ = ["certain", "decoded"]

_BOMS = (  # the longest first
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What is met: a guess among all that there are is wrong more often.
_GUESSES = (
    "ascii",
    "gb18030",
    "big5",
    "shift_jis",
    "euc_jp",
    "cp949",
    "cp1252",
    "cp1250",
    "cp1251",
    "koi8_r",
    "cp1253",
    "cp1255",
    "cp1256",
)
_ODD = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x9f]")
_COMMON, _CONFUSED = "cp1252", "cp1250"
_LOOKED_AT = 200_000  # bytes that a guess rests on


def certain(name: str, content: bytes) -> str | None:
    """A text in UTF-8, or in what its mark says; None if its encoding has to be guessed.

    Raises UnreadableFile for what is no text.
    """
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return _strict(name, content, encoding)
    if b"\0" in content:
        raise UnreadableFile(f"{name} is a binary file", "mismatch")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return None


def decoded(name: str, content: bytes, *, hint: str | None = None) -> str:
    """A text in whatever encoding: its mark says, or it is UTF-8, or `hint` fits, or it is guessed.

    Raises UnreadableFile for what is no text.
    """
    text = certain(name, content)
    if text is not None:
        return text
    if hint is not None:
        try:
            return content.decode(_known(hint))
        except (UnicodeDecodeError, LookupError):
            pass
    return _guessed(name, content)


def _known(hint: str) -> str:
    """The codec of an encoding's name; only those that make texts of bytes."""
    found = codecs.lookup(hint)
    if not getattr(found, "_is_text_encoding", True) or found.name in ("idna", "punycode", "utf-7"):
        raise LookupError(hint)
    return "gb18030" if found.name in ("gb2312", "gbk") else found.name


def _strict(name: str, content: bytes, encoding: str) -> str:
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        told = f"{name} begins as {encoding}, but is not ({error.reason} at byte {error.start})"
        raise UnreadableFile(told, "damaged") from error
    if "\0" in text:
        raise UnreadableFile(f"{name} is a binary file", "mismatch")
    return text


def _guessed(name: str, content: bytes) -> str:
    try:
        from charset_normalizer import from_bytes
    except ImportError as error:
        told = f"{name} is not UTF-8; convert it, or pip install 'stateless-rag[convert]'"
        raise UnreadableFile(told, "unavailable") from error
    end = content.rfind(b"\n", 0, _LOOKED_AT) + 1 if len(content) > _LOOKED_AT else 0
    matches = from_bytes(content[: end or _LOOKED_AT], cp_isolation=list(_GUESSES))
    best = matches.best()
    # Short texts fit several; the most common one counts then.
    as_good = {m.encoding for m in matches if best is not None and m.chaos <= best.chaos}
    likely = (
        []
        if best is None
        else [_COMMON if _COMMON in as_good and best.encoding == _CONFUSED else best.encoding]
    )
    for encoding in [*likely, _COMMON]:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if _is_text(text):
            return text
    raise UnreadableFile(f"{name} is no text in any encoding that is known; convert it to UTF-8", "mismatch")


def _is_text(text: str) -> bool:
    """Whether hardly any control characters are in it."""
    return len(_ODD.findall(text)) * 100 <= len(text)
