"""A built-in embedder without a model: words, word pairs and parts of words, hashed into buckets.

The hashing trick with signs (Weinberger et al., 2009), over words, neighbouring words and character n-grams
(as in fastText). All hashes are 64-bit integer arithmetic on code points, done in numpy for a whole batch:
no dependence on PYTHONHASHSEED or the platform.
"""

from __future__ import annotations

import asyncio
import re
import unicodedata
from typing import TYPE_CHECKING, Literal

from stateless_rag.checks import whole
from stateless_rag.protocols import Embeddings
from stateless_rag.providers.embedder import TextEmbedder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from stateless_rag.protocols import Vectors

    Ints = NDArray[np.uint64]
    Floats = NDArray[np.float64]

__all__ = ["HashingEmbedder"]

# Scripts written without spaces, and Hangul: one character is one word, so that pairs of words are bigrams.
_UNSPACED = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(f"[{_UNSPACED}]|[^\\W_{_UNSPACED}]+")
_ASCII_WORDS = "".join(character if character.isalnum() else " " for character in map(chr, range(128)))
_FUNCTION_WORDS = (
    "a an and are as at be been but by can did do does for from had has have he her his how i if in into "
    "is it its itself may more most no not of on or our she so such than that the their them then there "
    "these they this those to under was we were what when where which while who whom whose why will with "
    "would you your s t der die das den dem des ein eine einer einem einen eines und oder aber ist sind "
    "war waren wird werden wurde wurden hat haben hatte er sie es ich wir ihr sein seine ihre auf aus bei "
    "bis durch für im in mit nach nicht noch nur über um unter von vom vor wie wo wer was wann warum "
    "welche welcher welches zu zum zur als auch an am "
    "的 了 是 在 和 与 及 或 也 都 就 而 着 被 把 从 对 由 于 之 其 这 那 有 为 以 所 等 吗 呢 吧 啊 哪 谁 么"
)

_INLINE_CHARACTERS = 4_000
_BLOCK_CHARACTERS = 25_000  # the arrays of a block stay in the processor's cache
_FUNCTION_WEIGHT = 0.05
_NAME_WEIGHT = 2.0
_PAIR_WEIGHT = 0.5
_CHARACTER_WEIGHT = 0.5
_CHARACTER_PAIR_WEIGHT = 2.0
_PARTS_WEIGHT = 0.8
_PART_SIZES = (3, 4, 5)
_BASE = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB


class HashingEmbedder(TextEmbedder):
    """Embeds texts by the words they share, without a model: for working offline, and for tests.

    Texts are near each other if they share words, word pairs or parts of words; there are no synonyms and no
    translation. Vectors have unit length; a text without a word gets the zero vector. Names and numbers weigh
    more, common function words (English, German, Chinese) less, repeated words with the square root of their
    count.
    """

    def __init__(self, dimension: int = 384) -> None:
        whole("dimension", dimension, least=1)
        super().__init__(f"hashing-1-{dimension}", dimension=dimension, max_batch=1024)
        self._width = dimension
        self._function_words = _function_words()

    @property
    def min_similarity(self) -> float:
        """The cosine below which a text has hardly a word in common with a question."""
        return 0.05

    @property
    def lexical(self) -> bool:
        """It compares words, so the vectors of entities take in what their descriptions quote."""
        return True

    @property
    def min_share(self) -> float:
        """The share of a question's words, by rarity, that a passage must have for the question to be about it.

        The best passage has 0.2 to 1 of questions that a corpus answers, and half of that or less of others.
        """
        return 0.15

    @property
    def sure_similarity(self) -> float:
        """The cosine from which on a passage counts as related whatever its words: parts of words may be shared."""
        return 0.2

    async def embed(
        self,
        texts: Sequence[str],
        *,
        role: Literal["document", "query"],  # noqa: ARG002
    ) -> Embeddings:
        """Embed texts, in order; a large batch is worked on in a thread. `role` makes no difference.

        The tokens are words.
        """
        if sum(map(len, texts)) <= _INLINE_CHARACTERS:
            return self._embeddings(texts)
        return await asyncio.to_thread(self._embeddings, texts)

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """The vectors of texts: float32 of shape (texts, dimension). Synchronous."""
        return self._embeddings(texts).vectors

    def _embeddings(self, texts: Sequence[str]) -> Embeddings:
        import numpy as np

        vectors = np.zeros((len(texts), self._width), dtype=np.float32)
        start, size, tokens = 0, 0, 0
        for position, text in enumerate(texts):
            size += len(text)
            if size >= _BLOCK_CHARACTERS or position == len(texts) - 1:
                words = [_words(text) for text in texts[start : position + 1]]
                vectors[start : position + 1] = _embed_block(words, self._width, self._function_words)
                tokens += sum(map(len, words))
                start, size = position + 1, 0
        return Embeddings(vectors=vectors, tokens=tokens)


def _words(text: str) -> list[str]:
    if text.isascii():
        return text.translate(_ASCII_WORDS).split()
    return _WORD.findall(unicodedata.normalize("NFKC", text))


def _embed_block(words: Sequence[Sequence[str]], dimension: int, function_words: Ints) -> Vectors:
    """The vectors of texts, given as their words."""
    import numpy as np

    owners = np.repeat(np.arange(len(words)), [len(found) for found in words])
    if not len(owners):
        return np.zeros((len(words), dimension), dtype=np.float32)
    written = "\0".join("\0".join(found) for found in words if found)
    points = _code_points(written.casefold())
    starts, lengths = _spans(points)
    hashes = _word_hashes(points, starts, lengths)
    weights = _word_weights(hashes, _code_points(written), points, starts, lengths, function_words)

    first, counted = _distinct(owners, hashes, weights)
    pair_owners, pair_hashes, pair_weights = _pairs(owners, hashes, weights, points[starts])
    pair_first, pair_counted = _distinct(pair_owners, pair_hashes, pair_weights)
    features = [
        (owners[first], _buckets(hashes[first], dimension), counted),
        (pair_owners[pair_first], _buckets(pair_hashes[pair_first], dimension), pair_counted),
        *_parts(points, starts[first], lengths[first], hashes[first], owners[first], counted, dimension),
    ]
    sums = np.zeros(len(words) * 2 * dimension)
    for feature_owners, buckets, feature_weights in features:
        sums += np.bincount(feature_owners * (2 * dimension) + buckets, feature_weights, len(sums))
    signed = sums.reshape(len(words), 2, dimension)
    matrix = signed[:, 1] - signed[:, 0]
    norms = np.sqrt((matrix * matrix).sum(axis=1))
    return (matrix / np.where(norms > 0, norms, 1.0)[:, None]).astype(np.float32)


def _buckets(hashes: Ints, dimension: int) -> NDArray[np.int64]:
    """Where a feature is added up: the buckets of those that are subtracted, then those that are added."""
    import numpy as np

    places = (hashes >> np.uint64(1)) % np.uint64(dimension) + (hashes & np.uint64(1)) * np.uint64(dimension)
    return places.astype(np.int64)


def _code_points(text: str) -> Ints:
    """The code points of words that are joined by NUL, with a NUL at both ends."""
    import numpy as np

    encoded = f"\0{text}\0".encode("utf-32-le", "surrogatepass")
    return np.frombuffer(encoded, dtype="<u4").astype(np.uint64)


def _spans(points: Ints) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each word starts, and its length."""
    import numpy as np

    borders = np.flatnonzero(points == 0)
    return borders[:-1] + 1, np.diff(borders) - 1


def _word_hashes(points: Ints, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Ints:
    """One hash a word: the sum of its mixed (character, place) pairs."""
    import numpy as np

    places = np.arange(len(points)) - np.repeat(np.append(0, starts), np.append(1, lengths + 1))
    mixed = _mixed(points * np.uint64(_BASE) + places.astype(np.uint64))
    mixed[points == 0] = 0
    return _mixed(np.add.reduceat(mixed, starts) + lengths.astype(np.uint64))


def _function_words() -> Ints:
    """Hashes of the function words, in order."""
    import numpy as np

    points = _code_points("\0".join(_FUNCTION_WORDS.split()))
    return np.sort(_word_hashes(points, *_spans(points)))


def _word_weights(
    hashes: Ints,
    written: Ints,
    points: Ints,
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    function_words: Ints,
) -> Floats:
    import numpy as np

    initials, folded = written[_spans(written)[0]], points[starts]
    digits = (folded >= ord("0")) & (folded <= ord("9"))
    weights = np.where((initials != folded) | digits, _NAME_WEIGHT, 1.0)
    weights[_is_character(folded) & (lengths == 1)] = _CHARACTER_WEIGHT
    nearest = np.minimum(np.searchsorted(function_words, hashes), len(function_words) - 1)
    weights[function_words[nearest] == hashes] = _FUNCTION_WEIGHT
    return weights


def _pairs(
    owners: NDArray[np.int64], hashes: Ints, weights: Floats, initials: Ints
) -> tuple[NDArray[np.int64], Ints, Floats]:
    """Owner, hash and weight of each pair of neighbouring words of a text."""
    import numpy as np

    together = owners[1:] == owners[:-1]
    characters = _is_character(initials)
    factor = np.where(characters[1:] & characters[:-1], _CHARACTER_PAIR_WEIGHT, _PAIR_WEIGHT)
    pair_weights = np.minimum(weights[1:], weights[:-1]) * factor
    pair_hashes = _mixed(hashes[:-1] * np.uint64(3) + hashes[1:])
    return owners[1:][together], pair_hashes[together], pair_weights[together]


def _distinct(owners: NDArray[np.int64], hashes: Ints, weights: Floats) -> tuple[NDArray[np.int64], Floats]:
    """The first place of each (text, hash), and its weight times the root of its count.

    A root, not a logarithm: IEEE 754 defines it to the last bit, so that vectors are the same everywhere.
    """
    import numpy as np

    keys = _mixed(hashes + owners.astype(np.uint64) * np.uint64(_BASE))
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    return first, weights[first] * np.sqrt(counts)


def _parts(
    points: Ints,
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    hashes: Ints,
    owners: NDArray[np.int64],
    weights: Floats,
    dimension: int,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], Floats]]:
    """Owner, bucket and weight of the character n-grams of words, their borders counting as a character.

    A word that many texts have is cut into its parts once.
    """
    import numpy as np

    _, words, places = np.unique(hashes, return_index=True, return_inverse=True)
    longest = np.where(lengths[words] > 2, lengths[words] + 3, 0)
    counts = {size: np.maximum(longest - size, 0) for size in _PART_SIZES}
    shares = weights * _PARTS_WEIGHT / np.sqrt(np.maximum(sum(counts.values()), 1))[places]
    rolled = points
    for size in range(2, max(_PART_SIZES) + 1):
        rolled = rolled[:-1] * np.uint64(_BASE) + points[size - 1 :]
        if size not in counts:
            continue
        found = rolled[_runs(starts[words] - 1, counts[size])]
        buckets = _buckets(_mixed(found + np.uint64(size)), dimension)
        count = counts[size][places]
        taken = _runs((np.cumsum(counts[size]) - counts[size])[places], count)
        yield np.repeat(owners, count), buckets[taken], np.repeat(shares, count)


def _runs(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers from each start on, as many as its count, one run after the other."""
    import numpy as np

    return np.arange(counts.sum()) + np.repeat(starts - np.cumsum(counts) + counts, counts)


def _is_character(points: Ints) -> NDArray[np.bool_]:
    import numpy as np

    return np.logical_and(points >= 0x3040, np.logical_or(points <= 0xD7A3, points >= 0xF900))


def _mixed(values: Ints) -> Ints:
    """The finaliser of splitmix64 (Steele, Lea and Flood, 2014)."""
    import numpy as np

    values = values ^ (values >> np.uint64(30))
    values *= np.uint64(_MIX_1)
    values ^= values >> np.uint64(27)
    values *= np.uint64(_MIX_2)
    values ^= values >> np.uint64(31)
    return values
