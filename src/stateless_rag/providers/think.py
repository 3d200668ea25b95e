"""Takes the thinking of reasoning models out of their answers, whole or piece by piece."""

from __future__ import annotations

__all__ = ["ThinkFilter", "remove_thinking"]

_OPEN = "<think>"
_CLOSE = "</think>"


class ThinkFilter:
    """Lets an answer through and keeps `<think>…</think>` back, however the text is cut into pieces.

    A block that opens before anything was said runs to its end tag or the end of the text, and white space
    around it goes with it. One that opens later is removed only if it is closed: without an end tag it is an
    answer that speaks of the tag. If the first tag of all is an end tag, what stands before it was thinking:
    `text` is without it, but pieces that were let through before cannot be taken back.

    >>> thoughts = ThinkFilter()
    >>> [thoughts.feed("<thi"), thoughts.feed("nk>hm</think>\\n4"), thoughts.feed("2"), thoughts.finish()]
    ['', '4', '2', '']
    """

    def __init__(self) -> None:
        self._shown: list[str] = []
        self._space = ""
        self._tail = ""
        self._held: list[str] = []
        self._inside = False
        self._tags = 0

    @property
    def text(self) -> str:
        """The answer so far, without thinking."""
        return "".join(self._shown)

    def feed(self, piece: str) -> str:
        """Take the next piece; returns what of the answer can be shown now."""
        rest = self._tail + piece
        self._tail = ""
        shown: list[str] = []
        while rest:
            rest = self._inside_step(rest) if self._inside else self._outside_step(rest, shown)
        return "".join(shown)

    def finish(self) -> str:
        """End the text; returns what was kept back and belongs to the answer after all."""
        rest, self._tail = self._tail, ""
        shown: list[str] = []
        if not self._inside:
            self._show(rest, shown)
        elif self._shown:
            self._show(_OPEN + "".join(self._held) + rest, shown)
        self._inside = False
        self._held.clear()
        if not self._shown and not self._tags and self._space:
            shown.append(self._space)
            self._shown.append(self._space)
        return "".join(shown)

    def _inside_step(self, rest: str) -> str:
        _, found, after = rest.partition(_CLOSE)
        if found:
            self._inside = False
            self._held.clear()
            return after
        self._tail = _partial(rest, _CLOSE)
        # Before anything was said the thinking never comes back, so it need not be kept.
        if self._shown:
            self._held.append(rest[: len(rest) - len(self._tail)])
        return ""

    def _outside_step(self, rest: str, shown: list[str]) -> str:
        opening, closing = rest.find(_OPEN), rest.find(_CLOSE)
        if opening < 0 and closing < 0:
            self._tail = max(_partial(rest, _OPEN), _partial(rest, _CLOSE), key=len)
            self._show(rest[: len(rest) - len(self._tail)], shown)
            return ""
        if opening >= 0 and (closing < 0 or opening < closing):
            self._show(rest[:opening], shown)
            self._inside = True
            rest = rest[opening + len(_OPEN) :]
        else:
            self._show(rest[:closing], shown)
            rest = rest[closing + len(_CLOSE) :]
            if not self._tags:
                self._shown.clear()
        self._tags += 1
        if not self._shown:
            self._space = ""
        return rest

    def _show(self, text: str, shown: list[str]) -> None:
        if not self._shown:
            visible = text.lstrip()
            if not visible:
                self._space += text
                return
            if not self._tags:
                visible = self._space + text
            self._space = ""
            text = visible
        if text:
            shown.append(text)
            self._shown.append(text)


def remove_thinking(text: str) -> str:
    """The answer without `<think>…</think>` blocks and without a stray head up to `</think>`."""
    if _OPEN not in text and _CLOSE not in text:
        return text
    thoughts = ThinkFilter()
    thoughts.feed(text)
    thoughts.finish()
    return thoughts.text


def _partial(text: str, tag: str) -> str:
    """The longest end of `text` that may be the beginning of `tag`."""
    for length in range(min(len(tag) - 1, len(text)), 0, -1):
        if text.endswith(tag[:length]):
            return text[-length:]
    return ""
