"""Summaries of communities: the step that reads much so that the answer can be made of little.

A summary is made at the first question that needs it, and kept under the prompt that it was made of: the texts of
members, relations and passages. So what a document changes is summed up again, and nothing else; under a metadata
filter the prompt is of allowed evidence alone, and what others say has no way into it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from stateless_rag import calls
from stateless_rag.counting import counting
from stateless_rag.errors import ProviderError
from stateless_rag.prompts import render
from stateless_rag.protocols import LLMRequest
from stateless_rag.retrieval.cite import CheckedText
from stateless_rag.retrieval.render import reference_line, references_of
from stateless_rag.types import Theme

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stateless_rag.context import Context
    from stateless_rag.protocols import Journal
    from stateless_rag.retrieval.evidence import Evidence
    from stateless_rag.settings import QueryOptions
    from stateless_rag.types import Citation, Passage, Reference

__all__ = ["Summaries", "Summary", "summaries", "summary_request"]

_OVERHEAD = 2  # tokens that a mark may take more when it is numbered anew, per citation
_SHARE = 2, 3  # of what is left of the context, at most so much goes to summaries


@dataclass(frozen=True, slots=True)
class Summary:
    """What the LLM said of a community; `citations` are its marks, numbers of the evidence's `cited` passages."""

    text: str
    citations: tuple[Citation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Summaries:
    """The communities of a question, and the summaries of those that have one, by the community's id.

    `kept` of them were paid for before, `missing` communities have none, though there is an LLM to ask, which would
    take at most `missing_tokens`. `tokens` is what they take of the context.
    """

    evidence: Sequence[Evidence] = ()
    texts: Mapping[str, Summary] = field(default_factory=dict)
    kept: int = 0
    missing: int = 0
    missing_tokens: int = 0
    tokens: int = 0
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> Mapping[str, int]:
        """What `Retrieval.found` tells of them; nothing in other modes."""
        if not self.evidence:
            return {}
        return {
            "summaries": len(self.texts),
            "summaries_kept": self.kept,
            "summaries_missing": self.missing,
            "summaries_missing_tokens": self.missing_tokens,
        }

    def resting_on(self, shown: Sequence[Passage]) -> list[Passage]:
        """The passages that summaries cite and that are not shown themselves."""
        known = {passage.chunk_id for passage in shown}
        found: dict[str, Passage] = {}
        for one in self.evidence:
            for number in sorted(_numbers(self.texts.get(one.id, Summary("")))):
                passage = one.cited[number - 1]
                if passage.chunk_id not in known:
                    found.setdefault(passage.chunk_id, replace(passage, found_by=(f"community:{one.name}",)))
        return list(found.values())

    def themes(self, passages: Sequence[Passage], references: Sequence[Reference]) -> tuple[Theme, ...]:
        """The communities, heaviest first, their summaries with the numbers of the references."""
        numbers = {
            passage.chunk_id: reference.number
            for passage, reference in zip(passages, references, strict=True)
        }
        return tuple(
            Theme(
                community=one.id,
                title=one.title,
                size=one.size,
                chunks=one.chunks,
                share=one.share,
                summary=_renumbered(self.texts[one.id], one, numbers) if one.id in self.texts else "",
            )
            for one in self.evidence
        )


def summary_request(context: Context, evidence: Evidence) -> LLMRequest:
    """What the LLM is asked for a community: it follows from the evidence, the prompt and the settings alone."""
    settings = context.settings
    prompt = render(
        context.prompts.summarize_community,
        language=settings.extraction.language,
        summary_length=str(settings.communities.summary_tokens),
        evidence=evidence.text,
    )
    return LLMRequest(prompt=prompt, purpose="themes")


async def summaries(
    context: Context, evidence: Sequence[Evidence], options: QueryOptions, journal: Journal | None, room: int
) -> Summaries:
    """Summaries of communities: those that are kept in the journal, and as many new ones as the options allow.

    At most two thirds of the `room` are filled. Raises ProviderError if the LLM fails, unless `on_provider_error`
    is "degrade", DeadlineExceeded and Overloaded.
    """
    if not evidence or context.llm_for("themes") is None:
        return Summaries(evidence=evidence)
    context = context.derive(journal=journal)
    # What one passage tells is shown by that passage.
    requests = {one.id: summary_request(context, one) for one in evidence if one.chunks > 1}
    found = await asyncio.gather(*(calls.recall(context, request, "") for request in requests.values()))
    replies = zip(requests, found, strict=True)
    texts = {id_: reply.text for id_, reply in replies if reply is not None}
    kept = len(texts)
    costs = await _costs(context, [request for id_, request in requests.items() if id_ not in texts])
    missing = [id_ for id_ in requests if id_ not in texts]
    wanted = _affordable(dict(zip(missing, costs, strict=True)), options)
    if wanted:
        context.emit("summarizing", total=len(wanted))
    made, notes = await _made(context, {id_: requests[id_] for id_ in wanted}, options)
    texts.update(made)
    left = {id_: cost for id_, cost in zip(missing, costs, strict=True) if id_ not in made}
    if left and wanted and not notes:
        told = f"themes: {len(left)} of {len(evidence)} communities are shown without a summary"
        notes = (f"{told}; raise max_summaries or max_summary_tokens",)
    said = Summaries(
        evidence=evidence,
        texts={one.id: _checked(texts[one.id], one) for one in evidence if one.id in texts},
        kept=kept,
        missing=len(left),
        missing_tokens=sum(left.values()),
        notes=notes,
    )
    return await _fitting(context, said, room * _SHARE[0] // _SHARE[1])


async def _costs(context: Context, requests: Sequence[LLMRequest]) -> list[int]:
    """What each request may cost: the tokens of its prompt, and of a reply twice as long as was asked for."""
    prompts = [request.prompt for request in requests]
    counted = await counting(
        context.tokenizer, prompts, lambda: [context.tokenizer.count(prompt) for prompt in prompts]
    )
    return [tokens + 2 * context.settings.communities.summary_tokens for tokens in counted]


def _affordable(costs: Mapping[str, int], options: QueryOptions) -> list[str]:
    """The first requests that fit both budgets; one that is too dear ends the list."""
    most, budget = options.max_summaries or 0, options.max_summary_tokens
    chosen: list[str] = []
    for id_, cost in costs.items():
        budget -= cost
        if budget < 0 or len(chosen) >= most:
            break
        chosen.append(id_)
    return chosen


async def _made(
    context: Context, requests: Mapping[str, LLMRequest], options: QueryOptions
) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """The replies to requests, all asked at once; what was paid for is kept, also if another one fails."""
    failed: list[ProviderError] = []

    async def one(request: LLMRequest) -> str | None:
        try:
            return (await calls.complete(context, request)).text
        except ProviderError as error:
            if options.on_provider_error == "raise":
                raise
            failed.append(error)
            return None

    try:
        async with asyncio.TaskGroup() as group:
            tasks = {id_: group.create_task(one(request)) for id_, request in requests.items()}
    except BaseExceptionGroup as errors:
        first = errors.exceptions[0]
        raise first from first.__cause__
    replies = {id_: text for id_, task in tasks.items() if (text := task.result()) is not None}
    if not failed:
        return replies, ()
    told = f"{type(failed[0]).__name__}: {failed[0]}"
    return replies, (f"themes: {len(failed)} communities are shown without a summary ({told})",)


def _checked(text: str, evidence: Evidence) -> Summary:
    """The reply without references that its evidence does not have."""
    checked = CheckedText(range(1, len(evidence.cited) + 1))
    checked.feed(text.strip())
    checked.finish()
    return Summary(checked.text.rstrip(), tuple(checked.citations))


def _numbers(summary: Summary) -> set[int]:
    return {number for citation in summary.citations for number in citation.numbers}


def _renumbered(summary: Summary, evidence: Evidence, numbers: Mapping[str, int]) -> str:
    """The summary, its marks with the numbers of documents as the answer's references have them."""
    parts: list[str] = []
    at = 0
    for citation in summary.citations:
        cited = (numbers[evidence.cited[number - 1].chunk_id] for number in citation.numbers)
        parts += [summary.text[at : citation.at], f"[{', '.join(map(str, sorted(set(cited))))}]"]
        at = citation.at + len(citation.text)
    return "".join([*parts, summary.text[at:]])


async def _fitting(context: Context, said: Summaries, budget: int) -> Summaries:
    """The summaries that fit, heaviest first, and the tokens that they and the references they add may take."""
    told = [one for one in said.evidence if one.id in said.texts]
    cost = await counting(
        context.tokenizer,
        [said.texts[one.id].text for one in told],
        partial(_tokens, told, said.texts, context.tokenizer.count),
    )
    kept: dict[str, Summary] = {}
    used = 0
    for one, tokens in zip(told, cost, strict=True):
        if used + tokens > budget:
            break
        used += tokens
        kept[one.id] = said.texts[one.id]
    notes = said.notes
    if len(kept) < len(told):
        notes = (
            *notes,
            f"themes: {len(told) - len(kept)} summaries had no room left; raise max_total_tokens",
        )
    return replace(said, texts=kept, tokens=used, notes=notes)


def _tokens(told: Sequence[Evidence], texts: Mapping[str, Summary], count: Callable[[str], int]) -> list[int]:
    found = []
    for one in told:
        summary = texts[one.id]
        cited = [one.cited[number - 1] for number in sorted(_numbers(summary))]
        lines = {reference_line(reference) for reference in references_of(cited)}
        more = sum(count(f"{line}\n") + _OVERHEAD for line in lines)
        found.append(
            count(f"### {one.name}\n{summary.text}\n\n") + more + _OVERHEAD * len(summary.citations) + 16
        )
    return found
