"""The context text: entities, relations, passages and the list of references, as an LLM is given them."""

from __future__ import annotations

import re
from json.encoder import encode_basestring
from typing import TYPE_CHECKING

from stateless_rag.prompts import render
from stateless_rag.types import Reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from stateless_rag.prompts import Prompts
    from stateless_rag.settings import QueryOptions
    from stateless_rag.types import Entity, Passage, Relation, Retrieval, Theme

__all__ = [
    "context_text",
    "entity_line",
    "listing",
    "passage_frame",
    "passages_only",
    "reference_line",
    "references_of",
    "relation_line",
    "system_prompt",
]

_BACKTICKS = re.compile("`{3,}")
_SPACE = re.compile(r"\s+")
_BEST = 5
_EXCERPT = 800


def entity_line(entity: Entity) -> str:
    """One entity as a line of JSON."""
    quoted = encode_basestring
    name, type_, description = quoted(entity.name), quoted(entity.type), quoted(entity.description)
    line = f'{{"entity": {name}, "type": {type_}, "description": {description}}}'
    return _unfenced(line) if "```" in line else line


def relation_line(relation: Relation) -> str:
    """One relation as a line of JSON."""
    quoted = encode_basestring
    source, target, description = (
        quoted(relation.source),
        quoted(relation.target),
        quoted(relation.description),
    )
    line = f'{{"entity1": {source}, "entity2": {target}, "description": {description}}}'
    return _unfenced(line) if "```" in line else line


# The quoting of strings alone takes a third of the time of json.dumps, and this runs for each row of a commit.


def _unfenced(line: str) -> str:
    return line.replace("`", "\\u0060")


def passage_frame(number: int, text: str) -> tuple[str, str]:
    """What stands before and after a passage: its reference number and a fence longer than any inside it."""
    fence = "```"
    if fence in text:
        fence = "`" * (1 + max(len(run) for run in _BACKTICKS.findall(text)))
    return f"[{number}]\n{fence}text\n", f"\n{fence}\n\n"


def reference_line(reference: Reference) -> str:
    """How a document is listed: its number, and its source, or its id if it has none."""
    return listing(reference.number, reference.source or reference.document_id)


def listing(number: int, source: str) -> str:
    """A document's number and its source, in one line."""
    return f"[{number}] {' '.join(source.split())}"


def references_of(passages: Iterable[Passage]) -> tuple[Reference, ...]:
    """One reference for each passage, in order. Passages of one document share its number; documents are
    numbered as they first appear, from 1.
    """
    numbers: dict[str, int] = {}
    return tuple(
        Reference(
            number=numbers.setdefault(passage.document_id, len(numbers) + 1),
            document_id=passage.document_id,
            source=passage.source,
            chunk_id=passage.chunk_id,
            start=passage.start,
            stop=passage.stop,
        )
        for passage in passages
    )


def context_text(
    entities: Iterable[str],
    relations: Iterable[str],
    passages: Sequence[Passage],
    references: Sequence[Reference],
    *,
    graph: bool = True,
    themes: Sequence[Theme] = (),
) -> str:
    """The labelled parts: themes if there are any with a summary, entities, relations, passages and references;
    without `graph`, passages and references only.

    `entities` and `relations` are rendered lines; `references` has one entry per passage, and behind those what only
    themes rest on.
    """
    parts = [*_summaries(themes)] if any(theme.summary for theme in themes) else []
    if graph:
        parts += ["-----Entities-----\n\n```json\n", "\n".join((*entities, "```\n\n"))]
        parts += ["-----Relations-----\n\n```json\n", "\n".join((*relations, "```\n\n"))]
    parts.append("-----Passages-----\n\n")
    for passage, reference in zip(passages, references, strict=False):
        before, after = passage_frame(reference.number, passage.text)
        parts += (before, passage.text, after)
    parts.append("-----References-----\n\n")
    parts += dict.fromkeys(f"{reference_line(reference)}\n" for reference in references)
    return "".join(parts)


def _summaries(themes: Iterable[Theme]) -> Iterator[str]:
    """The summaries of communities, heaviest first."""
    yield "-----Communities-----\n\n"
    for theme in themes:
        if theme.summary:
            yield f"### {_SPACE.sub(' ', ', '.join(theme.title))}\n{_unfenced_text(theme.summary)}\n\n"


def _unfenced_text(text: str) -> str:
    return text.replace("-----", "- - -")


def system_prompt(prompts: Prompts, options: QueryOptions, context: str) -> str:
    """The instructions for the answer around a context.

    The caller's `system_prompt` replaces the template; if it has no place for the context, that follows it.
    In bypass mode there are none but the caller's.
    """
    template = options.system_prompt
    if options.mode == "bypass":
        template = template or ""
    elif template is None:
        own = {"naive": prompts.answer_naive_system, "themes": prompts.answer_themes_system}
        template = own.get(options.mode, prompts.answer_system)
    elif "{context}" not in template:
        template = f"{template}\n\n{{context}}"
    return render(
        template,
        context=context,
        response_type=options.response_type,
        user_prompt=options.user_prompt.strip() or "n/a",
    )


def passages_only(retrieval: Retrieval) -> str:
    """What was found as a readable text, for when no LLM puts it into words: the best passages, cited.

    Without passages, the best entities and relations with their descriptions.
    """
    if not retrieval.passages:
        told = [f"**{entity.name}**: {entity.description}" for entity in retrieval.entities[:_BEST]]
        told += [
            f"**{relation.source} – {relation.target}**: {relation.description}"
            for relation in retrieval.relations[:_BEST]
        ]
        return "\n\n".join(told)
    most = max(_BEST, len(retrieval.themes))  # of each theme its first passage
    cited = list(zip(retrieval.passages, retrieval.references, strict=True))[:most]
    parts = [f"{_excerpt(passage.text)} [{reference.number}]" for passage, reference in cited]
    listed = dict.fromkeys(f"- {reference_line(reference)}" for _, reference in cited)
    return "\n\n".join([*parts, "### References\n\n" + "\n".join(listed)])


def _excerpt(text: str) -> str:
    if len(text) <= _EXCERPT:
        return text
    cut = text.rfind(" ", _EXCERPT // 2, _EXCERPT)
    return text[: cut if cut > 0 else _EXCERPT].rstrip() + " …"
