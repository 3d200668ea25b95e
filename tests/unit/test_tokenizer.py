from __future__ import annotations

import asyncio
import hashlib
import threading
import unicodedata
import zlib
from importlib.resources import files

import numpy as np
import pytest
import regex  # type: ignore[import-untyped]
import tiktoken
import tiktoken_ext.openai_public  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from stateless_rag.errors import StatelessRagError
from stateless_rag.protocols import Tokenizer
from stateless_rag.providers import tokenizer as module
from stateless_rag.providers.pieces import PATTERN, PieceEncoder, is_known
from stateless_rag.providers.ranks import Ranks, pack_ranks, read_ranks
from stateless_rag.providers.tokenizer import O200kTokenizer

NASTY = st.text(
    st.sampled_from(
        [
            *"aZ é.:,'s1\t\n\r/_",
            "\u0301",
            "👨",
            "\u200d",
            "👩",
            "🇩",
            "中",
            "。",
            "א",
            "\u00a0",
            "\u200b",
            "\ud800",
            *"sTVEReſʰǅжЖ漢ไ٣½Ⅷ",
            "\x0b",
            "\x1c",
            "\x85",
            "\u2028",
        ]
    ),
    max_size=60,
)
TIKTOKEN_SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"


@pytest.fixture(scope="module")
def tokenizer() -> O200kTokenizer:
    """One that has built tiktoken's encoding."""
    built = O200kTokenizer()
    built._encoding()
    return built


@pytest.fixture(scope="module")
def ranks() -> Ranks:
    return read_ranks(packed())


@pytest.fixture(scope="module")
def early(ranks: Ranks) -> PieceEncoder:
    return PieceEncoder(ranks)


def packed() -> bytes:
    return (files("stateless_rag.providers") / "encodings" / "o200k_base.ranks.zz").read_bytes()


def test_is_a_tokenizer(tokenizer: O200kTokenizer) -> None:
    assert isinstance(tokenizer, Tokenizer)
    assert tokenizer.name == "o200k_base"


def test_counts_known_texts(tokenizer: O200kTokenizer) -> None:
    # "tiktoken is great!" is the example of OpenAI's cookbook; its o200k_base tokens are
    # t, ikt, oken, is, great, !
    assert tokenizer.count("tiktoken is great!") == 6
    assert tokenizer.count("antidisestablishmentarianism") == 6
    assert tokenizer.count("") == 0
    assert tokenizer.offsets("") == []


def test_pattern_and_special_tokens_are_those_of_tiktoken(
    tokenizer: O200kTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks: dict[bytes, int] = {}
    monkeypatch.setattr(tiktoken_ext.openai_public, "load_tiktoken_bpe", lambda *_, **__: ranks)
    official = tiktoken_ext.openai_public.o200k_base()
    encoding, _ = tokenizer._encoding()
    assert encoding._pat_str == official["pat_str"] == PATTERN
    assert encoding._special_tokens == official["special_tokens"]
    assert encoding.n_vocab == 200019


def test_special_tokens_are_ordinary_text(tokenizer: O200kTokenizer) -> None:
    assert tokenizer.count("<|endoftext|>") > 1
    assert tokenizer.count("a <|endofprompt|> b") > 4


@given(text=NASTY)
def test_offsets_are_where_tokens_begin(tokenizer: O200kTokenizer, text: str) -> None:
    offsets = tokenizer.offsets(text)
    assert len(offsets) == tokenizer.count(text)
    assert all(0 <= offset < len(text) for offset in offsets)
    assert np.all(np.diff(offsets) >= 0)
    if text:
        assert offsets[0] == 0
    encoding, _ = tokenizer._encoding()
    readable = text.replace("\ud800", "\ufffd")
    assert offsets == encoding.decode_with_offsets(encoding.encode_ordinary(readable))[1]


@given(lines=st.lists(NASTY.map(lambda text: text.replace("\n", " ").replace("\r", " ")), max_size=12))
def test_lines_count_alone_as_together(tokenizer: O200kTokenizer, lines: list[str]) -> None:
    assert tokenizer.count_lines(lines) == [tokenizer.count(f"{line}\n") for line in lines]


def test_more_lines_than_are_encoded_in_one_go(tokenizer: O200kTokenizer) -> None:
    lines = [f'{{"entity": "Ada {n}", "description": "{"word " * (n % 50)}"}}' for n in range(2_000)]
    lines[700] = "long " * 20_000
    assert tokenizer.count_lines(lines) == [tokenizer.count(f"{line}\n") for line in lines]


def test_offsets_in_characters_that_tokens_cut(tokenizer: O200kTokenizer) -> None:
    text = "x 👨‍👩‍👧 世界"
    offsets = [int(offset) for offset in tokenizer.offsets(text)]
    assert len(set(offsets)) < len(offsets)  # some character takes more than one token
    assert set(offsets) <= set(range(len(text)))


@settings(max_examples=300)
@given(text=NASTY | st.text("aB1 .,:'\n", max_size=30), size=st.integers(4, 20))
def test_seams_change_no_token(tokenizer: O200kTokenizer, text: str, size: int) -> None:
    pieces = list(module._pieces(text, size))
    assert "".join(pieces) == text.replace("\ud800", "\ufffd")
    assert all(0 < len(piece) <= size for piece in pieces)
    encoding, _ = tokenizer._encoding()
    whole = encoding.encode_ordinary("".join(pieces))
    for match in module._SEAM.finditer(text):
        left, right = text[: match.start()], text[match.start() :]
        joined = [*encoding.encode_ordinary(left), *encoding.encode_ordinary(right)]
        assert joined == whole


@pytest.mark.parametrize("run", ["a", "A", " ", "\n", ".", "7", "中", "👩", "\u0301", " \n"])
def test_long_runs(tokenizer: O200kTokenizer, run: str) -> None:
    text = run * (300_000 // len(run)) + "x"
    count = tokenizer.count(text)
    assert count == len(tokenizer.offsets(text))
    assert count <= 2 * len(text) // len(run)


def test_long_prose_counts_as_in_one_piece(tokenizer: O200kTokenizer) -> None:
    text = "It's 3.14 times as long; isn't it? 是的，没错。\n\nNext — paragraph: (one) two.\r\n" * 2000
    encoding, _ = tokenizer._encoding()
    assert len(text) > 2 * module._PIECE
    assert tokenizer.count(text) == len(encoding.encode_ordinary(text))


def test_surrogates_count_as_the_replacement_character(tokenizer: O200kTokenizer) -> None:
    assert (
        tokenizer.count("\ud83d\ude00")
        == tokenizer.count("\ufffd\ufffd")
        == len(tokenizer.offsets("\ud83d\ude00"))
    )


def test_long_texts_that_come_again_are_counted_once(
    tokenizer: O200kTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    count = O200kTokenizer._count

    def noted(self: O200kTokenizer, text: str) -> int:
        counted.append(text)
        return count(self, text)

    monkeypatch.setattr(O200kTokenizer, "_count", noted)
    prompt, other = "You extract entities. " * 40, "You extract all relations. " * 40
    told = [tokenizer.count(text) for text in (prompt, other, prompt, "short", "short")]
    assert told == [len(tokenizer.offsets(text)) for text in (prompt, other, prompt, "short", "short")]
    assert counted == [prompt, other, "short", "short"]


def test_what_is_remembered_of_counts_is_bounded(
    tokenizer: O200kTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_REMEMBERED_COUNTS", 3)
    texts = [f"{number} {'word ' * 200}" for number in range(8)]
    assert [tokenizer.count(text) for text in texts] == [len(tokenizer.offsets(text)) for text in texts]
    assert len(tokenizer._counts) <= 3


# ---- in Python, before tiktoken's encoding is built ----------------------------------------------------


def same(tokenizer: O200kTokenizer, early: PieceEncoder, text: str) -> bool:
    encoding, lengths = tokenizer._encoding()
    expected = lengths[np.array(encoding.encode_ordinary(text), np.int64)].tolist()
    return early.lengths(text) == expected and early.count(text) == len(expected)


@settings(max_examples=300)
@given(
    text=NASTY | st.text(st.characters(max_codepoint=126)) | st.text(st.characters(exclude_categories=["Cs"]))
)
def test_python_gives_the_tokens_of_tiktoken(
    tokenizer: O200kTokenizer, early: PieceEncoder, text: str
) -> None:
    text = text.replace("\ud800", "\ufffd")
    if is_known(text):
        assert same(tokenizer, early, text)


@pytest.mark.parametrize(
    "run", ["a", "A", "aB", " ", "\n", ".", "7", "中", "中文", "👩", "\u0301", " \n", "'s", "='"]
)
def test_python_joins_long_runs_as_tiktoken_does(
    tokenizer: O200kTokenizer, early: PieceEncoder, run: str
) -> None:
    assert all(same(tokenizer, early, run * length + "x") for length in (2, 7, 33, 128, 1_000))


def test_python_gives_the_tokens_of_tiktoken_for_prose(
    tokenizer: O200kTokenizer, early: PieceEncoder
) -> None:
    # Docstrings of the library, of which some are ASCII and some are not.
    texts = [path.read_text(encoding="utf-8") for path in files("stateless_rag").iterdir() if path.is_file()]
    assert len(texts) > 20
    assert all(same(tokenizer, early, text) for text in texts)


CLASSES = ("Lu", "Lt", "Lm", "Lo", "M", "Ll", "L", "N")


@pytest.fixture(scope="module")
def characters() -> list[str]:
    """All characters that Python is to encode, but those for private use."""
    every = map(chr, [*range(0xD800), *range(0xE000, 0x110000)])
    known = "".join(
        each for each in every if unicodedata.category(each) not in {"Cn", "Co"} and is_known(each)
    )
    assert len(known) > 140_000
    return [known[start : start + 20_000] for start in range(0, len(known), 20_000)]


@pytest.mark.parametrize("found", [*(rf"\p{{{name}}}" for name in CLASSES), r"\s", "(?i:[sdmtlrev])"])
def test_tiktoken_classes_every_known_character_alike(found: str, characters: list[str]) -> None:
    octets = {bytes([number]): number for number in range(256)}
    encoding = tiktoken.Encoding("classes", pat_str=found, mergeable_ranks=octets, special_tokens={})
    # What the pattern does not match is left out of the tokens.
    matched = b"".join(encoding.decode_bytes(encoding.encode_ordinary(part)) for part in characters)
    assert matched.decode() == "".join(regex.findall(found, "".join(characters)))


def test_characters_that_unicode_may_class_anew_are_left_to_tiktoken() -> None:
    assert is_known("It’s “é” — 中文 👩") and is_known("\x00")
    assert not is_known("a \u0295") and not is_known("a \u0378")


def test_few_texts_build_nothing_and_many_build_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IN_PYTHON", 1_000)
    own = O200kTokenizer()
    text = "one two three "
    assert not own.is_ready([text])
    counts = []
    for _ in range(100):
        counts.append(own.count(text))
        assert own.is_ready([text]) == (len(counts) != 71)  # the last that fits was the 71st
        assert (own._built is None) == (len(counts) <= 71)
    assert set(counts) == {own.count(text)} == {4}
    assert own._pieces is None is own._ranks  # what is not needed any more is freed


@pytest.mark.parametrize("text", ["word " * 300, "a \u0295 b", "a \u0378 b"])
def test_a_text_that_is_not_for_python_builds(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(module, "_IN_PYTHON", 1_000)
    own = O200kTokenizer()
    own.count("a")
    assert own.is_ready(["b"]) and not own.is_ready([text])
    assert own.count(text) == len(own.offsets(text))
    assert own._built is not None and own.is_ready([text])


async def test_an_event_loop_never_builds_for_what_python_can_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IN_PYTHON", 100)
    own = O200kTokenizer()
    text = "one two three " * 50
    on_the_loop = [own.count(text), own.offsets(text), own.count_lines([text])]
    assert own._built is None and not own.is_ready([text])
    aside = await asyncio.to_thread(lambda: [own.count(text), own.offsets(text), own.count_lines([text])])
    assert own.is_ready([text * 1_000])
    assert aside == on_the_loop


def test_all_that_is_told_is_the_same_before_and_after(tokenizer: O200kTokenizer) -> None:
    texts = ["", "x 👨‍👩‍👧 世界", "\ud83d lone", "It's 3.14\r\n\n", " \n \t x", "word " * 200]
    own = O200kTokenizer()
    for text in texts:
        assert own.count(text) == tokenizer.count(text)
        assert own.offsets(text) == tokenizer.offsets(text)
    lines = [text.replace("\n", " ") for text in texts]
    assert own.count_lines(lines) == tokenizer.count_lines(lines)
    assert own._built is None


@pytest.mark.parametrize(("what", "text"), [("_load", "one two three"), ("_build", "one two \u0295")])
def test_is_built_once_by_many_threads(monkeypatch: pytest.MonkeyPatch, what: str, text: str) -> None:
    built = []
    build = getattr(module, what)

    def counting(*arguments: object) -> object:
        built.append(threading.get_ident())
        return build(*arguments)

    monkeypatch.setattr(module, what, counting)
    own = O200kTokenizer()
    assert not built  # nothing is built before it is needed
    barrier = threading.Barrier(6)
    counts = []

    def work() -> None:
        barrier.wait()
        counts.append(own.count(text))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert len(set(counts)) == 1 and len(counts) == 6


# ---- the packed ranks ----------------------------------------------------------------------------------


def test_damaged_ranks_are_refused() -> None:
    data = packed()
    with pytest.raises(StatelessRagError, match="cannot be decompressed"):
        read_ranks(data[:-1000])
    with pytest.raises(StatelessRagError, match="cannot be decompressed"):
        read_ranks(b"not zlib at all")
    octets = bytearray(zlib.decompress(data))
    octets[-1] ^= 1
    with pytest.raises(StatelessRagError, match="sha256"):
        read_ranks(zlib.compress(octets, 1))


def test_ranks_are_those_that_tiktoken_pins(ranks: Ranks) -> None:
    assert len(ranks) == 199_998
    text = ranks.tiktoken_file()
    assert hashlib.sha256(text).hexdigest() == TIKTOKEN_SHA256
    assert pack_ranks(ranks.table()) == zlib.decompress(packed())


def test_ranks_are_found_without_a_table(ranks: Ranks) -> None:
    table = ranks.table()
    tokens = [*table][::37]
    assert [ranks.find(token) for token in tokens] == [table[token] for token in tokens]
    assert {len(token) for token in table} <= {*range(1, 129)}
    longest = max(table, key=len)
    first, last = min(table), max(table)
    near = [
        b"",
        longest + b" ",
        first + b"\x00",
        last + b"\xff",
        b"\xff" * 128,
        b"\x00" * 3,
        b"qzqzq",
        b" Lovelaceish",
    ]
    near += [token[:-1] + bytes([token[-1] ^ 0x15]) for token in tokens[::9]]
    assert [ranks.find(token) for token in near] == [table.get(token) for token in near]
    lengths = ranks.lengths()
    assert all(lengths[table[token]] == len(token) for token in tokens)


def test_notice_comes_with_the_data() -> None:
    notice = (files("stateless_rag.providers") / "encodings" / "NOTICE").read_text(encoding="utf-8")
    assert "MIT" in notice
    assert TIKTOKEN_SHA256 in notice
    assert hashlib.sha256(zlib.decompress(packed())).hexdigest() in notice
