"""References and quotes of an answer: what cites nothing is taken out, what is quoted is found again."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stateless_rag.retrieval.cite import CheckedText
from stateless_rag.retrieval.quotes import locate_quotes
from stateless_rag.types import Citation, Passage, Reference

KNOWN = (1, 2, 3)


def checked(*pieces: str, remove: bool = True) -> CheckedText:
    text = CheckedText(KNOWN, remove=remove)
    shown = "".join([*map(text.feed, pieces), text.finish()])
    assert shown == text.text
    return text


def said_of(text: CheckedText) -> tuple[object, ...]:
    return text.text, text.citations, text.removed


@pytest.mark.parametrize(
    ("said", "shown", "cited", "removed"),
    [
        ("Ada wrote [1].", "Ada wrote [1].", [(1,)], []),
        ("Ada wrote [9].", "Ada wrote.", [], ["[9]"]),
        ("Ada [9] wrote [1, 9][2].", "Ada wrote [1][2].", [(1,), (2,)], ["[9]", "[9]"]),
        ("Ada[1-5]", "Ada[1, 2, 3]", [(1, 2, 3)], ["[4]", "[5]"]),
        ("Ada [1–3]", "Ada [1–3]", [(1, 2, 3)], []),
        ("[9] Ada\n  [8] Ada", "Ada\n  Ada", [], ["[9]", "[8]"]),
        ("[0] and [^7], [ref. 2 and 3] 【4】", "and, [ref. 2 and 3]", [(2, 3)], ["[0]", "[7]", "[4]"]),
        ("In [1987] [x] [ ] [] [sic] [12a] [1.5]", None, [], []),
        ("A [9](https://a.b) link, [1](c)", None, [], []),
        ("Code `a[9]`, ``b[8] ` ``", None, [], []),
        ("```py\na[9]\n```\nb [9]\n~~~\n[7]\n~~~~", "```py\na[9]\n```\nb\n~~~\n[7]\n~~~~", [], ["[9]"]),
        ("A lone ` and [9]\nnext [8] `", "A lone ` and\nnext `", [], ["[9]", "[8]"]),
        (
            "So [1].\n\n### References\n\n- [1] a.md\n- [9] b.md\n2. [8] c.md\n- [2] d.md\n",
            "So [1].\n\n### References\n\n- [1] a.md\n- [2] d.md\n",
            [(1,), (1,), (2,)],
            ["[9]", "[8]"],
        ),
        ("**Sources:**\n[9] b.md\n# Then\n- [9] kept", "**Sources:**\n# Then\n- kept", [], ["[9]", "[9]"]),
        ("- [9] a point [1]", "- a point [1]", [(1,)], ["[9]"]),
        ("cut off at [1", None, [], []),
    ],
)
def test_marks(said: str, shown: str | None, cited: list[tuple[int, ...]], removed: list[str]) -> None:
    text = checked(said)
    # a mark at the start of a bullet leaves the bullet's own space
    assert text.text == (said if shown is None else shown)
    assert [one.numbers for one in text.citations] == cited
    assert [one.text for one in text.removed] == removed
    for one in text.citations:
        assert text.text[one.at : one.at + len(one.text)] == one.text


def test_with_a_prompt_of_the_callers_nothing_is_taken_out() -> None:
    text = checked('{"scores": [1, 9]}', remove=False)
    assert text.text == '{"scores": [1, 9]}'
    assert [one.text for one in text.removed] == ["[9]"]


def test_no_more_is_held_back_than_a_mark() -> None:
    text = CheckedText(KNOWN)
    assert text.feed("Ada wrote") == "Ada wrote"
    assert text.feed(" the [") == " the"
    assert text.feed("9") == ""
    assert text.feed("] notes") == " notes"
    assert text.feed(" [Ada") == " [Ada"


WORDS = st.sampled_from(
    [
        "Ada",
        " ",
        "  ",
        "\n",
        "[",
        "]",
        "[1]",
        "[9]",
        "[1, 9]",
        "(",
        "`",
        "```",
        "~~~",
        "- ",
        "1. ",
        "### References\n",
        "【8】",
        "[1",
        "-5]",
        ",",
        "x" * 90,
        " " * 97,
        "\t",
        "é",
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(WORDS, max_size=14).map("".join), st.data())
def test_where_the_pieces_are_cut_does_not_matter(said: str, cuts: st.DataObject) -> None:
    places = sorted(cuts.draw(st.lists(st.integers(0, len(said)), max_size=12)))
    pieces = [said[start:stop] for start, stop in zip([0, *places], [*places, len(said)], strict=True)]
    whole = checked(said)
    assert said_of(checked(*pieces)) == said_of(whole)
    assert said_of(checked(*said)) == said_of(whole)

    for one in whole.citations:
        assert whole.text[one.at : one.at + len(one.text)] == one.text


# ---- quotes --------------------------------------------------------------------------------------------

DOCUMENT = (
    "Preface. Ada  wrote\nthe “notes” on the engine’s cards[12] – a long text.[3] It was *never* built, "
    "she said; the café stayed open. Ada wrote of numbers and of music. The end of it all."
)
START = 9
LONG = "Ada  wrote\nthe “notes” on the engine’s cards[12] – a long text"
CUT = "It was *never* built, she said; the café stayed open. Ada wrote of numbers and of music"


def passage(name: str, text: str, start: int) -> Passage:
    return Passage(
        chunk_id=name, document_id=name, source=None, ordinal=0, start=start, stop=start + len(text),
        text=text, tokens=1, score=1.0,
    )  # fmt: skip


def reference(number: int, one: Passage) -> Reference:
    return Reference(
        number=number,
        document_id=one.document_id,
        source=None,
        chunk_id=one.chunk_id,
        start=one.start,
        stop=one.stop,
    )


PASSAGES = (passage("a", DOCUMENT[START:], START), passage("b", "Ada wrote of numbers and of music.", 0))
REFERENCES = tuple(reference(number, one) for number, one in enumerate(PASSAGES, 1))


@pytest.mark.parametrize(
    ("said", "found", "exact"),
    [
        ('"Ada wrote of numbers and of music."', "Ada wrote of numbers and of music.", True),
        ("“Ada wrote of numbers and of music,”", "Ada wrote of numbers and of music", False),
        ("“Ada wrote the 'notes' on the engine”", None, False),
        ("«Ada wrote the “notes” on the engine's cards - a long text»", LONG, False),
        ('"It was never built, she said"', "It was *never* built, she said", False),
        ('"It was **never built**, she said"', "It was *never* built, she said", False),
        (unicodedata.normalize("NFD", "“the café stayed open”"), "the café stayed open", False),
        ('"Never *built*, she said"', "never* built, she said", False),
        ('"Ada wrote the … a long text"', LONG, False),
        ('"It was never built […] and of music"', CUT, False),
        ("> Ada wrote of numbers\n> and of music.", "Ada wrote of numbers and of music.", False),
        ('"Ada wrote of letters and of music."', None, False),
        ('"the engine’s cards (always) - a long"', None, False),
    ],
)  # fmt: skip
def test_quotes(said: str, found: str | None, exact: bool) -> None:
    answer = f"She says: {said} [1]" if not said.startswith(">") else said
    quotes, missing = locate_quotes(answer, PASSAGES, REFERENCES, ())
    if found is None:
        assert not quotes
        assert [one.kind for one in missing] == ["quote"]
        assert answer[missing[0].at :].startswith(missing[0].text)
        return
    assert not missing
    (quote,) = quotes
    assert DOCUMENT[quote.reference.start : quote.reference.stop] == found
    assert answer[quote.at : quote.at + len(quote.text)] == quote.text
    assert (quote.exact, quote.reference.number) == (exact, 1)


def test_the_passage_that_is_cited_after_the_quote_wins() -> None:
    said = '"Ada wrote of numbers and of music" [2]. "Ada wrote of numbers and of music" [1].'
    marks = tuple(Citation(text=f"[{n}]", at=said.index(f"[{n}]"), numbers=(n,)) for n in (2, 1))
    quotes, _ = locate_quotes(said, PASSAGES, REFERENCES, marks)
    assert [quote.reference.number for quote in quotes] == [2, 1]


@pytest.mark.parametrize(
    "said",
    [
        'the "Analytical Engine"',
        '`"a b c d e f"`',
        '```\n"one two three four"\n```',
        '5" and 6" of it',
        "no quote",
    ],
)
def test_names_and_code_are_no_quotes(said: str) -> None:
    assert locate_quotes(said, PASSAGES, REFERENCES, ()) == ((), ())


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_every_span_of_a_passage_is_located(draw: st.DataObject) -> None:
    words = DOCUMENT[START:].split()
    first = draw.draw(st.integers(0, len(words) - 6))
    said = " ".join(words[first : first + 6]).replace("“", "'").replace("”", "'").replace("'", "")
    quotes, missing = locate_quotes(f"«{said}»", PASSAGES, REFERENCES, ())
    assert bool(quotes) is ("notes" not in said)
    for quote in quotes:
        span = DOCUMENT[quote.reference.start : quote.reference.stop]
        assert [w for w in span.split() if w.isalpha()] == [w for w in said.split() if w.isalpha()] or span
        assert "".join(c for c in span if c.isalpha()) == "".join(c for c in said if c.isalpha())
    assert len(quotes) + len(missing) == 1
