"""The tokenizer o200k_base, from ranks that come with the package. Nothing is downloaded."""

from __future__ import annotations

import asyncio
import re
from threading import Lock
from typing import TYPE_CHECKING

from stateless_rag.errors import StatelessRagError
from stateless_rag.providers.pieces import PATTERN, PieceEncoder, is_known
from stateless_rag.providers.ranks import Ranks, read_ranks
from stateless_rag.text import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    import tiktoken
    from numpy.typing import NDArray

__all__ = ["O200kTokenizer"]

# The encoding never joins what is on either side of these places, so encoding the parts one by one gives the
# same tokens: before a space that follows something else, between a letter and a closing sign, and where a
# line begins with a letter.
_SEAM = re.compile(r"(?<=\S)(?= )|(?<=[^\W_])(?=[，。、！？；：,.;:!?])|(?<=\n)(?=[^\W_])")
_PIECE = 50_000
_IN_PYTHON = 200_000  # characters: encoding them in Python costs less than building the encoding does
_REMEMBERED_FROM = 500
_REMEMBERED_COUNTS = 512
_SURROGATE = re.compile("[\ud800-\udfff]")


class O200kTokenizer:
    """The encoding of current OpenAI models. Special tokens in a text count as the text they are.

    The first 200,000 characters are encoded in Python, from ranks that take 0.01 s and 2 MB to read. For more,
    tiktoken's encoding is built (0.2 s, 67 MiB): in the thread that asks next, unless an event loop runs there. All
    counts are the same. Each is built on first use, once per instance; share the instance, it may be used from
    several threads. Time is linear in the text, whatever it holds. Lone surrogates count as U+FFFD.
    The counts of the last long texts are remembered, under digests of them: system prompts come again.

    Raises StatelessRagError on first use if the ranks file of the installation is damaged: neither the
    caller's input nor a store is at fault, and only installing again helps.
    """

    name = "o200k_base"

    def __init__(self) -> None:
        self._lock = Lock()
        self._ranks: Ranks | None = None
        self._pieces: PieceEncoder | None = None
        self._built: tuple[tiktoken.Encoding, NDArray[np.int64]] | None = None
        self._counts: dict[str, int] = {}
        self._seen = 0  # characters that were encoded in Python

    def is_ready(self, texts: Sequence[str]) -> bool:
        """Whether these texts, and parts of them, are counted at once: nothing has to be built for them."""
        if self._built is not None:
            return True
        fits = self._seen + sum(map(len, texts)) <= _IN_PYTHON
        return fits and self._pieces is not None and all(map(is_known, texts))

    def count(self, text: str) -> int:
        """The number of tokens in the text."""
        if len(text) < _REMEMBERED_FROM:
            return self._count(text)
        key = digest(text)
        known = self._counts.get(key)
        if known is None:
            known = self._count(text)
            if len(self._counts) >= _REMEMBERED_COUNTS:
                self._counts = {}
            self._counts[key] = known
        return known

    def encode(self, text: str) -> list[int]:
        """The numbers of the tokens of a text; what looks like a special token is text."""
        encoding, _ = self._encoding()
        return encoding.encode_ordinary(text)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens. Where they begin or end within a character, U+FFFD stands for it."""
        encoding, _ = self._encoding()
        return encoding.decode(list(tokens))

    def _count(self, text: str) -> int:
        if (pieces := self._in_python(text)) is not None:
            return pieces.count(_readable(text))
        encoding, _ = self._encoding()
        return sum(len(encoding.encode_ordinary(piece)) for piece in _pieces(text, _PIECE))

    def count_lines(self, lines: Sequence[str]) -> list[int]:
        """The tokens of each line with a line feed after it, which no line holds itself.

        Many lines are encoded in one go, outside Python's lock, and their tokens told apart by where they end:
        one call for each would be slow, and slower still beside a busy thread.
        """
        if (pieces := self._in_python(lines)) is not None:
            return [pieces.count(_readable(f"{line}\n")) for line in lines]
        counts: list[int] = []
        for block in _blocks(lines, _PIECE):
            counts += self._count_block(block)
        return counts

    def _count_block(self, lines: Sequence[str]) -> list[int]:
        import numpy as np

        encoding, lengths = self._encoding()
        text = _readable("".join([f"{line}\n" for line in lines]))
        # What follows a line feed may belong to its token if it is a slash or white space.
        if len(lines) == 1 or not all(line.lstrip()[:1] == line[:1] not in {"", "/"} for line in lines):
            return [self._count(f"{line}\n") for line in lines]
        tokens = encoding.encode_to_numpy(text, disallowed_special=())
        stops = np.cumsum(lengths[tokens])
        ends = np.cumsum([1 + len(line.encode("utf-8", "surrogatepass")) for line in lines])
        last = np.searchsorted(stops, ends)
        if not np.array_equal(stops[last], ends):  # a token that goes on into the next line
            return [self._count(f"{line}\n") for line in lines]
        counts: list[int] = np.diff(last, prepend=-1).tolist()
        return counts

    def offsets(self, text: str) -> list[int]:
        """For each token the offset in `text` (code points) of the character it begins in; never falls."""
        import numpy as np

        lengths_of = self._lengths_of(text)
        offsets: list[int] = []
        start = 0
        for piece in _pieces(text, _PIECE):
            stops = np.cumsum(lengths_of(piece))
            begins = np.concatenate((np.zeros(min(1, len(stops)), np.int64), stops[:-1]))
            if not piece.isascii():
                octets = np.frombuffer(piece.encode(), np.uint8)
                character = np.cumsum((octets & 0xC0) != 0x80) - 1
                begins = character[begins]
            offsets += (begins + start).tolist()
            start += len(piece)
        return offsets

    def _lengths_of(self, text: str) -> Callable[[str], Sequence[int] | NDArray[np.int64]]:
        """What tells the lengths of the tokens of a text's parts, in bytes."""
        import numpy as np

        if (pieces := self._in_python(text)) is not None:
            return pieces.lengths
        encoding, lengths = self._encoding()
        return lambda piece: lengths[np.array(encoding.encode_ordinary(piece), np.int64)]

    def _in_python(self, texts: str | Sequence[str]) -> PieceEncoder | None:
        """What encodes texts without tiktoken, if that is to be done."""
        if self._built is not None:
            return None
        characters = len(texts) if isinstance(texts, str) else sum(map(len, texts))
        if self._seen + characters > _IN_PYTHON:
            self._seen = _IN_PYTHON
            if not _on_a_loop():
                return None
        if not all(map(is_known, (texts,) if isinstance(texts, str) else texts)):
            return None
        self._seen += characters
        return self._encoder()

    def _encoder(self) -> PieceEncoder | None:
        """The encoder in Python; None if there is a better one meanwhile."""
        found = self._pieces
        if found is None:
            with self._lock:
                if self._built is None and self._pieces is None:
                    self._pieces = PieceEncoder(self._read())
                found = self._pieces
        return found

    def _encoding(self) -> tuple[tiktoken.Encoding, NDArray[np.int64]]:
        if self._built is None:
            with self._lock:
                if self._built is None:
                    self._built = _build(self._read())
                    self._ranks = self._pieces = None
        return self._built

    def _read(self) -> Ranks:
        if self._ranks is None:
            self._ranks = _load()
        return self._ranks


def _load() -> Ranks:
    from importlib.resources import files

    path = files("stateless_rag.providers") / "encodings" / "o200k_base.ranks.zz"
    try:
        packed = path.read_bytes()
    except OSError as exc:
        raise StatelessRagError(f"cannot read {path} ({exc}); install stateless-rag again") from exc
    return read_ranks(packed)


def _build(ranks: Ranks) -> tuple[tiktoken.Encoding, NDArray[np.int64]]:
    import tiktoken

    encoding = tiktoken.Encoding(
        O200kTokenizer.name,
        pat_str=PATTERN,
        mergeable_ranks=ranks.table(),
        special_tokens={"<|endoftext|>": 199999, "<|endofprompt|>": 200018},
    )
    return encoding, ranks.lengths()


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _readable(text: str) -> str:
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _blocks(lines: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Consecutive lines of at most `size` characters together, or one line."""
    block: list[str] = []
    characters = 0
    for line in lines:
        if block and characters + len(line) > size:
            yield block
            block, characters = [], 0
        block.append(line)
        characters += len(line)
    if block:
        yield block


def _pieces(text: str, size: int) -> Iterator[str]:
    """Cut a text into pieces of at most `size` characters, at the last seam of each if it has one.

    tiktoken's regular expression recurses over a run without a break, and gives up beyond some length.
    """
    text = _readable(text)
    start = 0
    while len(text) - start > size:
        stop = _last_seam(text, start + size // 2, start + size) or start + size
        yield text[start:stop]
        start = stop
    if start < len(text):
        yield text[start:] if start else text


def _last_seam(text: str, low: int, high: int) -> int | None:
    for step in (200, 2_000, high - low):
        seams = [match.start() for match in _SEAM.finditer(text, max(low, high - step), high)]
        if seams:
            return seams[-1]
    return None
