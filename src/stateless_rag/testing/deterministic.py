"""Providers that always answer the same to the same: no model, no network, no randomness."""

from __future__ import annotations

import json
import re
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from stateless_rag.checks import texts as checked_texts
from stateless_rag.checks import whole
from stateless_rag.protocols import Embeddings, LLMReply, StreamPart
from stateless_rag.providers.embedder import TextEmbedder
from stateless_rag.text import digest, normalize_name

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from stateless_rag.protocols import LLMRequest

__all__ = [
    "COMPLETE",
    "DELIMITER",
    "DeterministicEmbedder",
    "DeterministicLLM",
    "DeterministicReranker",
    "EntityRecord",
    "RelationRecord",
    "purpose_of",
    "render_records",
    "text_of_chunk",
    "tokens_of",
]

DELIMITER = "<|#|>"
COMPLETE = "<|COMPLETE|>"

EntityRecord = tuple[str, str, str]
"""Name, type, description."""
RelationRecord = tuple[str, str, str, str]
"""Source, target, keywords, description."""

_TYPES = ("Person", "Organization", "Location", "Concept")
_WORD_IN_NAME = re.compile(r"[^\W\d_][\w'’-]*")
_SENTENCE = re.compile(r"[^.!?。！？\n]+[.!?。！？]?")
_FENCE = re.compile(r"`{3,}\Z")
_PIECE = re.compile(r"\S+\s*|\s+")
_WORD = re.compile(r"\w+")
_MAX_ENTITIES = 20


class DeterministicLLM:
    """An LLM that follows rules. Implements the protocol `LLM`.

    Asked to extract, it finds capitalised words (and those of `entities` that occur) in the chunk's text and
    links neighbours in a sentence; asked for what it missed, it says nothing is missing; summaries join the
    beginnings of the descriptions, in code point order, under a digest of them; keywords are the question's
    capitalised and other words; any other answer quotes the question. What it is asked for follows from the
    request's `purpose`, or, where that is not known (over HTTP), from marks in the prompts. `seed` varies
    the types it gives.
    """

    def __init__(self, seed: int = 0, entities: Sequence[str] = ()) -> None:
        self._seed = whole("seed", seed)
        self._entities = checked_texts("entities", entities)

    @property
    def model(self) -> str:
        """Names the rules, the seed and the entities it knows."""
        known = digest(*self._entities)[:8] if self._entities else "none"
        return f"deterministic-{self._seed}-{known}"

    async def complete(self, request: LLMRequest) -> LLMReply:
        """Answer one request; cut at `max_tokens` if the request sets it."""
        text = self.text(request)
        asked = [request.system or "", *(turn.content for turn in request.history), request.prompt]
        pieces = _PIECE.findall(text)
        truncated = request.max_tokens is not None and len(pieces) > request.max_tokens
        if truncated:
            text = "".join(pieces[: request.max_tokens])
        return LLMReply(
            text=text,
            prompt_tokens=sum(map(tokens_of, asked)),
            completion_tokens=tokens_of(text),
            truncated=truncated,
        )

    async def stream(self, request: LLMRequest) -> AsyncGenerator[StreamPart]:
        """Answer one request word by word."""
        reply = await self.complete(request)
        for piece in _PIECE.findall(reply.text):
            yield StreamPart(text=piece)
        yield StreamPart(reply=reply)

    def text(self, request: LLMRequest) -> str:
        """The text of the answer."""
        match purpose_of(request):
            case "extract":
                return render_records(*self.records(text_of_chunk(request.prompt)), json_mode=request.json)
            case "glean":
                return render_records((), (), json_mode=request.json)
            case "summarize":
                return _summary(request.prompt)
            case "keywords":
                return _keywords(request.prompt)
            case "themes":
                return f"Report {digest(request.prompt)[:8]} on what belongs together [1]. More of it [2]."
            case _:
                return f"Answer {digest(request.system or '', request.prompt)[:8]} to: {request.prompt} [1]"

    def records(self, text: str) -> tuple[list[EntityRecord], list[RelationRecord]]:
        """The entities and relations of a chunk's text."""
        found: dict[str, str] = {}
        relations: dict[tuple[str, str], str] = {}
        for match in _SENTENCE.finditer(text):
            sentence = " ".join(match[0].split()).replace("<|", "<").replace("|>", ">")
            named = map(normalize_name, _capitalised(sentence))
            known = (name for name in self._entities if name in sentence)
            names = [name for name in dict.fromkeys((*named, *known)) if name]
            for name in names:
                if len(found) < _MAX_ENTITIES:
                    found.setdefault(name, sentence[:200])
            kept = [name for name in names if name in found]
            for pair in pairwise(kept):
                relations.setdefault(pair, sentence[:200])
        entities = [(name, self._type(name), f"{name}: {said}") for name, said in found.items()]
        return entities, [(one, other, "occurs with", said) for (one, other), said in relations.items()]

    def _type(self, name: str) -> str:
        return _TYPES[(zlib.crc32(name.encode("utf-8", "surrogatepass")) + self._seed) % len(_TYPES)]


class DeterministicEmbedder(TextEmbedder):
    """Hashes words to vectors of unit length: cheap, for tests. Implements the protocol `Embedder`."""

    def __init__(self, dimension: int = 32) -> None:
        whole("dimension", dimension, least=1)
        super().__init__(f"deterministic-{dimension}", dimension=dimension, max_batch=2048)
        self._width = dimension

    async def embed(
        self,
        texts: Sequence[str],
        *,
        role: Literal["document", "query"],  # noqa: ARG002
    ) -> Embeddings:
        """Embed texts, in order; a text without words gets the zero vector."""
        import numpy as np

        vectors = np.zeros((len(texts), self._width), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in _WORD.findall(text.casefold()):
                code = zlib.crc32(word.encode("utf-8", "surrogatepass"))
                row[code % self._width] += 1.0 if code & 0x10000 else -1.0
        norms = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
        vectors /= np.where(norms > 0, norms, np.float32(1))
        return Embeddings(vectors=vectors, tokens=sum(map(tokens_of, texts)))


class DeterministicReranker:
    """Scores a text by the share of the question's words that it holds. Implements the protocol `Reranker`."""

    model = "deterministic-reranker"

    async def rerank(self, query: str, texts: Sequence[str], *, top_n: int) -> list[tuple[int, float]]:
        """The `top_n` best texts, ties by index; scores lie between 0 and 1."""
        asked = set(_WORD.findall(query.casefold()))
        scores = [
            len(asked.intersection(_WORD.findall(text.casefold()))) / max(1, len(asked)) for text in texts
        ]
        return sorted(enumerate(scores), key=lambda pair: (-pair[1], pair[0]))[:top_n]


def purpose_of(request: LLMRequest) -> str:
    """What is asked for: the request's purpose, or what marks in its prompts say."""
    if request.purpose != "answer":
        return request.purpose
    told = f"{request.system or ''}\n{request.prompt}"
    if request.json:
        if "high_level_keywords" in told:
            return "keywords"
        if '"entities"' in told:
            return "glean" if request.history else "extract"
    elif DELIMITER in told:
        return "glean" if request.history else "extract"
    elif '{"Description"' in request.prompt:
        return "summarize"
    elif request.system is None and "-----Entities-----" in request.prompt:
        return "themes"
    return "answer"


def text_of_chunk(prompt: str) -> str:
    """The text in the fence that ends an extraction prompt; without one, the whole prompt."""
    prompt = prompt.rstrip()
    fence = _FENCE.search(prompt)
    if fence is None:
        return prompt
    opening = f"\n{fence[0]}text\n"
    start = f"\n{prompt}".rfind(opening)
    return prompt if start < 0 else prompt[start + len(opening) - 1 : fence.start() - 1]


def render_records(
    entities: Iterable[EntityRecord], relations: Iterable[RelationRecord], *, json_mode: bool
) -> str:
    """Records as an LLM's answer: delimited lines and the completion mark, or a JSON object."""
    if json_mode:
        body = {
            "entities": [
                dict(zip(("name", "type", "description"), record, strict=True)) for record in entities
            ],
            "relationships": [
                dict(zip(("source", "target", "keywords", "description"), record, strict=True))
                for record in relations
            ],
        }
        return json.dumps(body, ensure_ascii=False)
    lines = [DELIMITER.join(("entity", *record)) for record in entities]
    lines += [DELIMITER.join(("relation", *record)) for record in relations]
    return "\n".join([*lines, COMPLETE])


def tokens_of(text: str) -> int:
    """About how many tokens a text has: a fourth of its characters, rounded up."""
    return (len(text) + 3) // 4


def _capitalised(sentence: str) -> list[str]:
    """Capitalised words, neighbours with one space between them as one name."""
    names: list[str] = []
    end = -1
    for match in _WORD_IN_NAME.finditer(sentence):
        if not match[0][0].isupper():
            continue
        if names and match.start() == end + 1 and sentence[end] == " ":
            names[-1] += f" {match[0]}"
        else:
            names.append(match[0])
        end = match.end()
    return names


def _summary(prompt: str) -> str:
    descriptions = []
    for line in prompt.splitlines():
        if line.startswith('{"Description"'):
            try:
                descriptions.append(str(json.loads(line)["Description"]))
            except ValueError:
                descriptions.append(line)
    descriptions.sort()
    return f"Summary {digest(*descriptions)[:8]}: " + " ".join(text[:60].strip() for text in descriptions)


def _keywords(prompt: str) -> str:
    question = f"\n{prompt}".rpartition("\nQuestion:\n")[2].strip() or prompt.strip()
    low = list(dict.fromkeys(_capitalised(question)))
    high = [word for word in dict.fromkeys(_WORD.findall(question)) if len(word) > 3 and word.islower()]
    return json.dumps({"high_level_keywords": high, "low_level_keywords": low}, ensure_ascii=False)
