"""The think filter: any split of a text into pieces gives the same answer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stateless_rag.providers.think import ThinkFilter, remove_thinking

TEXTS = st.lists(
    st.sampled_from(
        ["<think>", "</think>", "<thi", "nk>", "</", "<", ">", "a", "Answer.", " ", "\n", "é", "思"]
    ),
    max_size=14,
).map("".join)


def fed(pieces: list[str]) -> tuple[str, str]:
    thoughts = ThinkFilter()
    shown = [thoughts.feed(piece) for piece in pieces]
    shown.append(thoughts.finish())
    return "".join(shown), thoughts.text


@given(TEXTS, st.data())
@settings(max_examples=300)
def test_any_split_gives_the_same(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert fed(pieces) == fed([text]) == fed(list(text))


@given(TEXTS)
@settings(max_examples=200)
def test_the_whole_text_is_what_the_pieces_end_in(text: str) -> None:
    shown, answer = fed(list(text))
    assert remove_thinking(text) == answer
    first_tag = min((place for tag in ("<think>", "</think>") if (place := text.find(tag)) >= 0), default=-1)
    if first_tag < 0 or text.startswith("<think>", first_tag):
        assert shown == answer  # nothing had to be taken back


@given(st.text(alphabet="ab <>/thinké\n", max_size=40).filter(lambda text: "think>" not in text))
def test_a_text_without_tags_is_left_alone(text: str) -> None:
    assert fed(list(text)) == (text, text)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>I wonder.</think>\n\nIt is 42.", "It is 42."),
        ("  \n<think>I wonder.</think> It is 42.", "It is 42."),
        ("I wonder, since the template began the thought.\n</think>\nIt is 42.", "It is 42."),
        ("<think>never done", ""),
        ("<think></think>", ""),
        ("One <think>aside</think>two", "One two"),
        ("The tag <think> starts a thought.", "The tag <think> starts a thought."),
        ("<think>a</think>x<think>b</think>y", "xy"),
        ("  indented", "  indented"),
        ("", ""),
    ],
)
def test_cases(text: str, answer: str) -> None:
    assert remove_thinking(text) == answer
