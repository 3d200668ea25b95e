"""An LLM whose extractions were recorded: OpenIE triples per passage, played back in the wire format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from stateless_rag.errors import InvalidInput
from stateless_rag.protocols import LLMReply, StreamPart
from stateless_rag.testing.deterministic import (
    DeterministicLLM,
    EntityRecord,
    RelationRecord,
    purpose_of,
    render_records,
    text_of_chunk,
    tokens_of,
)
from stateless_rag.text import digest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from stateless_rag.protocols import LLMRequest

__all__ = ["RecordedLLM"]

_DESCRIBED_BY = 3


class RecordedLLM:
    """Plays recorded extractions back. Implements the protocol `LLM`.

    `openie` is a JSON file, or what is in it: `{"docs": [{"passage": title + "\\n" + text,
    "extracted_entities": [str], "extracted_triples": [[subject, predicate, object]]}]}`. A passage is
    recognised by its exact text, with or without its title line, or else by a title line that only it has.
    For an unknown passage there is nothing to write down. A triple that has not three parts is left out, as
    is a relation of a thing to itself. Other requests are answered as by `DeterministicLLM`.
    """

    def __init__(self, openie: str | Path | Mapping[str, Any]) -> None:
        recorded = openie if isinstance(openie, Mapping) else _read(Path(openie))
        docs = recorded.get("docs")
        if not isinstance(docs, list):
            raise InvalidInput('a recording has the shape {"docs": [{"passage": …, "extracted_triples": …}]}')
        self._passages = _index(docs)
        self._others = DeterministicLLM()
        self._model = f"recorded-{digest(json.dumps(docs, sort_keys=True))[:12]}"

    @property
    def model(self) -> str:
        """Names the recording by a digest of it."""
        return self._model

    async def complete(self, request: LLMRequest) -> LLMReply:
        """Answer one request."""
        if purpose_of(request) != "extract":
            return await self._others.complete(request)
        doc = self._find(text_of_chunk(request.prompt))
        entities, relations = ((), ()) if doc is None else _records(doc)
        text = render_records(entities, relations, json_mode=request.json)
        asked = tokens_of(request.system or "") + tokens_of(request.prompt)
        return LLMReply(text=text, prompt_tokens=asked, completion_tokens=tokens_of(text))

    async def stream(self, request: LLMRequest) -> AsyncGenerator[StreamPart]:
        """Answer one request piece by piece, a line each."""
        reply = await self.complete(request)
        for line in reply.text.splitlines(keepends=True):
            yield StreamPart(text=line)
        yield StreamPart(reply=reply)

    def _find(self, text: str) -> Mapping[str, Any] | None:
        text = text.strip()
        return self._passages.get(text) or self._passages.get(_title_key(text.partition("\n")[0].strip()))


def _read(path: Path) -> Mapping[str, Any]:
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise InvalidInput(f"no recording can be read from {str(path)!r}: {exc}") from exc
    return recorded if isinstance(recorded, dict) else {}


def _title_key(title: str) -> str:
    return f"\0{title}"


def _index(docs: Iterable[Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    """Passages by text and by body; by title if one passage alone has it."""
    passages: dict[str, Mapping[str, Any]] = {}
    titles: dict[str, list[Mapping[str, Any]]] = {}
    for doc in docs:
        text = str(doc["passage"]).strip()
        title, _, body = text.partition("\n")
        passages[text] = doc
        if body.strip():
            passages.setdefault(body.strip(), doc)
        titles.setdefault(title.strip(), []).append(doc)
    for title, named in titles.items():
        if len(named) == 1:
            passages[_title_key(title)] = named[0]
    return MappingProxyType(passages)


def _records(doc: Mapping[str, Any]) -> tuple[list[EntityRecord], list[RelationRecord]]:
    title = _clean(str(doc["passage"]).partition("\n")[0])
    triples = [
        tuple(_clean(part) for part in triple)
        for triple in doc.get("extracted_triples", ())
        if isinstance(triple, list) and len(triple) == 3 and all(isinstance(part, str) for part in triple)
    ]
    triples = [triple for triple in triples if all(triple)]
    sentences: dict[str, list[str]] = {}
    for subject, predicate, object_ in triples:
        for name in dict.fromkeys((subject, object_)):
            sentences.setdefault(name, []).append(f"{subject} {predicate} {object_}.")
    for name in doc.get("extracted_entities", ()):
        if isinstance(name, str) and _clean(name):
            sentences.setdefault(_clean(name), [])
    entities = [
        (name, "concept", " ".join(said[:_DESCRIBED_BY]) or f"{name} is mentioned in {title}.")
        for name, said in sentences.items()
    ]
    relations = [
        (subject, object_, predicate, f"{subject} {predicate} {object_}.")
        for subject, predicate, object_ in triples
        if subject.casefold() != object_.casefold()
    ]
    return entities, relations


def _clean(part: str) -> str:
    """A part on one line and without the wire format's marks."""
    return " ".join(part.replace("<|", "<").replace("|>", ">").split())
