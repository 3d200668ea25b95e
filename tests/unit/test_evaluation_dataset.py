"""Datasets: what is read, and what is refused with words that help."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stateless_rag.errors import InvalidInput
from stateless_rag.evaluation import find_retrieved, read_dataset, read_retrieved

CORPUS = [{"id": "a", "title": "Ada", "text": "She wrote notes."}, {"id": 2, "text": "Untitled."}]
QUESTIONS = [{"id": "q", "question": "Who wrote?", "type": "1hop", "gold": ["a", "a", 2]}]
OPENIE = {
    "docs": [{"passage": "Ada\nShe wrote notes.", "extracted_entities": ["Ada"], "extracted_triples": []}]
}


def write(folder: Path, **files: Any) -> Path:
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    return folder


def test_what_is_read(tmp_path: Path) -> None:
    dataset = read_dataset(write(tmp_path, corpus=CORPUS, questions=QUESTIONS, openie=OPENIE))
    assert dataset.name == tmp_path.name
    assert [(item.id, item.passage) for item in dataset.corpus] == [
        ("a", "Ada\nShe wrote notes."),
        ("2", "Untitled."),
    ]
    (question,) = dataset.questions
    assert (question.id, question.text, question.type) == ("q", "Who wrote?", "1hop")
    assert question.gold == ("a", "2")
    assert dataset.types == ("1hop",)
    assert dataset.recorded == 1


def test_questions_of_another_file_may_say_little(tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    own.write_text(
        '\ufeff[{"question": "One?", "gold": [2], "low_level": ["One"]}, {"question": "Two?", "gold": [2]}]'
    )
    dataset = read_dataset(write(tmp_path, corpus=CORPUS), own)
    assert [question.id for question in dataset.questions] == ["q0", "q1"]
    assert dataset.questions[0].low_level == ("One",)
    assert dataset.types == ()
    assert dataset.openie is None
    assert dataset.recorded == 0


def test_a_folder_of_texts_is_a_corpus(tmp_path: Path) -> None:
    (tmp_path / "corpus" / "more").mkdir(parents=True)
    (tmp_path / "corpus" / "b.md").write_text("# B\n\nText.")
    (tmp_path / "corpus" / "more" / "a.txt").write_text("A.")
    (tmp_path / "corpus" / "picture.png").write_bytes(b"\x89")
    dataset = read_dataset(write(tmp_path, questions=[{"question": "A?", "gold": ["more/a.txt"]}]))
    assert [item.id for item in dataset.corpus] == ["b.md", "more/a.txt"]
    (tmp_path / "corpus" / "b.md").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput, match=r"b\.md cannot be read as UTF-8"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"corpus": "[{"}, r"corpus\.json holds no JSON"),
        ({"corpus": {"id": "a"}}, "must be a list of objects"),
        ({"corpus": ["a"]}, "must be a list of objects"),
        ({"corpus": []}, "has no passage"),
        ({"corpus": [*CORPUS, CORPUS[0]]}, "more than one passage with the id 'a'"),
        (
            {"corpus": [{"id": "2", "text": "x"}, {"id": 2, "text": "y"}]},
            "more than one passage with the id '2'",
        ),
        ({"corpus": [{"text": "no id"}]}, r"corpus\.json\[0\]\.id is None"),
        ({"corpus": [{"id": True, "text": "x"}]}, r"corpus\.json\[0\]\.id is True"),
        ({"corpus": [{"id": "a"}]}, r"corpus\.json\[0\]\.text is None"),
        ({"corpus": [{"id": "a", "text": ["x"]}]}, r"\.text is .* must be a string"),
        ({"corpus": [{"id": "a", "title": " ", "text": " \n"}]}, "neither a title nor a text"),
        ({"questions": "nonsense"}, r"questions\.json holds no JSON"),
        ({"questions": []}, "has no question"),
        ({"questions": [QUESTIONS[0], QUESTIONS[0]]}, "more than one question with the id 'q'"),
        ({"questions": [{"question": " ", "gold": ["a"]}]}, r"\[0\]\.question is blank"),
        ({"questions": [{"gold": ["a"]}]}, r"\[0\]\.question is None"),
        ({"questions": [{"question": "Who?"}]}, r"\[0\]\.gold is None"),
        ({"questions": [{"question": "Who?", "gold": []}]}, "at least one"),
        ({"questions": [{"question": "Who?", "gold": "a"}]}, r"\.gold is 'a'"),
        ({"questions": [{"question": "Who?", "gold": ["a", "nope"]}]}, "the gold 'nope', which the corpus"),
        ({"questions": [{"question": "Who?", "gold": ["a"], "low_level": "Ada"}]}, "low_level"),
        ({"openie": "{"}, r"openie\.json holds no JSON"),
        ({"openie": []}, "wrong shape"),
        ({"openie": {"docs": [{"title": "Ada"}]}}, r"docs\[0\]"),
        (
            {"openie": {"docs": [{**OPENIE["docs"][0], "extracted_triples": None}]}},
            "extracted_triples is None",
        ),
        ({"openie": {"docs": [{"passage": "of another corpus"}]}}, "has no passage of this corpus"),
    ],
)
def test_what_is_refused(tmp_path: Path, changed: dict[str, Any], told: str) -> None:
    write(tmp_path, **{"corpus": CORPUS, "questions": QUESTIONS, **changed})
    with pytest.raises(InvalidInput, match=told):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("doc", "known"),
    [
        ({"idx": "a", "passage": "She wrote  notes.\n"}, 1),
        ({"idx": "a", "passage": "Ada\n\nShe wrote notes."}, 1),
        ({"idx": 2, "passage": " Untitled."}, 1),
        ({"idx": "a", "passage": "He wrote notes."}, 0),
        ({"idx": "a", "passage": ""}, 0),
        ({"idx": "2", "passage": "She  wrote notes."}, 0),
    ],
)
def test_a_recording_names_its_passage_by_id(tmp_path: Path, doc: dict[str, Any], known: int) -> None:
    corpus = [*CORPUS, {"id": "c", "text": "Third."}]
    recorded = {"docs": [doc, {"passage": "Third."}]}
    dataset = read_dataset(write(tmp_path, corpus=corpus, questions=QUESTIONS, openie=recorded))
    assert dataset.recorded == 1 + known


def test_a_type_may_be_a_number(tmp_path: Path) -> None:
    dataset = read_dataset(write(tmp_path, corpus=CORPUS, questions=[{**QUESTIONS[0], "type": 2}]))
    assert dataset.types == ("2",)


@pytest.mark.parametrize("missing", ["corpus", "questions"])
def test_what_is_missing(tmp_path: Path, missing: str) -> None:
    write(tmp_path, corpus=CORPUS, questions=QUESTIONS)
    (tmp_path / f"{missing}.json").unlink()
    with pytest.raises(InvalidInput, match=rf"there is no file .*{missing}\.json"):
        read_dataset(tmp_path)
    with pytest.raises(InvalidInput, match="there is no folder"):
        read_dataset(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="there is no folder"):
        read_dataset(tmp_path / "questions.json")


# ---- rankings of other programs ------------------------------------------------------------------------


async def test_rankings_are_arms(tmp_path: Path) -> None:
    dataset = read_dataset(write(tmp_path, corpus=CORPUS, questions=QUESTIONS))
    other = write(tmp_path, other_1_retrieved={"modes": {"mix": {"q": ["2", "a", "2"]}, "naive": {"q": []}}})
    (file,) = find_retrieved(other)
    arms = read_retrieved(file, dataset)
    assert [arm.name for arm in arms] == ["other_1/mix", "other_1/naive"]
    outcome = await arms[0].ask(dataset.questions[0])
    assert outcome.ranked == ("2", "a")
    assert (outcome.ms, outcome.context_tokens, outcome.llm_calls) == (None, None, None)
    assert (await arms[1].ask(dataset.questions[0])).ranked == ()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([], "wrong shape"),
        ({"modes": {}}, "wrong shape"),
        ({"modes": {"mix": []}}, "list of ids for each question"),
        ({"modes": {"mix": {"other": ["a"]}}}, "no list of ids for question 'q'"),
        ({"modes": {"mix": {"q": "a"}}}, "no list of ids for question 'q'"),
        ({"modes": {"mix": {"q": ["a", "z"]}}}, "'z' for question 'q', which is no id"),
        ({"modes": {"mix": {"q": [["a"]]}}}, "is no id"),
    ],
)
def test_rankings_that_do_not_fit(tmp_path: Path, content: Any, told: str) -> None:
    dataset = read_dataset(write(tmp_path, corpus=CORPUS, questions=QUESTIONS))
    with pytest.raises(InvalidInput, match=told):
        read_retrieved(write(tmp_path, x_retrieved=content) / "x_retrieved.json", dataset)
