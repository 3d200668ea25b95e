"""Mode themes: a question about the whole corpus, from summaries that are made when they are needed, and kept."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from stateless_rag import (
    Answer,
    CallSettings,
    CommunitySettings,
    Document,
    Engine,
    ExtractSettings,
    InvalidInput,
    ProviderUnavailable,
    Settings,
)
from stateless_rag.protocols import LLMReply, LLMRequest
from stateless_rag.testing import DeterministicLLM
from unit.scripted import WordTokenizer

THEMES = "What are the main themes of these documents?"
FIELDS = ("Whales", "Volcanoes", "Violins", "Glaciers", "Tramways", "Orchids")
CHUNKS = {field: 7 - place for place, field in enumerate(FIELDS)}
SETTINGS = Settings(
    calls=CallSettings(attempts=1),
    extraction=ExtractSettings(gleaning=0),
    communities=CommunitySettings(evidence_tokens=300, summary_tokens=40),
)


def about(field: str, count: int = 4) -> list[Document]:
    """Documents about one field; no two fields share a name."""
    return [
        Document(
            f"Doctor {field} wrote on {field} Life. {field} Life is kept in Port {field}. "
            f"Port {field} honoured Doctor {field} in {field} Hall {place}.",
            id=f"{field}-{place}",
            metadata={"field": field},
        )
        for place in range(count)
    ]


CORPUS = [document for field, count in CHUNKS.items() for document in about(field, count)]


class Reporting(DeterministicLLM):
    """Remembers what it was asked for summaries; reports name what they are of, and a passage there is not."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.broken = False

    async def complete(self, request: LLMRequest) -> LLMReply:
        if request.purpose == "themes":
            self.asked.append(request.prompt)
            if self.broken and len(self.asked) > 1:
                raise ProviderUnavailable("no reports today")
            text = f"A report on {fields_in(request.prompt)[0]} [1] and more [2, 77]."
            return LLMReply(text=text, prompt_tokens=100, completion_tokens=20)
        if request.purpose == "answer":
            told = " and ".join(fields_in(request.system or ""))
            return LLMReply(text=f"They are about {told} [1] [99].", prompt_tokens=50, completion_tokens=9)
        return await super().complete(request)


def fields_in(text: str) -> list[str]:
    """The fields that are named in a text."""
    return [field for field in FIELDS if re.search(rf"\b{field}\b", text)]


def bytes_in(root: Path) -> bytes:
    return b"".join(file.read_bytes() for file in root.rglob("*") if file.is_file())


@asynccontextmanager
async def opened(
    root: Path, llm: DeterministicLLM | None, documents: Sequence[Document] = CORPUS
) -> AsyncIterator[Engine]:
    async with Engine.open(root, llm=llm, settings=SETTINGS, tokenizer=WordTokenizer()) as engine:
        await engine.insert(documents)
        yield engine


async def ask(engine: Engine, question: str = THEMES, **options: Any) -> Answer:
    return await engine.query(question, mode="themes", **options)


# ---- without an LLM ------------------------------------------------------------------------------------


async def test_without_an_llm_each_theme_is_shown_by_its_passages(tmp_path: Path) -> None:
    async with opened(tmp_path, None) as engine:
        found = await engine.retrieve(THEMES, mode="themes")
        assert [fields_in(" ".join(theme.title)) for theme in found.themes] == [[field] for field in FIELDS]
        assert [theme.chunks for theme in found.themes] == [7, 6, 5, 4, 3, 2]
        assert sum(theme.share for theme in found.themes) == pytest.approx(1.0)
        assert not any(theme.summary for theme in found.themes)
        first = [passage.document_id.split("-")[0] for passage in found.passages[:6]]
        assert first == list(FIELDS)  # of each in turn
        assert len({passage.document_id for passage in found.passages}) == 20
        assert found.found["communities"] == found.found["themes"] == 6
        answer = await ask(engine)
        assert fields_in(answer.text) == list(FIELDS)
        assert "answer: no LLM, passages only" in answer.degraded


async def test_more_topics_than_mix_finds(tmp_path: Path) -> None:
    async with opened(tmp_path, None) as engine:
        for question in (THEMES, "Give an overview of the collection."):
            topics = {}
            for mode in ("themes", "mix", "naive"):
                found = await engine.retrieve(question, mode=mode, chunk_top_k=6, min_similarity=-1.0)
                topics[mode] = {passage.metadata["field"] for passage in found.passages}
            assert len(topics["themes"]) == 6 > max(len(topics["mix"]), len(topics["naive"]))


async def test_what_is_asked_for_comes_first(tmp_path: Path) -> None:
    async with opened(tmp_path, None) as engine:
        found = await engine.retrieve("What do these texts say about Orchids overall?", mode="themes")
        assert fields_in(" ".join(found.themes[0].title)) == ["Orchids"]
        assert found.passages[0].metadata["field"] == "Orchids"
        assert found.passages[0].found_by[0] == "question"


async def test_a_community_that_is_too_large_is_taken_apart(tmp_path: Path) -> None:
    links = [
        Document(f"Doctor {one} met Doctor {other}.", id=f"{one} {other}") for one, other in pairwise(FIELDS)
    ]
    chosen = Settings(communities=CommunitySettings(max_size=8))
    async with Engine.open(tmp_path, settings=chosen, tokenizer=WordTokenizer()) as engine:
        await engine.insert([*CORPUS, *links])
        assert 1 < len(await engine.communities()) <= 12
        found = await engine.retrieve(THEMES, mode="themes")
        told = {field for theme in found.themes for field in fields_in(" ".join(theme.title))}
        assert told == set(FIELDS)
        members = [name for one in await engine.communities(level=9) for name in one.members]
        assert len(members) == len(set(members)) == (await engine.describe()).entities


async def test_texts_of_which_nothing_was_read_are_shown_as_they_are(tmp_path: Path) -> None:
    async with opened(tmp_path, None, [Document("nothing with a name stands in here", id="bare")]) as engine:
        for one in await engine.labels():
            await engine.delete_entity(one)
        found = await engine.retrieve(THEMES, mode="themes")
        assert (found.themes, [passage.document_id for passage in found.passages]) == ((), ["bare"])


async def test_an_empty_workspace(tmp_path: Path) -> None:
    async with opened(tmp_path, Reporting(), []) as engine:
        answer = await ask(engine)
        assert answer.no_context and answer.usage.keys() <= {"embed_query"}
        assert await engine.communities() == [] and await engine.community("community-0") is None


# ---- summaries -----------------------------------------------------------------------------------------


async def test_summaries_are_made_once_and_rest_on_passages(tmp_path: Path) -> None:
    llm = Reporting()
    async with opened(tmp_path, llm) as engine:
        answer = await ask(engine)
        assert (answer.usage["themes"].calls, answer.usage["answer"].calls) == (6, 1)
        assert fields_in(answer.text) == list(FIELDS)
        assert [each.text for each in answer.unsupported] == ["[99]"]
        found = answer.retrieval
        assert (found.found["summaries"], found.found["summaries_kept"]) == (6, 0)
        sources = {reference.number: reference.document_id for reference in answer.references}
        for theme in found.themes:
            field = fields_in(" ".join(theme.title))[0]
            assert theme.summary.startswith(f"A report on {field} [")
            cited = [int(number) for number in re.findall(r"\d+", theme.summary)]
            assert len(cited) == 2 and 77 not in cited  # what it cited and there is not is gone
            assert {sources[number].split("-")[0] for number in cited} == {field}
            assert theme.summary in found.context
        again = await ask(engine, "Say what they are all about, please.")
        assert (again.usage["themes"].calls, again.usage["themes"].cached) == (0, 6)
    async with opened(tmp_path, llm) as engine:  # kept when it was closed, too
        assert (await ask(engine)).usage["themes"].calls == 0
        assert len(llm.asked) == 6
        rows = {row.purpose: row for row in await engine.costs(by="purpose")}
        assert (rows["themes"].usage.calls, rows["themes"].usage.prompt_tokens) == (6, 600)


async def test_a_change_asks_only_for_what_it_changed(tmp_path: Path) -> None:
    llm = Reporting()
    async with opened(tmp_path, llm) as engine:
        await ask(engine)
        before = list(llm.asked)
        await engine.insert(about("Violins", 6)[5:])
        answer = await ask(engine)
        assert answer.usage["themes"].calls == 1
        assert fields_in(llm.asked[-1]) == ["Violins"]
        await engine.delete("Violins-5")
        assert (await ask(engine)).usage["themes"].calls == 0  # as it was before
        assert len(llm.asked) == len(before) + 1


async def test_a_theme_of_one_passage_is_shown_and_not_summed_up(tmp_path: Path) -> None:
    llm = Reporting()
    async with opened(tmp_path, llm, [*about("Whales", 3), *about("Orchids", 1)]) as engine:
        answer = await ask(engine)
        assert len(llm.asked) == 1 and fields_in(llm.asked[0]) == ["Whales"]
        assert fields_in(answer.context) == ["Whales", "Orchids"]


@pytest.mark.parametrize(
    ("options", "calls"),
    [
        ({"max_summaries": 0}, 0),
        ({"max_summaries": 2}, 2),
        ({"max_summary_tokens": 0}, 0),
        ({"max_summary_tokens": 500}, 1),
        ({"max_communities": 3}, 3),
        ({"only_context": True}, 0),
        ({"only_prompt": True}, 0),
        ({"only_context": True, "max_summaries": 3}, 3),
    ],
)
async def test_budgets(tmp_path: Path, options: dict[str, Any], calls: int) -> None:
    llm = Reporting()
    async with opened(tmp_path, llm) as engine:
        answer = await ask(engine, **options)
        assert len(llm.asked) == calls == answer.retrieval.found["summaries"]
        looked_at = options.get("max_communities", 6)
        assert len(answer.retrieval.themes) == looked_at
        assert answer.retrieval.found["summaries_missing"] == looked_at - calls
        # The heaviest come first, and the others are shown by their passages.
        assert [bool(theme.summary) for theme in answer.retrieval.themes] == [
            place < calls for place in range(looked_at)
        ]
        assert fields_in(answer.retrieval.context) == list(FIELDS[:looked_at])
        told = [note for note in answer.degraded if note.startswith("themes:")]
        assert bool(told) == (0 < calls < looked_at)


async def test_the_bound_that_is_told_holds(tmp_path: Path) -> None:
    llm = Reporting()
    async with opened(tmp_path, llm) as engine:
        told = (await ask(engine, only_context=True)).retrieval.found
        assert told["summaries_missing"] == 6
        bound = told["summaries_missing_tokens"]
        longest = max(len(prompt.split()) for prompt in llm.asked) if llm.asked else 0
        assert longest <= bound
        answer = await ask(engine, max_summary_tokens=bound)
        assert answer.usage["themes"].calls == 6
        asked = sum(len(prompt.split()) for prompt in llm.asked)
        assert asked < bound == asked + 6 * 2 * SETTINGS.communities.summary_tokens


async def test_retrieve_and_explain_ask_no_llm(tmp_path: Path) -> None:
    llm = Reporting()
    async with opened(tmp_path, llm) as engine:
        await engine.retrieve(THEMES, mode="themes", max_summaries=5)
        explained = await engine.explain(THEMES, mode="themes", expect="Orchids-1")
        assert llm.asked == []
        assert explained.expected is not None and explained.expected.rank
        assert explained.reasons[0].passage.found_by[0].startswith("community:")
        lost = await engine.explain(THEMES, mode="themes", max_communities=2, expect="Orchids-1")
        assert lost.expected is not None and "max_communities" in lost.expected.told


async def test_a_stream_has_the_same_answer(tmp_path: Path) -> None:
    async with opened(tmp_path, Reporting()) as engine:
        whole = await ask(engine)
        pieces = [piece async for piece in engine.stream(THEMES, mode="themes")]
        last = pieces[-1]
        assert isinstance(last, Answer) and last.usage["themes"].calls == 0
        assert last.context == whole.context and last.references == whole.references


# ---- filters, erasing, failing -------------------------------------------------------------------------


async def test_a_filtered_question_has_summaries_of_its_own(tmp_path: Path) -> None:
    llm = Reporting()
    shared = [Document(f"Ada Lovelace saw {field} Hall.", metadata={"field": field}) for field in FIELDS[:2]]
    async with opened(tmp_path, llm, [*about("Whales"), *about("Volcanoes"), *shared]) as engine:
        await ask(engine)
        llm.asked.clear()
        answer = await ask(engine, metadata_filter={"field": "Whales"})
        assert llm.asked and all(fields_in(prompt) == ["Whales"] for prompt in llm.asked)
        assert fields_in(answer.context) == ["Whales"]
        assert fields_in(repr(answer.retrieval.themes)) == ["Whales"]


async def test_erasing_keeps_summaries_of_the_rest_alone(tmp_path: Path) -> None:
    llm = Reporting()
    async with opened(tmp_path, llm) as engine:
        await ask(engine)
        report = await engine.delete([document.id or "" for document in about("Glaciers")], erase=True)
        assert report.erased is not None and report.erased.replies["themes"] == 1
        kept = bytes_in(tmp_path)
        assert b"A report on Whales" in kept and b"Glaciers" not in kept
        llm.asked.clear()
        assert (await ask(engine)).usage["themes"].cached == 5 and llm.asked == []


async def test_a_failing_llm(tmp_path: Path) -> None:
    llm = Reporting()
    llm.broken = True
    async with opened(tmp_path, llm) as engine:
        with pytest.raises(ProviderUnavailable, match="no reports today"):
            await ask(engine)
        paid = len([row for row in await engine.costs(by="purpose") if row.purpose == "themes"])
        assert paid == 1  # what came before the failure is paid and kept
        answer = await ask(engine, on_provider_error="degrade")
        assert answer.usage["themes"].cached == 1
        assert any(note.startswith("themes: 5 communities are shown without") for note in answer.degraded)
        assert fields_in(answer.context) == list(FIELDS)
        llm.broken = False
        assert (await ask(engine)).usage["themes"].calls == 5


@pytest.mark.parametrize(
    "options",
    [
        {"max_communities": 0},
        {"max_communities": 2.5},
        {"max_summaries": -1},
        {"max_summaries": "3"},
        {"max_summary_tokens": -1},
    ],
)
async def test_options_that_cannot_be(tmp_path: Path, options: dict[str, Any]) -> None:
    async with opened(tmp_path, Reporting(), []) as engine:
        with pytest.raises(InvalidInput, match=next(iter(options))):
            await ask(engine, **options)


# ---- communities ---------------------------------------------------------------------------------------


async def test_communities_and_their_ids(tmp_path: Path) -> None:
    async with opened(tmp_path, None) as engine:
        found = await engine.communities()
        assert {fields_in(" ".join(one.members))[0]: one.chunks for one in found} == CHUNKS
        assert [one.size for one in found] == sorted((one.size for one in found), reverse=True)
        assert all(one.size == len(one.members) and one.title == one.members[:3] for one in found)
        assert await engine.community(found[2].id) == found[2]
        assert await engine.communities(limit=2) == found[:2]
        assert await engine.communities(resolution=0.5) == found  # what is this small is never divided
        await engine.insert(Document("Sailor Smith drew Doctor Whales."))
        before, after = (
            {one.id: one.members for one in each} for each in (found, await engine.communities())
        )
        changed = [members for id_, members in before.items() if id_ not in after]
        assert [fields_in(" ".join(members)) for members in changed] == [["Whales"]]
        assert len(after) == len(before)


@pytest.mark.parametrize(
    "given", [{"level": -1}, {"resolution": 0.0}, {"resolution": float("nan")}, {"limit": -1}, {"level": "0"}]
)
async def test_communities_that_cannot_be(tmp_path: Path, given: dict[str, Any]) -> None:
    async with opened(tmp_path, None, []) as engine:
        with pytest.raises(InvalidInput, match=next(iter(given))):
            await engine.communities(**given)
