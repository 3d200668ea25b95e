"""Extract: what chunks say about entities and relations, as mentions.

The extractor of the context does the reading: an LLM, or the built-in rules. An LLM is asked once per chunk and
then again, as often as `ExtractSettings.gleaning` says, for what it missed. A chunk that fails is recorded with
its error; the others go on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from stateless_rag.calls import complete
from stateless_rag.checks import instances, shown
from stateless_rag.counting import count_tokens
from stateless_rag.errors import InvalidReply, ProviderError, StatelessRagError
from stateless_rag.prompts import fenced, render
from stateless_rag.protocols import LLMReply, LLMRequest
from stateless_rag.providers.cooccurrence import CooccurrenceExtractor
from stateless_rag.stages.records import COMPLETE, ParsedReply, parse_reply
from stateless_rag.text import digest, entity_key, relation_key
from stateless_rag.types import (
    Chunk,
    EntityMention,
    Extraction,
    GraphDelta,
    Message,
    RelationMention,
)

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.text import KeyPolicy

__all__ = [
    "CooccurrenceExtractor",
    "LLMExtractor",
    "extract",
    "extract_one",
    "mentions",
    "merge_passes",
    "require_usable",
    "to_delta",
]

_RULES = "1"  # the version of what is made of a reply; part of the generation
_TASKS_PER_SLOT = 4
_EXCERPT = 120
_INLINE_CHARACTERS = 100_000

Record = TypeVar("Record", bound=tuple[object, ...])


# ---- the stage -----------------------------------------------------------------------------------------


async def extract(context: Context, chunks: Sequence[Chunk]) -> list[Extraction]:
    """Extract chunks side by side, as many as the LLM limit keeps busy; one extraction per chunk, in order.

    A ProviderError becomes the extraction's `error`. Other errors (`Overloaded`, `DeadlineExceeded`) and
    cancelling end the whole stage.
    """
    chunks = instances("chunks", chunks, kind=Chunk)
    found: list[Extraction | None] = [None] * len(chunks)
    waiting = iter(enumerate(chunks))
    workers = min(len(chunks), _TASKS_PER_SLOT * context.limits.capacity("llm"))
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(_work(context, waiting, found))
    except BaseExceptionGroup as failed:
        first = failed.exceptions[0]
        raise first from first.__cause__
    return [extraction for extraction in found if extraction is not None]


async def _work(
    context: Context, waiting: Iterator[tuple[int, Chunk]], found: list[Extraction | None]
) -> None:
    for position, chunk in waiting:
        try:
            found[position] = await extract_one(context, chunk)
        except ProviderError as error:
            generation = context.extractor.generation(context)
            message = f"{type(error).__name__}: {error}"
            found[position] = Extraction(chunk_id=chunk.id, generation=generation, error=message)
        # The built-in extractor never waits; the event loop must have its turn all the same.
        await asyncio.sleep(0)


async def extract_one(context: Context, chunk: Chunk) -> Extraction:
    """Extract one chunk. Raises ProviderError (InvalidReply for a reply without a usable record).

    That is also what a caller's extractor fails with that raises anything else, or returns what cannot be kept.
    """
    try:
        found = await context.extractor.extract(context, chunk)
    except StatelessRagError:
        raise
    except Exception as error:  # the caller's extractor may raise anything; only this chunk is to fail
        raise ProviderError(f"the extractor raised {type(error).__name__}: {error}") from error
    if not isinstance(context.extractor, LLMExtractor | CooccurrenceExtractor):
        _require_evidence(context, chunk, found)
    return found


def _require_evidence(context: Context, chunk: Chunk, found: Any) -> None:
    """Raise InvalidReply for what a caller's extractor returns that would break the graph."""
    policy = context.settings.merging.key_policy
    if not isinstance(found, Extraction) or found.chunk_id != chunk.id:
        raise InvalidReply(
            f"the extractor returned {shown(found)}; it must return the Extraction of chunk {chunk.id!r}"
        )
    told: tuple[EntityMention | RelationMention, ...] = (*found.entities, *found.relations)
    for mention in told:
        if (mention.chunk_id, mention.generation) != (chunk.id, found.generation):
            raise InvalidReply(f"{shown(mention)} of the extractor is of another chunk or generation")
    named = {mention.key for mention in found.entities}
    for mention in found.entities:
        if not mention.key or mention.key != entity_key(mention.name, policy):
            raise InvalidReply(f"{shown(mention)} of the extractor must have the key of its name ({policy})")
    for relation in found.relations:
        ends = {relation.source_key, relation.target_key}
        if len(ends) < 2 or ends - named:
            raise InvalidReply(
                f"{shown(relation)} of the extractor must relate two entities that it mentions"
            )


def to_delta(extractions: Iterable[Extraction]) -> GraphDelta:
    """The mentions of the extractions together."""
    extractions = list(extractions)
    return GraphDelta(
        frozenset(mention for extraction in extractions for mention in extraction.entities),
        frozenset(mention for extraction in extractions for mention in extraction.relations),
    )


# ---- the LLM -------------------------------------------------------------------------------------------


class LLMExtractor:
    """Asks the context's LLM. Holds nothing; all that decides the result is in the context."""

    def generation(self, context: Context) -> str:
        """`llm-` and a digest of the prompts, the model, the settings of extraction, and the rules here."""
        settings, prompts = context.settings.extraction, context.prompts
        asked = (
            (prompts.extract_json_system, prompts.extract_json_user, prompts.extract_json_continue)
            if settings.format == "json"
            else (prompts.extract_system, prompts.extract_user, prompts.extract_continue)
        )
        bounds = (
            settings.gleaning,
            settings.max_records,
            settings.max_entities,
            settings.max_input_tokens,
            settings.max_tokens,
        )
        llm = context.llm_for("extract")
        model = "" if llm is None else llm.model
        return (
            "llm-"
            + digest(
                _RULES,
                model,
                settings.format,
                settings.language,
                str(len(settings.entity_types)),
                *settings.entity_types,
                *map(str, bounds),
                *asked,
            )[:12]
        )

    async def extract(self, context: Context, chunk: Chunk) -> Extraction:
        """Ask for the chunk's records, and again for what is missing, until a pass adds nothing.

        Raises ProviderError; InvalidReply if the first reply has no usable record and no proper end.
        """
        policy = context.settings.merging.key_policy
        request = _first_request(context, chunk)
        reply = await complete(context, request, check=require_usable)
        found = await _parsed_aside(reply)
        for _ in range(context.settings.extraction.gleaning):
            request = _next_request(context, request, reply)
            if not await _fits(context, request):
                break
            try:
                reply = await complete(context, request)
            except InvalidReply:  # it has nothing to add; what the first pass found stays
                break
            merged = merge_passes(found, await _parsed_aside(reply), policy)
            added = (merged.entities, merged.relations) != (found.entities, found.relations)
            found = merged
            if not added:
                break
        return mentions(context, chunk, self.generation(context), found)


def _first_request(context: Context, chunk: Chunk) -> LLMRequest:
    settings, prompts = context.settings.extraction, context.prompts
    as_json = settings.format == "json"
    return LLMRequest(
        system=render(
            prompts.extract_json_system if as_json else prompts.extract_system,
            entity_types=", ".join(settings.entity_types),
            language=settings.language,
            max_entities=str(settings.max_entities),
            max_records=str(settings.max_records),
        ),
        prompt=render(
            prompts.extract_json_user if as_json else prompts.extract_user,
            language=settings.language,
            text=fenced(chunk.text),
        ),
        json=as_json,
        max_tokens=settings.max_tokens,
        purpose="extract",
    )


def _next_request(context: Context, asked: LLMRequest, reply: LLMReply) -> LLMRequest:
    prompts = context.prompts
    prompt = render(
        prompts.extract_json_continue if asked.json else prompts.extract_continue,
        language=context.settings.extraction.language,
    )
    turns = (Message("user", asked.prompt), Message("assistant", reply.text))
    return replace(asked, prompt=prompt, history=asked.history + turns, purpose="glean")


async def _fits(context: Context, request: LLMRequest) -> bool:
    """Whether the request is within `max_input_tokens` (0: no bound)."""
    limit = context.settings.extraction.max_input_tokens
    texts = [request.system or "", *(message.content for message in request.history), request.prompt]
    # A token is at least one byte: short requests need not be counted.
    if not limit or sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) <= limit:
        return True
    return sum(await count_tokens(context.tokenizer, texts)) <= limit


def _parsed(reply: LLMReply) -> ParsedReply:
    parsed = parse_reply(reply.text, cut=reply.truncated)
    if not reply.truncated:
        return parsed
    return replace(parsed, warnings=_sum(parsed.warnings.items(), [("truncated", 1)]))


async def _parsed_aside(reply: LLMReply) -> ParsedReply:
    """Long replies are parsed in a thread."""
    if len(reply.text) <= _INLINE_CHARACTERS:
        return _parsed(reply)
    return await asyncio.to_thread(_parsed, reply)


def require_usable(reply: LLMReply) -> None:
    """Raise InvalidReply for a reply to a first pass that has no usable record, and no proper end."""
    if COMPLETE in reply.text:
        return
    head = parse_reply(reply.text[:_INLINE_CHARACTERS])  # mostly enough to see that it is usable
    if head.entities or head.relations:
        return
    found = _parsed(reply)
    if not (found.entities or found.relations or found.complete):
        raise InvalidReply(_unusable(reply, found))


def _unusable(reply: LLMReply, found: ParsedReply) -> str:
    reasons = ", ".join(f"{count} × {reason}" for reason, count in found.warnings.items()) or "empty"
    end = ", cut off by the token limit (raise extraction.max_tokens)" if reply.truncated else ""
    start = reply.text[:_EXCERPT].strip()
    return f"The extraction reply has no usable record ({reasons}{end}); it begins {start!r}."


def _sum(*counts: Iterable[tuple[str, int]]) -> MappingProxyType[str, int]:
    total: Counter[str] = Counter()
    for pairs in counts:
        for reason, count in pairs:
            total[reason] += count
    return MappingProxyType(dict(sorted(total.items())))


# ---- passes --------------------------------------------------------------------------------------------


def merge_passes(first: ParsedReply, second: ParsedReply, policy: KeyPolicy = "casefold") -> ParsedReply:
    """What two passes over one chunk found together.

    An entity, or a pair, that both have keeps the records of the pass that describes it at greater length,
    the first if they are alike.
    """

    def pair(record: tuple[str, str, tuple[str, ...], str]) -> Hashable:
        return relation_key(entity_key(record[0], policy), entity_key(record[1], policy))

    return ParsedReply(
        _longer(first.entities, second.entities, lambda record: entity_key(record[0], policy)),
        _longer(first.relations, second.relations, pair),
        _sum(first.warnings.items(), second.warnings.items()),
        first.complete and second.complete,
    )


def _longer(
    first: Sequence[Record], second: Sequence[Record], key: Callable[[Record], Hashable]
) -> tuple[Record, ...]:
    kept, others = _grouped(first, key), _grouped(second, key)
    for group, records in others.items():
        if group not in kept or _length(records) > _length(kept[group]):
            kept[group] = records
    return tuple(record for records in kept.values() for record in records)


def _grouped(records: Iterable[Record], key: Callable[[Record], Hashable]) -> dict[Hashable, list[Record]]:
    groups: dict[Hashable, list[Record]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return groups


def _length(records: Iterable[tuple[object, ...]]) -> int:
    return max(len(str(record[-1])) for record in records)


# ---- mentions ------------------------------------------------------------------------------------------


def mentions(
    context: Context, chunk: Chunk, generation: str, parsed: ParsedReply, weights: Sequence[float] = ()
) -> Extraction:
    """The records of a chunk as mentions, sorted, each once.

    An end of a relation that no entity record names is mentioned by implication: with no type, and of the
    descriptions of its relations the longest. A relation whose ends have one key is dropped. `weights` are those of
    the relations, 0 for none; there may be none at all.
    """
    policy = context.settings.merging.key_policy
    names = {name for name, _, _ in parsed.entities}
    names.update(name for relation in parsed.relations for name in relation[:2])
    keys = {name: entity_key(name, policy) for name in names}

    # As tuples: they are put in order several times as fast as mentions are.
    entities = {(keys[name], name, type_, description) for name, type_, description in parsed.entities}
    told_of: Iterable[tuple[Any, ...]] = parsed.relations
    if weights:
        told_of = [(*told, heavy) for told, heavy in zip(parsed.relations, weights, strict=True)]
    relations = {
        (keys[told[0]], keys[told[1]], *told)
        for told in told_of
        if keys[told[0]] != keys[told[1]] and keys[told[0]] and keys[told[1]]
    }
    named = {key for key, _, _, _ in entities}
    implied: dict[str, tuple[str, str, str, str]] = {}
    for source_key, target_key, source, target, _, description, *_ in relations:
        for key, name in ((source_key, source), (target_key, target)):
            if key not in named:
                told = (key, name, "", description)
                implied[key] = min(told, implied.get(key, told), key=_longest_first)
    entities.update(implied.values())
    return Extraction(
        chunk_id=chunk.id,
        generation=generation,
        entities=tuple([EntityMention(chunk.id, generation, *told) for told in sorted(entities)]),
        relations=tuple([RelationMention(chunk.id, generation, *told) for told in sorted(relations)]),
        warnings=parsed.warnings,
    )


def _longest_first(told: tuple[str, str, str, str]) -> tuple[int, str, str]:
    _, name, _, description = told
    return (-len(description), description, name)
