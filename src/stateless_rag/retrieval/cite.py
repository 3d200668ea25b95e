"""Marks of references in an answer: those that cite nothing are taken out, whatever pieces the answer comes in."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from stateless_rag.types import Citation, Unsupported

__all__ = ["CheckedText"]

_BLANK = r"[ \t\u00a0\u202f]"
_NUMBERS = rf"#?\d{{1,3}}(?:{_BLANK}*[-–—]{_BLANK}*#?\d{{1,3}})?"
# No two of its parts can take the same blank: backtracking stays linear.
_MARK = re.compile(
    rf"(?P<open>[\[【]){_BLANK}*(?:\^|(?:ref(?:erence)?|source|passage)s?\b\.?:?{_BLANK}*)?"
    rf"(?P<list>{_NUMBERS}(?:(?:{_BLANK}*(?:[,;&]|and\b){_BLANK}*|{_BLANK}+){_NUMBERS})*){_BLANK}*(?P<close>[\]】])",
    re.IGNORECASE,
)
_RANGE = re.compile(rf"#?(\d+)(?:{_BLANK}*[-–—]{_BLANK}*#?(\d+))?")
_MAY_BE_MARK = re.compile(
    rf"[\[【]{_BLANK}*(?:\^|(?:r(?:e(?:f[a-z]{{0,7}})?)?|s[a-z]{{0,6}}|p[a-z]{{0,7}})\.?:?)?"
    r"(?:[\d \t\u00a0\u202f#,;&–—-]|(?<=[\d \t\u00a0\u202f])a(?:nd?)?)*\Z",
    re.IGNORECASE,
)
_BULLET = re.compile(r"[ \t]*(?:[-*+•]|\d{1,3}[.)])?[ \t]*")
_PLAIN = re.compile(r"[^\n`~\[【 \t\u00a0\u202f]+")
_RUN = re.compile(r"`+|~+")
_LIST_HEADING = re.compile(
    r"\s*(?:#+|\*\*|__)?\s*(?:references|sources|citations)\s*:?\s*(?:\*\*|__)?:?\s*", re.IGNORECASE
)
_HEADING = re.compile(r"\s*#+\s")
_MARK_LIMIT, _CODE_LIMIT, _LINE_LIMIT = (
    96,
    400,
    80,
)  # characters that are looked at before something is decided


class CheckedText:
    """The text of one answer as it comes in. `feed` and `finish` give what may be shown.

    `known` are the numbers that there are. A mark is one to any number of numbers of at most three digits in
    brackets; code and links are left alone. An unknown number is taken out, a mark of nothing else with the space
    before it, and in a list of references the whole line. With `remove` false all of it is only reported. What is
    shown does not depend on where the pieces were cut: no more is held back than a mark, or a word of code, may take.
    """

    def __init__(self, known: Collection[int], *, remove: bool = True) -> None:
        self.citations: list[Citation] = []
        self.removed: list[Unsupported] = []
        self.text = ""
        self._known = frozenset(known)
        self._remove = remove
        self._held = ""
        self._shown: list[str] = []
        self._length = 0
        self._line = ""  # what the answer says on this line, as far as it is needed to tell what line it is
        self._blank = True  # whether only spaces of this line were shown
        self._fence = ""
        self._opening = False  # whether this line begins the code
        self._listing = False
        self._dropping = False
        self._trimming = False

    def feed(self, piece: str) -> str:
        """Take the next piece; returns what is decided."""
        self._held += piece
        return self._decide(final=False)

    def finish(self) -> str:
        """Returns what was held back; nothing more comes."""
        return self._decide(final=True)

    # ---- one step after the other ----------------------------------------------------------------------

    def _decide(self, *, final: bool) -> str:
        while self._held and self._step(final):
            pass
        shown = "".join(self._shown)
        self._shown = []
        self.text += shown
        return shown

    def _step(self, final: bool) -> bool:
        """Decide on the beginning of what is held; false if it takes more to know."""
        first = self._held[0]
        if first == "\n":
            if self._dropping:
                self._held = self._held[1:]
            else:
                self._take(1)
            self._end_line()
            return True
        if self._dropping or self._fence:
            return self._rest_of_line()
        if not self._line and (run := _RUN.match(self._held)) is not None:
            return self._code(run, final)
        if first == "`":
            run = _RUN.match(self._held)
            assert run is not None  # noqa: S101 -- it begins with a backtick
            return self._code(run, final)
        if self._listing and not self._line:
            return self._listed(final)
        if first in "[【" or _spaces(first):
            return self._spaced(final)
        plain = _PLAIN.match(self._held)
        self._take(1 if plain is None else plain.end())
        return True

    def _rest_of_line(self) -> bool:
        stop = self._held.find("\n")
        length = len(self._held) if stop < 0 else stop
        if self._dropping:
            self._held = self._held[length:]
        else:
            self._take(length)
        return True

    def _code(self, run: re.Match[str], final: bool) -> bool:
        """A run of backticks, or of tildes at the beginning of a line: a fence, code, or neither."""
        if run.end() == len(self._held) and not final and run.end() < _CODE_LIMIT:
            return False
        if not self._line.strip() and run.end() >= 3:
            self._fence, self._opening = run[0], True
            self._take(run.end())
            return True
        if run[0][0] == "~":
            self._take(run.end())
            return True
        line, newline, _ = self._held[:_CODE_LIMIT].partition("\n")
        whole = bool(newline) or final or len(self._held) >= _CODE_LIMIT
        for end in _RUN.finditer(line, run.end()):
            if end[0] == run[0] and (end.end() < len(line) or whole):
                self._take(end.end())
                return True
        if not whole:
            return False
        self._take(run.end())
        return True

    def _listed(self, final: bool) -> bool:
        """The beginning of a line in a list of references: with what it names the whole line goes."""
        bullet = _BULLET.match(self._held, 0, _LINE_LIMIT)
        assert bullet is not None  # noqa: S101 -- it may be empty
        return self._before_mark(bullet.end(), _LINE_LIMIT, final)

    def _spaced(self, final: bool) -> bool:
        """Spaces, or a bracket, or both: spaces go with a mark that goes."""
        return self._before_mark(_spaces(self._held, _MARK_LIMIT), _MARK_LIMIT, final)

    def _before_mark(self, length: int, limit: int, final: bool) -> bool:
        if length >= limit:
            self._take(length)
            return True
        return (final or length < len(self._held)) and self._mark(length, final)

    def _mark(self, at: int, final: bool) -> bool:
        """What may be a mark, after `at` characters that stand before it."""
        window = self._held[at : at + _MARK_LIMIT]
        if not window or window[0] not in "[【":
            self._take(max(at, 1))
            return True
        found = _MARK.match(window)
        if found is None:
            if not final and len(window) < _MARK_LIMIT and _MAY_BE_MARK.match(window):
                return False
            self._take(at + 1)
            return True
        after = at + found.end()
        if after == len(self._held) and not final:
            return False
        if self._held[after : after + 1] == "(":  # a link
            self._take(after)
            return True
        self._cite(at, after, found)
        return True

    def _cite(self, at: int, after: int, found: re.Match[str]) -> None:
        said = list(_ranges(found["list"]))
        known = tuple(dict.fromkeys(number for one in said for number in one if number in self._known))
        unknown = dict.fromkeys(str(number) for one in said for number in one if number not in self._known)
        if known or not self._remove:
            mark = found[0]
            if unknown and self._remove:
                mark = f"{found['open']}{', '.join(map(str, known))}{found['close']}"
            place = self._length + at
            if self._trimming:  # spaces are not shown after what went at the beginning of a line
                place = self._length + at - _spaces(self._held, at)
            if known:
                self.citations.append(Citation(text=mark, at=place, numbers=known))
            self._report(unknown, place)
            self._held = self._held[:at] + mark + self._held[after:]
            self._take(at + len(mark))
            return
        if self._listing and not self._line:
            self._dropping = True
            self._report(unknown, self._length)
            self._line = "-"
        else:
            rest = self._held[after:]
            if self._blank:
                self._take(at)
                self._trimming = True
            self._report(unknown, self._length)
            self._held = rest
            return
        self._held = self._held[after:]

    def _report(self, unknown: Collection[str], at: int) -> None:
        self.removed += [Unsupported(kind="reference", text=f"[{number}]", at=at) for number in unknown]

    # ---- what is shown ---------------------------------------------------------------------------------

    def _take(self, length: int) -> None:
        """Show so many characters of what is held."""
        said, self._held = self._held[:length], self._held[length:]
        if len(self._line) < _LINE_LIMIT:
            self._line += said[: _LINE_LIMIT - len(self._line)]
        if self._trimming:
            said = said[_spaces(said) :]
            self._trimming = not said
        self._blank = self._blank and not said.strip()
        self._shown.append(said)
        self._length += len(said)

    def _end_line(self) -> None:
        """A line is complete: it may end code, or begin or end a list of references."""
        line = self._line.removesuffix("\n")
        bare = line.strip()
        if self._fence:
            if (
                bare
                and not bare.strip(self._fence[0])
                and len(bare) >= len(self._fence)
                and not self._opening
            ):
                self._fence = ""
            self._opening = False
        elif _LIST_HEADING.fullmatch(line):
            self._listing = True
        elif _HEADING.match(line):
            self._listing = False
        self._line, self._blank, self._dropping, self._trimming = "", True, False, False


def _ranges(listed: str) -> Iterator[range]:
    """The numbers that a list names, `1-3` being three."""
    for one in _RANGE.finditer(listed):
        first = int(one[1])
        yield range(first, max(first, int(one[2] or first)) + 1)


def _spaces(text: str, most: int | None = None) -> int:
    """How many spaces a text begins with, within its first `most` characters."""
    return len(text[:most]) - len(text[:most].lstrip(" \t\u00a0\u202f"))
