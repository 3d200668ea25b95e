from __future__ import annotations

import lzma
import threading
from importlib.resources import files

import numpy as np
import pytest
import tiktoken_ext.openai_public  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from stateless_rag.errors import StatelessRagError
from stateless_rag.protocols import Tokenizer
from stateless_rag.providers import tokenizer as module
from stateless_rag.providers.tokenizer import O200kTokenizer, read_ranks

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
        ]
    ),
    max_size=60,
)


@pytest.fixture(scope="module")
def tokenizer() -> O200kTokenizer:
    return O200kTokenizer()


def packed() -> bytes:
    return (files("stateless_rag.providers") / "encodings" / "o200k_base.tiktoken.xz").read_bytes()


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
    assert encoding._pat_str == official["pat_str"]
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


def test_is_built_once_by_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    build = module._build

    def counting() -> object:
        built.append(threading.get_ident())
        return build()

    monkeypatch.setattr(module, "_build", counting)
    own = O200kTokenizer()
    assert not built  # nothing is built before it is needed
    barrier = threading.Barrier(6)
    counts = []

    def work() -> None:
        barrier.wait()
        counts.append(own.count("one two three"))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert counts == [3] * 6


def test_damaged_ranks_are_refused() -> None:
    data = packed()
    with pytest.raises(StatelessRagError, match="cannot be decompressed"):
        read_ranks(data[:-1000])
    with pytest.raises(StatelessRagError, match="cannot be decompressed"):
        read_ranks(b"not xz at all")
    with pytest.raises(StatelessRagError, match="sha256"):
        read_ranks(lzma.compress(lzma.decompress(data)[:-1] + b"9\n", preset=0))


def test_ranks_are_whole() -> None:
    ranks = read_ranks(packed())
    assert sorted(ranks.values()) == list(range(len(ranks))) == list(ranks.values())
    assert len(ranks) == 199_998


def test_notice_comes_with_the_data() -> None:
    notice = (files("stateless_rag.providers") / "encodings" / "NOTICE").read_text(encoding="utf-8")
    assert "MIT" in notice
    assert module._SHA256 in notice
