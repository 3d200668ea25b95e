from __future__ import annotations

import dataclasses
import json
import os
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stateless_rag.chunking.boundaries import Level, boundaries, grapheme_start
from stateless_rag.context import Context
from stateless_rag.errors import InvalidDocument, InvalidInput
from stateless_rag.providers.tokenizer import O200kTokenizer
from stateless_rag.settings import ChunkSettings, Settings
from stateless_rag.stages.chunk import chunk, document_id
from stateless_rag.text import chunk_id_of, chunk_row_id, digest
from stateless_rag.types import Chunk, Document
from unit.scripted import WordTokenizer

ATOMS = (
    *"abcD .!?,;\n\t-#1\"", "\r\n", "\n\n", " e\u0301", "👨‍👩‍👧", "🇩🇪", "👍🏽", "中", "文", "。", "，", "！",
    "אב", "ا", "\u00a0", "\u200b", "\u0301", "한", "word ", "A sentence. ",
)  # fmt: skip
NASTY = st.lists(st.sampled_from(ATOMS), max_size=120).map("".join)
WORDS = (
    *("river", "stone", "machine", "garden", "letter", "winter", "signal", "copper", "mirror", "harbour"),
    *(
        "quiet",
        "engine",
        "paper",
        "number",
        "theory",
        "window",
        "music",
        "copies",
        "walks",
        "of",
        "the",
        "in",
    ),
)


class FakeEmbedder:
    model = "fake"
    dimension = 4
    max_batch = 8
    max_batch_tokens = None

    def __init__(self, max_tokens: int | None = None) -> None:
        self.max_tokens = max_tokens


@pytest.fixture(scope="module")
def tokenizer() -> O200kTokenizer:
    return O200kTokenizer()


def cut(tokenizer: Any, text: str, embedder_tokens: int | None = None, **chunking: Any) -> list[Chunk]:
    context = Context(
        settings=Settings(chunking=ChunkSettings(**chunking)),
        tokenizer=tokenizer,
        embedder=FakeEmbedder(embedder_tokens),  # type: ignore[arg-type]
        extractor=None,  # type: ignore[arg-type]
    )
    return chunk(context, Document(text, id="d"))


def prose(seed: int, sentences: int, paragraph: int = 6) -> str:
    chosen = random.Random(seed)
    parts = []
    for number in range(sentences):
        words = " ".join(chosen.choice(WORDS) for _ in range(chosen.randint(4, 25)))
        parts.append(
            words.capitalize() + chosen.choice("..!?") + ("\n\n" if number % paragraph == 5 else " ")
        )
    return "".join(parts)


def changed(before: list[Chunk], after: list[Chunk]) -> int:
    known = {item.id for item in before}
    return sum(item.id not in known for item in after)


# ---- what holds for every strategy ----------------------------------------------------------------------


def check(tokenizer: Any, text: str, chunks: list[Chunk], limit: int, covers: bool = True) -> None:
    for number, item in enumerate(chunks):
        assert text[item.start : item.stop] == item.text
        assert item.text == item.text.strip() != ""
        assert item.ordinal == number
        assert item.tokens == tokenizer.count(item.text)
        assert item.tokens <= limit or len(item.text) == 1
        assert item.digest == digest("chunk", item.text)
        assert item.document_id == "d"
    assert len({item.id for item in chunks}) == len(chunks)
    for one, other in pairwise(chunks):
        assert one.start < other.start
        assert one.stop < other.stop
    if covers:
        covered = bytearray(len(text))
        for item in chunks:
            covered[item.start : item.stop] = b"\1" * (item.stop - item.start)
        assert all(seen or character.isspace() for character, seen in zip(text, covered, strict=True))


@settings(max_examples=150, deadline=None)
@given(
    text=NASTY,
    limit=st.integers(1, 25),
    overlap=st.integers(0, 6),
    strategy=st.sampled_from(["content", "tokens", "recursive", "separator"]),
    embedder=st.sampled_from([None, None, 3, 9]),
)
def test_invariants(
    tokenizer: O200kTokenizer, text: str, limit: int, overlap: int, strategy: str, embedder: int | None
) -> None:
    overlap = min(overlap, limit - 1)
    chunks = cut(
        tokenizer,
        text,
        embedder,
        strategy=strategy,
        max_tokens=limit,
        overlap_tokens=overlap,
        separator="\n\n",
    )
    check(tokenizer, text, chunks, min(limit, embedder or limit))
    assert (chunks == []) == (text.strip() == "")


@settings(max_examples=60, deadline=None)
@given(text=NASTY, limit=st.integers(40, 80), strategy=st.sampled_from(["content", "tokens", "recursive"]))
def test_no_cut_inside_a_grapheme(tokenizer: O200kTokenizer, text: str, limit: int, strategy: str) -> None:
    text = re.sub("\u0301{2,}", "\u0301", text) * 4
    for item in cut(tokenizer, text, strategy=strategy, max_tokens=limit, overlap_tokens=5)[1:]:
        before, after = text[item.start - 1], text[item.start]
        assert before != "\u200d"
        assert after not in "\u200d\U0001f3fd"
        assert before + after != "🇩🇪"
        assert before.isspace() or not unicodedata.combining(after)


@pytest.mark.parametrize("strategy", ["content", "tokens", "recursive", "separator"])
def test_real_sizes(tokenizer: O200kTokenizer, strategy: str) -> None:
    text = prose(1, 600)
    chunks = cut(tokenizer, text, strategy=strategy, max_tokens=200, overlap_tokens=40)
    check(tokenizer, text, chunks, 200)
    assert len(chunks) > 20


@pytest.mark.parametrize("strategy", ["content", "tokens", "recursive", "separator"])
@pytest.mark.parametrize("text", ["", " \n\t\r\n \u00a0\u3000"])
def test_nothing_from_nothing(tokenizer: O200kTokenizer, text: str, strategy: str) -> None:
    assert cut(tokenizer, text, strategy=strategy) == []


@pytest.mark.parametrize("strategy", ["content", "tokens", "recursive"])
def test_a_short_text_is_one_chunk(tokenizer: O200kTokenizer, strategy: str) -> None:
    (only,) = cut(tokenizer, "\n One sentence. Another one!\r\n\r\nA new paragraph. ", strategy=strategy)
    assert only.text == "One sentence. Another one!\r\n\r\nA new paragraph."
    assert only.start == 2


def test_another_tokenizer() -> None:
    words = WordTokenizer()
    text = prose(2, 200)
    for strategy in ("content", "tokens", "recursive"):
        chunks = cut(words, text, strategy=strategy, max_tokens=50, overlap_tokens=10)
        check(words, text, chunks, 50)
        assert len(chunks) > 30


def test_the_embedder_limits_chunks(tokenizer: O200kTokenizer) -> None:
    text = prose(3, 100)
    chunks = cut(tokenizer, text, 64, strategy="separator", separator="§", max_tokens=5000)
    check(tokenizer, text, chunks, 64)
    assert all(item.text[-1] in ".!?" for item in chunks)  # and is cut at good places


# ---- content --------------------------------------------------------------------------------------------


def passages() -> str:
    shared = Path(os.environ.get("STATELESS_RAG_SHARED", Path(__file__).parents[2].parent / "shared"))
    path = shared / "data" / "texts" / "2wiki_passages.json"
    if not path.exists():
        pytest.skip(f"{path} is missing")
    return re.sub(r"\\n", "\n\n", path.read_text(encoding="utf-8")[:150_000])


def edits(text: str, count: int, seed: int = 0) -> list[str]:
    chosen = random.Random(seed)
    edited = ["Suddenly " + text, text[text.index(" ") + 1 :]]
    for number in range(count):
        place = text.index(" ", chosen.randrange(len(text) - 200)) + 1
        after = text.index(" ", place) + 1
        edited.append(
            text[:place] + ("inserted " if number % 2 else "") + text[place if number % 2 else after :]
        )
    return edited


@pytest.mark.parametrize("limit", [60, 150])
@pytest.mark.parametrize("paragraph", [6, 10_000])
def test_an_edit_changes_few_chunks(tokenizer: O200kTokenizer, limit: int, paragraph: int) -> None:
    text = prose(limit, limit * 6, paragraph)
    before = cut(tokenizer, text, max_tokens=limit)
    assert len(before) > 50
    for edited in edits(text, 10):
        assert changed(before, cut(tokenizer, edited, max_tokens=limit)) <= 3


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000), place=st.floats(0, 0.99), word=st.sampled_from(["x", "Hence,", "2.5", "词"])
)
def test_boundaries_resynchronise(tokenizer: O200kTokenizer, seed: int, place: float, word: str) -> None:
    text = prose(seed, 250)
    offset = text.index(" ", int(place * (len(text) - 50))) + 1
    before = cut(tokenizer, text, max_tokens=80)
    after = cut(tokenizer, text[:offset] + word + " " + text[offset:], max_tokens=80)
    assert len(before) > 50
    assert changed(before, after) <= 3


@pytest.mark.shared
def test_an_edit_of_real_text_changes_few_chunks(tokenizer: O200kTokenizer) -> None:
    text = passages()
    before = cut(tokenizer, text, max_tokens=400)
    assert len(before) > 50
    for edited in edits(text, 10):
        assert changed(before, cut(tokenizer, edited, max_tokens=400)) <= 3


def test_an_edit_of_repeated_text_changes_few_texts(tokenizer: O200kTokenizer) -> None:
    text = "The same sentence once more. It goes on and on, and on.\n\n" * 1000
    before = {item.text for item in cut(tokenizer, text, max_tokens=200)}
    for edited in edits(text, 6):
        after = {item.text for item in cut(tokenizer, edited, max_tokens=200)}
        assert len(after - before) <= 4


@pytest.mark.parametrize(
    "text",
    [
        prose(9, 2000),
        prose(9, 2000, 10_000),
        " ".join(WORDS[(n * n) % len(WORDS)] for n in range(20_000)),
        "甲乙丙丁" * 6000,
    ],
    ids=["paragraphs", "sentences", "words", "characters"],
)
def test_chunks_are_well_filled(tokenizer: O200kTokenizer, text: str) -> None:
    chunks = cut(tokenizer, text, max_tokens=300)
    check(tokenizer, text, chunks, 300)
    assert sum(item.tokens for item in chunks) / len(chunks) >= 0.55 * 300


def test_cuts_at_paragraphs_rather_than_sentences(tokenizer: O200kTokenizer) -> None:
    text = prose(4, 600)
    chunks = cut(tokenizer, text, max_tokens=400)
    paragraphs = sum(text[item.stop : item.stop + 2] == "\n\n" for item in chunks[:-1])
    assert paragraphs > 0.9 * (len(chunks) - 1)


def test_a_heading_begins_a_chunk_and_stays_with_its_text(tokenizer: O200kTokenizer) -> None:
    text = "\n\n".join(f"## Part {n}\n\n{prose(n, 5)}" for n in range(40))
    chunks = cut(tokenizer, text, max_tokens=250)
    assert all(item.text.startswith("## Part") for item in chunks)
    assert not any(re.search(r"## Part \d+$", item.text) for item in chunks)


def test_an_unchanged_chunk_keeps_its_id(tokenizer: O200kTokenizer) -> None:
    before = cut(tokenizer, prose(5, 300), max_tokens=100)
    after = cut(tokenizer, "New. " + prose(5, 300), max_tokens=100)
    moved = {item.id: item.start for item in before}
    same = [item for item in after if item.id in moved]
    assert len(same) >= len(before) - 2
    assert all(item.start == moved[item.id] + 5 for item in same[1:])


def test_long_texts_without_a_good_place_to_cut(tokenizer: O200kTokenizer) -> None:
    for text in ("x" * 300_000, "ab " * 100_000, "\n" * 200_000 + "x" + " " * 200_000 + "y", "." * 200_000):
        check(tokenizer, text, cut(tokenizer, text), 1200)


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("One. Two! Three? Four… Five", ["One. ", "Two! ", "Three? ", "Four… ", "Five"]),
        ('He said "Stop." Then he left.', ['He said "Stop." ', "Then he left."]),
        ("Dr. Smith met J. R. Jones, i.e. her, in the U.S. Army.", None),
        ("It costs 3.14 dollars at example.com today.", None),
        ("Wait... what? no.", None),
        ("See Fig. 3 and No. 7. Then stop.", ["See Fig. 3 and No. 7. ", "Then stop."]),
        ("他走了。“好！”她说。下雨了？是的", ["他走了。", "“好！”", "她说。", "下雨了？", "是的"]),
        ("「本当？」と聞いた。うん……そう", ["「本当？」", "と聞いた。", "うん……", "そう"]),
        ("मैं गया। वह आई।", ["मैं गया। ", "वह आई।"]),
        ("هل جاء؟ نعم.", ["هل جاء؟ ", "نعم."]),
        ("a\r\n\r\nb\n \nc", ["a\r\n\r\n", "b\n \n", "c"]),
        ("a\r\nb\nc", None),
        ("1. First\n2. Second\n- third", ["1. First\n", "2. Second\n", "- third"]),
        ("x\n# Head\n\nbody\n\nmore", ["x\n", "# Head\n\nbody\n\n", "more"]),
        ("# A\n\n## B\n\nbody", None),
    ],
)
def test_units(text: str, units: list[str] | None) -> None:
    places = boundaries(text, 0, len(text), Level.SENTENCE)[0].tolist()
    found = [text[one:other] for one, other in zip([0, *places], [*places, len(text)], strict=True)]
    assert found == (units or [text])


def test_a_mark_after_a_space_belongs_to_it() -> None:
    text = "one \u0301two three. \u200d\u0301four"
    assert boundaries(text, 0, len(text), Level.SPACE)[0].tolist() == [9]


def test_grapheme_start() -> None:
    text = "a👨‍👩‍👧b🇩🇪🇫🇷\r\ne\u0301"
    whole = {0, 1, 6, 7, 9, 11, 13, 15}
    assert {place for place in range(len(text) + 1) if grapheme_start(text, place, -1) == place} == whole
    assert grapheme_start(text, 4, 0) == 1
    assert grapheme_start("e" + "\u0301" * 100, 90, 0) == 90  # a cut moves a little, not far


# ---- tokens, separator, recursive, function -------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "sizes"), [(10, [10]), (11, [10, 5]), (25, [10, 10, 10, 7]), (16, [10, 10]), (17, [10, 10, 5])]
)
def test_token_windows(total: int, sizes: list[int]) -> None:
    text = " ".join(f"w{number}" for number in range(total))
    chunks = cut(WordTokenizer(), text, strategy="tokens", max_tokens=10, overlap_tokens=4)
    assert [item.tokens for item in chunks] == sizes
    assert [item.text.split()[0] for item in chunks] == [f"w{6 * number}" for number in range(len(sizes))]


def test_token_windows_of_characters_of_several_tokens(tokenizer: O200kTokenizer) -> None:
    text = "👨‍👩‍👧 e\u0301\u0302🇩🇪🏴 ᚠᛇ𝔘" * 60
    for overlap in (0, 11):
        chunks = cut(tokenizer, text, strategy="tokens", max_tokens=60, overlap_tokens=overlap)
        check(tokenizer, text, chunks, 60)
        assert all(item.tokens >= 30 for item in chunks[:-1])  # made shorter, not cut again


@pytest.mark.parametrize(
    "chunking",
    [
        {"strategy": "tokens", "max_tokens": 10, "overlap_tokens": 10},
        {"strategy": "tokens", "max_tokens": 10, "overlap_tokens": -1},
        {"strategy": "recursive", "max_tokens": 10, "overlap_tokens": 11},
        {"strategy": "recursive", "separators": ("x",) * 65},
        {"strategy": "separator", "separator": ""},
        {"strategy": "lines"},
        {"max_tokens": 0},
    ],
)
def test_settings_that_contradict_themselves(chunking: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        cut(WordTokenizer(), "some text", **chunking)


def test_separator() -> None:
    text = "one two ## three ####  four five six seven eight nine ##"
    words = WordTokenizer()
    chunking: dict[str, Any] = {
        "strategy": "separator",
        "separator": "##",
        "max_tokens": 4,
        "overlap_tokens": 1,
    }
    texts = [item.text for item in cut(words, text, **chunking)]
    assert texts == ["one two", "three", "four five six seven", "seven eight nine"]
    with pytest.raises(InvalidInput, match="6 tokens, max_tokens is 4"):
        cut(words, text, separator_only=True, **chunking)


def test_recursive() -> None:
    text = "a b c\n\nd e f g h i\n\nj\n\nk"
    words = WordTokenizer()
    texts = [item.text for item in cut(words, text, strategy="recursive", max_tokens=4, overlap_tokens=0)]
    assert texts == ["a b c", "d e f g", "h i", "j\n\nk"]
    overlapping = cut(words, "a b c d e f", strategy="recursive", max_tokens=3, overlap_tokens=1)
    assert [item.text for item in overlapping] == ["a b c", "c d e", "e f"]
    chinese = cut(O200kTokenizer(), "今天下雨。" * 30, strategy="recursive", max_tokens=30, overlap_tokens=0)
    assert all(item.text.endswith("。") for item in chinese)


def test_function_of_strings_and_of_offsets() -> None:
    words = WordTokenizer()
    text = "  a b a b  c"
    assert [(c.start, c.stop) for c in cut(words, text, function=lambda t: ["a b", "a b", "", "c"])] == [
        (2, 5),
        (6, 9),
        (11, 12),
    ]
    overlapping = cut(words, "banana and a nut", function=lambda t: ["banana and", "and a", "nut"])
    assert [c.start for c in overlapping] == [0, 7, 13]
    given = cut(words, text, function=lambda t: [(6, 12), (0, 4), (0, 2)])
    assert [(c.ordinal, c.start, c.text) for c in given] == [(0, 2, "a"), (1, 6, "a b  c")]
    too_long = cut(words, "a b c d e", function=lambda t: [(0, 9)], max_tokens=3)
    check(words, "a b c d e", too_long, 3)
    nested = cut(words, "a b c", function=lambda t: [(0, 5), (2, 3)])
    assert [c.text for c in nested] == ["a b c", "b"]


@pytest.mark.parametrize(
    "returned",
    [["b", "a"], ["missing"], [(0, 99)], [(2, 2)], [(-1, 2)], [(0, 1.5)], [None], "a b", 7],
)
def test_function_that_returns_what_is_not_there(returned: Any) -> None:
    with pytest.raises(InvalidInput, match="chunk function"):
        cut(WordTokenizer(), "a b", function=lambda text: returned)


# ---- documents and ids ----------------------------------------------------------------------------------


def test_document_id() -> None:
    assert document_id(Document("t", id="x", source="s")) == "x"
    assert document_id(Document("t", source="a/r.txt")) == "doc-" + digest("source", "a/r.txt")
    assert document_id(Document("t", source="b/r.txt")) != document_id(Document("t", source="a/r.txt"))
    assert document_id(Document("a\x00b")) == document_id(Document("a b")) == "doc-" + digest("text", "a b")


def test_chunk_ids_count_equal_texts() -> None:
    chunks = cut(WordTokenizer(), "x\n\ny\n\nx", strategy="separator")
    assert [item.text for item in chunks] == ["x", "y", "x"]
    same = digest("chunk", "x")
    assert [item.id for item in chunks] == [
        f"chunk-{digest('d', text_digest, str(occurrence))[:16]}"
        for text_digest, occurrence in [(same, 0), (digest("chunk", "y"), 0), (same, 1)]
    ]


@given(st.integers(-(2**63), 2**63 - 1))
def test_row_ids_there_and_back(row_id: int) -> None:
    chunk_id = chunk_id_of(row_id)
    assert re.fullmatch("chunk-[0-9a-f]{16}", chunk_id)
    assert chunk_row_id(chunk_id) == row_id


def test_row_id_is_the_signed_number() -> None:
    assert chunk_row_id("chunk-00000000000000ff") == 255
    assert chunk_row_id("chunk-8000000000000000") == -(2**63)
    for wrong in ("chunk-00", "x", "chunk-00000000000000FF", "chunk-00000000000000ff\n"):
        with pytest.raises(InvalidInput):
            chunk_row_id(wrong)


@pytest.mark.parametrize(
    ("document", "named"),
    [
        (lambda: Document(b"bytes"), "bytes"),  # type: ignore[arg-type]
        (lambda: Document("t", id=""), "id"),
        (lambda: Document("t", id="  "), "id"),
        (lambda: Document("t", id="a\x00b"), "x00"),
        (lambda: Document("t", id="a\nb"), "control"),
        (lambda: Document("t", id="i" * 513), "513"),
        (lambda: Document("t", id=7), "7"),  # type: ignore[arg-type]
        (lambda: Document("t", source="s" * 4097), "4097"),
        (lambda: Document("t", source=Path("x")), "Path"),  # type: ignore[arg-type]
        (
            lambda: Document("t", metadata={"a": {"b": [1, float("nan")]}}),
            r"metadata\['a'\]\['b'\]\[1\] is nan",
        ),
        (lambda: Document("t", metadata={"a": float("inf")}), "inf"),
        (lambda: Document("t", metadata={"a": {1: 2}}), r"key 1"),
        (lambda: Document("t", metadata={"a": {"x"}}), "set"),
        (lambda: Document("t", metadata=[1]), "mapping"),  # type: ignore[arg-type]
    ],
)
def test_unusable_documents(document: Callable[[], Document], named: str) -> None:
    with pytest.raises(InvalidDocument, match=named):
        document()


def test_metadata_that_contains_itself() -> None:
    metadata: dict[str, Any] = {}
    metadata["self"] = metadata
    with pytest.raises(InvalidDocument, match="levels"):
        Document("t", metadata=metadata)


def test_documents_are_kept_clean() -> None:
    metadata = {"a\x00": ["x\ud800", (1, 2.5, None, True)], "n": {"k": "v"}}
    document = Document("te\x00xt\ufffe", id="i" * 512, source="a\x07b", metadata=metadata)
    assert document.text == "te xt\ufffd"
    assert document.source == "a b"
    assert document.metadata == {"a ": ["x\ufffd", [1, 2.5, None, True]], "n": {"k": "v"}}
    assert json.loads(json.dumps(document.metadata)) == document.metadata
    assert dataclasses.replace(document) == document
    metadata["n"] = {}
    assert document.metadata["n"] == {"k": "v"}  # later changes by the caller do not reach it
    assert Document("t", source="").source is None
    assert dataclasses.replace(document, id=None).id is None


def test_levels() -> None:
    text = prose(8, 60)
    levels = Counter(boundaries(text, 0, len(text), Level.SPACE)[1].tolist())
    assert levels[Level.PARAGRAPH] == 9
    assert levels[Level.SENTENCE] == 50
    assert levels[Level.SPACE] > 500
