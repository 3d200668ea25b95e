"""The tokenizer o200k_base, from ranks that come with the package. Nothing is downloaded."""

from __future__ import annotations

import re
from threading import Lock
from typing import TYPE_CHECKING

from stateless_rag.errors import StatelessRagError
from stateless_rag.text import digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import tiktoken
    from numpy.typing import NDArray

__all__ = ["O200kTokenizer", "read_ranks"]

_SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
_CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_PATTERN = "|".join(
    (
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTION}",
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTION}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
# The encoding never joins what is on either side of these places, so encoding the parts one by one gives the
# same tokens: before a space that follows something else, between a letter and a closing sign, and where a
# line begins with a letter.
_SEAM = re.compile(r"(?<=\S)(?= )|(?<=[^\W_])(?=[，。、！？；：,.;:!?])|(?<=\n)(?=[^\W_])")
_PIECE = 50_000
_REMEMBERED_FROM = 500
_REMEMBERED_COUNTS = 512
_SURROGATE = re.compile("[\ud800-\udfff]")


class O200kTokenizer:
    """The encoding of current OpenAI models. Special tokens in a text count as the text they are.

    The encoding is built on first use (0.3 s, 67 MiB), once per instance; share the instance, it may be used
    from several threads. Time is linear in the text, whatever it holds. Lone surrogates count as U+FFFD.
    The counts of the last long texts are remembered, under digests of them: system prompts come again.

    Raises StatelessRagError on first use if the ranks file of the installation is damaged: neither the
    caller's input nor a store is at fault, and only installing again helps.
    """

    name = "o200k_base"

    def __init__(self) -> None:
        self._lock = Lock()
        self._built: tuple[tiktoken.Encoding, NDArray[np.int64]] | None = None
        self._counts: dict[str, int] = {}

    @property
    def built(self) -> bool:
        """Whether it was used; until then the first to count waits for the building."""
        return self._built is not None

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
        encoding, _ = self._encoding()
        return sum(len(encoding.encode_ordinary(piece)) for piece in _pieces(text, _PIECE))

    def count_lines(self, lines: Sequence[str]) -> list[int]:
        """The tokens of each line with a line feed after it, which no line holds itself.

        Many lines are encoded in one go, outside Python's lock, and their tokens told apart by where they end:
        one call for each would be slow, and slower still beside a busy thread.
        """
        counts: list[int] = []
        for block in _blocks(lines, _PIECE):
            counts += self._count_block(block)
        return counts

    def _count_block(self, lines: Sequence[str]) -> list[int]:
        import numpy as np

        encoding, lengths = self._encoding()
        text = _SURROGATE.sub("\ufffd", "".join([f"{line}\n" for line in lines]))
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

        encoding, lengths = self._encoding()
        offsets: list[int] = []
        start = 0
        for piece in _pieces(text, _PIECE):
            stops = np.cumsum(lengths[np.array(encoding.encode_ordinary(piece), np.int64)])
            begins = np.concatenate((np.zeros(min(1, len(stops)), np.int64), stops[:-1]))
            if not piece.isascii():
                octets = np.frombuffer(piece.encode(), np.uint8)
                character = np.cumsum((octets & 0xC0) != 0x80) - 1
                begins = character[begins]
            offsets += (begins + start).tolist()
            start += len(piece)
        return offsets

    def _encoding(self) -> tuple[tiktoken.Encoding, NDArray[np.int64]]:
        if self._built is None:
            with self._lock:
                if self._built is None:
                    self._built = _build()
        return self._built


def read_ranks(packed: bytes) -> dict[bytes, int]:
    """The ranks by token, from the compressed `.tiktoken` file (lines of `base64 rank`).

    Raises StatelessRagError if this is not, byte for byte, the file that tiktoken pins for o200k_base.
    """
    import hashlib
    import lzma
    from binascii import a2b_base64

    advice = "the installation of stateless-rag is damaged; install it again"
    try:
        text = lzma.decompress(packed)
    except (lzma.LZMAError, EOFError) as exc:
        raise StatelessRagError(f"o200k_base.tiktoken.xz cannot be decompressed ({exc}): {advice}") from exc
    found = hashlib.sha256(text).hexdigest()
    if found != _SHA256:
        raise StatelessRagError(f"o200k_base.tiktoken has sha256 {found} instead of {_SHA256}: {advice}")
    tokens = text.split()[::2]  # each is followed by its rank, and ranks count up from 0
    return dict(zip(map(a2b_base64, tokens), range(len(tokens)), strict=True))


def _build() -> tuple[tiktoken.Encoding, NDArray[np.int64]]:
    from importlib.resources import files

    import numpy as np
    import tiktoken

    path = files("stateless_rag.providers") / "encodings" / "o200k_base.tiktoken.xz"
    try:
        packed = path.read_bytes()
    except OSError as exc:
        raise StatelessRagError(f"cannot read {path} ({exc}); install stateless-rag again") from exc
    ranks = read_ranks(packed)
    encoding = tiktoken.Encoding(
        O200kTokenizer.name,
        pat_str=_PATTERN,
        mergeable_ranks=ranks,
        special_tokens={"<|endoftext|>": 199999, "<|endofprompt|>": 200018},
    )
    # The ranks are in order, so the dict's order is the order of the token numbers.
    return encoding, np.fromiter(map(len, ranks), np.int64, len(ranks))


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
    if not text.isascii():
        text = _SURROGATE.sub("\ufffd", text)
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
