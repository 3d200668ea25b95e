"""A dataset to measure retrieval on: passages, questions with the passages that answer them, and extractions.

FOLDER/corpus.json      [{"id", "title", "text"}], or the text files in FOLDER/corpus/, a passage each
FOLDER/questions.json   [{"id", "question", "type", "gold": [ids of passages], …}]
FOLDER/openie.json      recorded extractions, if there are any: see `testing.RecordedLLM`
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from stateless_rag.checks import identifier, path, shown, text, texts
from stateless_rag.errors import InvalidInput

__all__ = ["Dataset", "Item", "Question", "read_dataset", "read_json"]

Entry = TypeVar("Entry", "Item", "Question")

_SUFFIXES = frozenset({".md", ".txt"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One passage of a corpus."""

    id: str
    title: str = ""
    text: str = ""

    @property
    def passage(self) -> str:
        """The title in a line of its own, and the text."""
        return f"{self.title}\n{self.text}" if self.title else self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question. `gold` are the ids of the passages that are needed to answer it, each once.

    Keywords are empty where the file gives none; the built-in reader finds them then.
    """

    id: str
    text: str
    gold: tuple[str, ...]
    type: str = ""
    answer: str = ""
    high_level: tuple[str, ...] = ()
    low_level: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A corpus and questions about it. `openie` is the content of a recording, None where there is none."""

    name: str
    corpus: tuple[Item, ...]
    questions: tuple[Question, ...]
    openie: Mapping[str, Any] | None = None
    by_id: Mapping[str, Item] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_id = MappingProxyType({item.id: item for item in self.corpus})
        object.__setattr__(self, "by_id", by_id)

    @property
    def types(self) -> tuple[str, ...]:
        """The types of question, in the order of the code points; questions without one have none."""
        return tuple(sorted({question.type for question in self.questions} - {""}))

    @property
    def recorded(self) -> int:
        """How many passages of the corpus the recording knows by their text."""
        docs = () if self.openie is None else self.openie["docs"]
        known = {str(doc["passage"]).strip() for doc in docs}
        return sum(item.passage.strip() in known for item in self.corpus)


def read_dataset(folder: str | Path, questions: str | Path | None = None) -> Dataset:
    """Read a dataset's folder, with the questions of another file if one is named.

    Raises InvalidInput for files that are missing or hold something else, ids that occur twice, a corpus or a
    set of questions that is empty, gold ids that are not in the corpus, and recordings of another corpus.
    """
    place = path("folder", folder)
    if not place.is_dir():
        raise InvalidInput(
            f"there is no folder {str(place)!r}; name one with corpus.json and questions.json in it"
        )
    file = place / "questions.json" if questions is None else path("questions", questions)
    corpus = _unique(_corpus(place), "passage", place)
    asked = _unique(_questions(read_json(file), file), "question", file)
    _check_gold(asked, {item.id for item in corpus}, file)
    openie = place / "openie.json"
    dataset = Dataset(
        name=place.resolve().name,
        corpus=corpus,
        questions=asked,
        openie=_recording(read_json(openie), openie, corpus) if openie.exists() else None,
    )
    if dataset.openie is not None and not dataset.recorded:
        raise InvalidInput(f"{openie} has no passage of this corpus; its passages are title, line feed, text")
    return dataset


def read_json(file: Path) -> Any:
    """What a JSON file holds. Raises InvalidInput if it cannot be read."""
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as exc:
        raise InvalidInput(
            f"there is no file {str(file)!r}; a dataset has corpus.json and questions.json"
        ) from exc
    except OSError as exc:
        raise InvalidInput(f"{file} cannot be read: {exc.strerror or exc}") from exc
    except (ValueError, RecursionError) as exc:
        raise InvalidInput(f"{file} holds no JSON that can be read: {exc}") from exc


# ---- the corpus ----------------------------------------------------------------------------------------


def _corpus(place: Path) -> list[Item]:
    file, texts_ = place / "corpus.json", place / "corpus"
    if texts_.is_dir() and not file.exists():
        return _read_texts(texts_)
    items = []
    for number, entry in enumerate(_objects(read_json(file), file)):
        where = f"{file}[{number}]"
        item = Item(
            id=_id(f"{where}.id", entry.get("id")),
            title=text(f"{where}.title", entry.get("title") or "").strip(),
            text=text(f"{where}.text", entry.get("text")),
        )
        if not item.passage.strip():
            raise InvalidInput(f"{where} has neither a title nor a text; leave it out, nothing could find it")
        items.append(item)
    return items


def _read_texts(folder: Path) -> list[Item]:
    """A passage for each text file, in the order of their paths, which are their ids."""
    items = []
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in _SUFFIXES and file.is_file():
            try:
                written = file.read_text(encoding="utf-8-sig")
            except (OSError, UnicodeDecodeError) as exc:
                raise InvalidInput(f"{file} cannot be read as UTF-8 text: {exc}") from exc
            items.append(Item(id=file.relative_to(folder).as_posix(), text=text(str(file), written)))
    return items


# ---- questions -----------------------------------------------------------------------------------------


def _questions(value: Any, file: Path) -> list[Question]:
    return [
        _question(entry, f"{file}[{number}]", number) for number, entry in enumerate(_objects(value, file))
    ]


def _question(entry: Mapping[str, Any], where: str, number: int) -> Question:
    asked = text(f"{where}.question", entry.get("question"))
    gold = entry.get("gold")
    if not asked.strip():
        raise InvalidInput(f"{where}.question is blank; leave it out")
    if not isinstance(gold, list) or not gold:
        raise InvalidInput(
            f"{where}.gold is {shown(gold)}; it must be a list of ids of passages, at least one"
        )
    ids = [_id(f"{where}.gold[{place}]", id_) for place, id_ in enumerate(gold)]
    answer, type_ = entry.get("answer"), entry.get("type")
    return Question(
        id=_id(f"{where}.id", entry.get("id", f"q{number}")),
        text=asked,
        gold=tuple(dict.fromkeys(ids)),
        type=text(f"{where}.type", str(type_) if isinstance(type_, int) else type_ or ""),
        answer=answer if isinstance(answer, str) else "",
        high_level=texts(f"{where}.high_level", entry.get("high_level") or ()),
        low_level=texts(f"{where}.low_level", entry.get("low_level") or ()),
    )


def _check_gold(questions: Sequence[Question], known: set[str], file: Path) -> None:
    for question in questions:
        missing = [id_ for id_ in question.gold if id_ not in known]
        if missing:
            raise InvalidInput(
                f"question {question.id!r} in {file} has the gold {', '.join(map(repr, missing))}, which the "
                "corpus does not have; correct it, or leave the question out"
            )


# ---- recordings and what all files share ---------------------------------------------------------------


def _recording(value: Any, file: Path, corpus: Iterable[Item]) -> Mapping[str, Any]:
    docs = value.get("docs") if isinstance(value, dict) else None
    if not isinstance(docs, list):
        raise InvalidInput(f'{file} has the wrong shape; it must be {{"docs": [{{"passage": …}}]}}')
    for number, doc in enumerate(docs):
        lists = ("extracted_entities", "extracted_triples")
        if not isinstance(doc, dict) or not isinstance(doc.get("passage"), str):
            raise InvalidInput(f"{file}: docs[{number}] is {shown(doc)}; it must have a passage")
        for name in lists:
            if not isinstance(doc.get(name, []), list):
                raise InvalidInput(f"{file}: docs[{number}].{name} is {shown(doc[name])}; it must be a list")
    by_id = {item.id: item for item in corpus}
    return {"docs": [_aligned(doc, by_id.get(str(doc.get("idx")))) for doc in docs]}


def _aligned(doc: Mapping[str, Any], item: Item | None) -> Mapping[str, Any]:
    """What was recorded of a passage, under the passage's own text: `idx` names it, and the texts must be the same
    but for white space and the title.
    """
    if item is None or doc["passage"].strip() == item.passage.strip():
        return doc
    recorded, body, whole = (" ".join(each.split()) for each in (doc["passage"], item.text, item.passage))
    return {**doc, "passage": item.passage} if body and recorded in (body, whole) else doc


def _objects(value: Any, file: Path) -> Iterable[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise InvalidInput(f"{file} is {shown(value)}; it must be a list of objects")
    return value


def _id(name: str, value: Any) -> str:
    """An id; whole numbers count as their digits."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return identifier(name, str(value) if whole else value)


def _unique(entries: Sequence[Entry], what: str, source: Path) -> tuple[Entry, ...]:
    seen: set[str] = set()
    for entry in entries:
        if entry.id in seen:
            raise InvalidInput(f"{source} has more than one {what} with the id {entry.id!r}; ids must differ")
        seen.add(entry.id)
    if not entries:
        raise InvalidInput(f"{source} has no {what}; there is nothing to measure")
    return tuple(entries)
