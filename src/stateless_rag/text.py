"""Pure functions on strings: clean text, normalised names and keys, digests and ids."""

from __future__ import annotations

import re
import unicodedata
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal

from stateless_rag.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "KeyPolicy",
    "chunk_id_of",
    "chunk_ids_of",
    "chunk_row_id",
    "clean_text",
    "digest",
    "document_digest",
    "entity_key",
    "normalize_name",
    "plain_letters",
    "quotation",
    "relation_key",
    "stable_id",
    "unquoted",
]

KeyPolicy = Literal["casefold", "exact"]

# C0 controls but tab, line feed and carriage return; DEL; C1 but NEL; lone surrogates; the two non-characters.
_UNUSABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff￾￿]")
_SPACE = re.compile(r"\s+")
_QUOTES = (
    ('"', '"'),
    ("'", "'"),
    ("“", "”"),
    ("‘", "’"),
    ("«", "»"),
    ("„", "“"),
    ("《", "》"),
    ("「", "」"),
    ("`", "`"),
)
_NAME_LIMIT = 256
_CHUNK_ID = re.compile(r"chunk-[0-9a-f]{16}")
# Not those of other scripts, where a mark makes another letter.
_ACCENTS = re.compile("(?<=[A-Za-z\u0370-\u03ff])[\u0300-\u036f]+")
_LETTERS = (
    ("ł", "l"),
    ("Ł", "L"),
    ("ø", "o"),
    ("Ø", "O"),
    ("đ", "d"),
    ("Đ", "D"),
    ("ı", "i"),
    ("æ", "ae"),
    ("Æ", "AE"),
    ("œ", "oe"),
    ("Œ", "OE"),
)
_QUOTED = "\u201f"  # ‟, which reads as “ does
# Most names need nothing done; to see that is ten times cheaper than to do it.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9.,:&/()-]*(?: [A-Za-z0-9.,:&/()-]+)*")


def clean_text(text: str) -> str:
    """Replace what no database, tokenizer or prompt can carry, one character for one, so offsets stay valid.

    Lone surrogates and non-characters become U+FFFD, control characters a space.
    """
    if text.isprintable() or not _UNUSABLE.search(text):  # the former is far cheaper, and mostly true
        return text
    return _UNUSABLE.sub(lambda match: " " if match[0] < "\xa0" else "�", text)


def normalize_name(name: str) -> str:
    """A name as it is shown: NFKC, white space folded, one pair of surrounding quotes removed, at most 256
    characters. Case is kept. Returns "" for a name that says nothing.
    """
    if len(name) <= _NAME_LIMIT and _PLAIN.fullmatch(name):
        return name
    name = _SPACE.sub(" ", unicodedata.normalize("NFKC", clean_text(name))).strip()
    for left, right in _QUOTES:
        inner = name[len(left) : -len(right)]
        if (
            len(name) > 2
            and name.startswith(left)
            and name.endswith(right)
            and left not in inner
            and right not in inner
        ):
            name = inner.strip()
            break
    name = name[:_NAME_LIMIT].strip()
    return name if any(character.isalnum() for character in name) or len(name) == 1 else ""


def plain_letters(text: str) -> str:
    """Latin and Greek letters without accents, as who has no key for them types them; all else as it is.

    >>> plain_letters("São Tomé, Łódź, Ελλάδα")
    'Sao Tome, Lodz, Ελλαδα'
    """
    if text.isascii():
        return text
    bare = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", text)))
    for letter, plain in _LETTERS:
        bare = bare.replace(letter, plain)
    return bare


def quotation(text: str) -> str:
    """A line of a passage's own words as the built-in extractor quotes it: with a mark that nobody else opens with.

    >>> quotation("He called it “Pascal”.")
    '‟He called it ‘Pascal’.”'
    """
    inner = text.replace("“", "‘").replace("”", "’")
    return f"{_QUOTED}{inner}”"


def unquoted(description: str) -> str:
    """A description without the lines that the built-in extractor has quoted; what others quote stays.

    >>> unquoted("‟She wrote it.”\\nA programmer.\\n“A lady of numbers”\\n‟Her work on the")
    'A programmer.\\n“A lady of numbers”'
    """
    if _QUOTED not in description:
        return description
    return "\n".join(line for line in description.split("\n") if not line.startswith(_QUOTED))


def entity_key(name: str, policy: KeyPolicy = "casefold") -> str:
    """The raw key under which mentions of `name` meet.

    >>> entity_key(' “Ada  Lovelace” ')
    'ada lovelace'
    """
    name = normalize_name(name)
    if policy == "exact":
        return name
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFKC", name.casefold())


def relation_key(one: str, other: str) -> tuple[str, str]:
    """The unordered pair of two entity keys, in code point order."""
    return (one, other) if one <= other else (other, one)


def digest(*parts: str) -> str:
    """128 bits of BLAKE2b over the parts, each with its length, as 32 hex digits."""
    return blake2b(_with_lengths(parts), digest_size=16).hexdigest()


def document_digest(text: str, *, cut: bool = False) -> str:
    """What tells whether a document is the same again: its text, and whether its caller `cut` it."""
    return digest("document, cut" if cut else "document", text)


def stable_id(*parts: str) -> int:
    """A signed 64-bit id that follows from the parts alone, whatever the order of arrival."""
    return int.from_bytes(blake2b(_with_lengths(parts), digest_size=16).digest()[:8], "little", signed=True)


def _with_lengths(parts: tuple[str, ...]) -> bytes:
    pieces: list[bytes] = []
    for part in parts:
        text = part.encode() if part.isascii() else part.encode("utf-8", "surrogatepass")
        pieces += (len(text).to_bytes(8, "little"), text)
    return b"".join(pieces)


def chunk_row_id(chunk_id: str) -> int:
    """The signed 64-bit integer that a store keeps in place of a chunk's id: its 16 hex digits.

    >>> chunk_row_id("chunk-ffffffffffffffff")
    -1
    """
    if not _CHUNK_ID.fullmatch(chunk_id):
        raise InvalidInput(f"{chunk_id!r:.80} is not the id of a chunk (chunk- and 16 hex digits)")
    return int.from_bytes(bytes.fromhex(chunk_id.removeprefix("chunk-")), signed=True)


def chunk_ids_of(row_ids: NDArray[np.int64]) -> list[str]:
    """As `chunk_id_of`, for many at once."""
    digits = row_ids.astype(">i8").tobytes().hex()
    return [f"chunk-{digits[at : at + 16]}" for at in range(0, len(digits), 16)]


def chunk_id_of(row_id: int) -> str:
    """The chunk's id, from what `chunk_row_id` made of it.

    >>> chunk_id_of(-1)
    'chunk-ffffffffffffffff'
    """
    return f"chunk-{row_id.to_bytes(8, signed=True).hex()}"
