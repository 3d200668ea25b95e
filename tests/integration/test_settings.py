"""Settings that are kept with a workspace: stored, changed, followed, and each workspace's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest

from integration.command_line import Cli
from stateless_rag import sync
from stateless_rag.engine import Engine
from stateless_rag.errors import InvalidInput, StoreClosed, WorkspaceMismatch
from stateless_rag.opening import Opening
from stateless_rag.prompts import Prompts
from stateless_rag.protocols import LLMReply, LLMRequest
from stateless_rag.settings import (
    CallSettings,
    ChunkSettings,
    ExtractSettings,
    MergeSettings,
    Settings,
    StoreSettings,
)
from stateless_rag.stores.duckdb.store import Store
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.types import Status
from stateless_rag.workspace_settings import WorkspaceSettings

TEXT = "Ada Lovelace met Charles Babbage in London."
GERMAN: dict[str, Any] = {
    "extraction": {"language": "German", "entity_types": ["Person", "Ort"]},
    "chunking": {"strategy": "tokens", "max_tokens": 60, "overlap_tokens": 10},
    "merging": {"summarize_from": 3},
    "prompts": {"no_context": "Nichts gefunden."},
    "models": {"answer": "large"},
}
EXPECTED = WorkspaceSettings(
    chunking=ChunkSettings(strategy="tokens", max_tokens=60, overlap_tokens=10),
    extraction=ExtractSettings(language="German", entity_types=("Person", "Ort")),
    merging=MergeSettings(summarize_from=3),
    prompts=Prompts(no_context="Nichts gefunden."),
    models={"answer": "large"},
)


class Listening(DeterministicLLM):
    """Keeps what it is asked, and calls itself what it was told to."""

    def __init__(self, name: str = "small") -> None:
        super().__init__()
        self._name = name
        self.asked: list[LLMRequest] = []

    @property
    def model(self) -> str:
        return self._name

    async def complete(self, request: LLMRequest) -> LLMReply:
        self.asked.append(request)
        return await super().complete(request)

    def purposes(self) -> set[str]:
        return {request.purpose for request in self.asked}


def engine_on(store: Store | Path, name: str = "default", **options: Any) -> Opening[Engine]:
    return Engine.open(store, name, **{"embedder": DeterministicEmbedder(8), **options})


# ---- kept, and followed --------------------------------------------------------------------------------


@pytest.mark.parametrize("placement", ["root", "own"])
async def test_they_are_kept_with_the_workspace(tmp_path: Path, placement: Any) -> None:
    async with Store.open(tmp_path, StoreSettings(placement=placement)) as store:
        engine = await engine_on(store)
        assert await engine.settings() == WorkspaceSettings()
        assert await engine.configure(**GERMAN) == EXPECTED
        assert await engine.settings() == EXPECTED
        await engine.close()
    async with Store.open(tmp_path) as store:
        engine = await engine_on(store)
        assert await engine.settings() == EXPECTED
        found = engine.context
        assert (found.settings.chunking, found.settings.extraction) == (
            EXPECTED.chunking,
            EXPECTED.extraction,
        )
        assert (found.settings.merging, found.prompts) == (EXPECTED.merging, EXPECTED.prompts)
        await engine.close()


async def test_all_engines_follow_from_the_next_call_on(tmp_path: Path) -> None:
    async with Store.open(tmp_path) as store:
        llm = Listening()
        one, other = await engine_on(store), await engine_on(store, llm=llm)
        await other.insert(TEXT)
        await one.configure(extraction={"language": "Welsh"}, prompts={"no_context": "Dim byd."})
        await other.insert("Grace Hopper wrote a compiler in Philadelphia.")
        told = [request.system or "" for request in llm.asked if request.purpose == "extract"]
        assert ["Welsh" in system for system in told] == [False, True]
        assert (
            await other.query("Who?", mode="naive", min_similarity=1.0, metadata_filter={"no": "such"})
        ).text == ("Dim byd.")


async def test_a_cut_that_is_kept_cuts(tmp_path: Path) -> None:
    async with engine_on(tmp_path) as engine:
        await engine.configure(chunking={"strategy": "separator", "separator": "|", "separator_only": True})
        report = await engine.insert("One.|Two.|Three.")
        assert report.documents[0].chunks == 3


async def test_what_a_workspace_is_made_with_is_kept(tmp_path: Path) -> None:
    settings = Settings(
        chunking=ChunkSettings(max_tokens=99, function=lambda text: [text]),
        extraction=ExtractSettings(language="Latin"),
        merging=MergeSettings(key_policy="exact"),
        calls=CallSettings(attempts=1),
    )
    async with engine_on(tmp_path, settings=settings, prompts=Prompts(no_context="Nihil.")) as engine:
        assert engine.context.settings == settings
    async with engine_on(tmp_path) as engine:
        kept = await engine.settings()
        assert (kept.chunking, kept.merging.key_policy) == (ChunkSettings(max_tokens=99), "exact")
        assert engine.context.settings.extraction.language == "Latin"
        assert engine.context.prompts.no_context == "Nihil."
        assert engine.context.settings.calls == CallSettings(), "of the engine, not of the workspace"


async def test_an_engine_may_say_otherwise_for_itself(tmp_path: Path) -> None:
    async with Store.open(tmp_path) as store:
        await (await engine_on(store)).configure(**GERMAN)
        own = Settings(
            extraction=ExtractSettings(language="French"),
            chunking=ChunkSettings(function=lambda text: [text]),
            calls=CallSettings(attempts=2),
        )
        engine = await engine_on(store, settings=own, prompts=Prompts(summarize="{descriptions}"))
        found = engine.context
        assert found.settings.extraction == replace(EXPECTED.extraction, language="French")
        assert found.settings.chunking == replace(EXPECTED.chunking, function=own.chunking.function)
        assert found.settings.calls == CallSettings(attempts=2)
        assert found.prompts == Prompts(summarize="{descriptions}", no_context="Nichts gefunden.")
        assert await engine.settings() == EXPECTED, "what is kept is as it was"
        await engine.configure(extraction={"gleaning": 0, "language": "Danish"})
        assert engine.context.settings.extraction.gleaning == 0
        assert engine.context.settings.extraction.language == "French"


async def test_what_an_engine_says_must_go_with_what_is_kept(tmp_path: Path) -> None:
    async with Store.open(tmp_path) as store:
        kept = await engine_on(store)
        await kept.configure(chunking={"strategy": "tokens"})
        with pytest.raises(InvalidInput, match="overlap_tokens"):
            await engine_on(store, settings=Settings(chunking=ChunkSettings(max_tokens=50)))
        loose = await engine_on(store, settings=Settings(chunking=ChunkSettings(overlap_tokens=80)))
        with pytest.raises(InvalidInput, match="overlap_tokens"):
            await loose.configure(chunking={"max_tokens": 70, "overlap_tokens": 20})
        assert (await kept.settings()).chunking.max_tokens == 1200, (
            "what the engine cannot work with is not kept"
        )


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({"extraction": None}, replace(EXPECTED, extraction=ExtractSettings())),
        (
            {"extraction": {"language": None}},
            replace(EXPECTED, extraction=replace(EXPECTED.extraction, language="English")),
        ),
        (
            {"extraction": ExtractSettings(gleaning=2)},
            replace(EXPECTED, extraction=ExtractSettings(gleaning=2)),
        ),
        ({"models": None}, replace(EXPECTED, models={})),
        ({"models": {"answer": None, "extract": "x"}}, replace(EXPECTED, models={"extract": "x"})),
        ({"prompts": {"no_context": None}}, replace(EXPECTED, prompts=Prompts())),
        ({"chunking": {}}, EXPECTED),
        ({}, EXPECTED),
    ],
)
async def test_changes_go_back_to_the_default(
    tmp_path: Path, change: dict[str, Any], left: WorkspaceSettings
) -> None:
    async with engine_on(tmp_path) as engine:
        await engine.configure(**GERMAN)
        assert await engine.configure(**change) == left
    async with engine_on(tmp_path) as engine:
        assert await engine.settings() == left


# ---- each workspace's own ------------------------------------------------------------------------------


async def test_to_the_last_nested_value(tmp_path: Path) -> None:
    given: dict[str, Any] = json.loads(json.dumps(GERMAN))
    async with Store.open(tmp_path) as store:
        one, other = await engine_on(store, "one"), await engine_on(store, "other")
        await one.configure(**given)
        await other.configure(extraction=given["extraction"], models=given["models"])
        given["extraction"]["entity_types"].append("Sache")
        given["models"]["answer"] = given["models"]["extract"] = "another"
        assert await one.settings() == EXPECTED
        await other.configure(extraction={"entity_types": ["Tier"]}, models={"answer": None})
        assert await one.settings() == EXPECTED
        assert (await other.settings()).extraction.entity_types == ("Tier",)
        assert (await other.settings()).extraction.language == "German"
        third = await engine_on(store, "third")
        assert await third.settings() == WorkspaceSettings()
        with pytest.raises(TypeError):
            (await one.settings()).models["answer"] = "x"  # type: ignore[index]
        with pytest.raises(FrozenInstanceError):
            (await one.settings()).extraction.language = "x"  # type: ignore[misc]
    async with Store.open(tmp_path) as store:
        assert await (await engine_on(store, "one")).settings() == EXPECTED
        assert await (await engine_on(store, "third")).settings() == WorkspaceSettings()


async def test_a_workspace_of_the_same_name_begins_anew(tmp_path: Path) -> None:
    async with Store.open(tmp_path) as store:
        engine = await engine_on(store)
        await engine.configure(**GERMAN)
        await engine.close()
        await store.drop("default")
        assert await (await engine_on(store)).settings() == WorkspaceSettings()


# ---- at once, and refused ------------------------------------------------------------------------------


async def test_changes_at_once_are_all_kept(tmp_path: Path) -> None:
    numbers = {
        "extraction": ("gleaning", "max_records", "max_entities", "max_input_tokens"),
        "merging": ("summarize_from", "summary_length", "summary_max_tokens"),
        "chunking": ("max_tokens",),
    }
    async with Store.open(tmp_path) as store:
        engines = [await engine_on(store) for _ in range(3)]
        changes = [(group, name) for group, names in numbers.items() for name in names]
        await asyncio.gather(
            engines[0].insert([f"{TEXT} {n}" for n in range(20)]),
            *(
                engines[place % 3].configure(**{group: {name: 500 + place}})
                for place, (group, name) in enumerate(changes)
            ),
        )
        kept = await engines[1].settings()
        found = [getattr(getattr(kept, group), name) for group, name in changes]
        assert found == [500 + place for place in range(len(changes))]
        before = engines[2].revision
        await engines[0].configure(chunking={"max_tokens": 600})
        assert engines[2].revision == before, "a change of settings is no commit"


BAD: Mapping[str, tuple[dict[str, Any], str]] = {
    "group": ({"chunks": {}}, r"unknown settings \['chunks'\]"),
    "field": ({"extraction": {"lang": "x"}}, r"extraction has no \['lang'\]"),
    "role": ({"models": {"judge": "x"}}, r"models has no \['judge'\]"),
    "value": ({"chunking": {"max_tokens": 0}}, "chunking.max_tokens is 0"),
    "kind": ({"extraction": {"entity_types": "Person"}}, "extraction.entity_types is 'Person'"),
    "together": ({"chunking": {"overlap_tokens": 70}}, "overlap_tokens is 70"),
    "no mapping": ({"prompts": "summarize"}, "prompts is 'summarize'"),
    "wrong group": ({"merging": ExtractSettings()}, "merging is"),
    "a model": ({"models": {"answer": " "}}, "models.answer is ' '"),
    "a function": ({"chunking": {"function": len}}, "a function cannot be kept"),
    "a group's function": (
        {"chunking": ChunkSettings(function=lambda text: [text])},
        "a function cannot be kept",
    ),
    "policy": ({"merging": {"key_policy": "loud"}}, "merging.key_policy is 'loud'"),
}


@pytest.mark.parametrize("case", BAD)
async def test_bad_values_change_nothing(tmp_path: Path, case: str) -> None:
    changes, message = BAD[case]
    async with engine_on(tmp_path) as engine:
        await engine.configure(**GERMAN)
        with pytest.raises(InvalidInput, match=message):
            await engine.configure(**{"extraction": {"language": "Dutch"}, **changes})
        assert await engine.settings() == EXPECTED
        assert engine.context.settings.extraction.language == "German"
    async with engine_on(tmp_path) as engine:
        assert await engine.settings() == EXPECTED
    with pytest.raises(StoreClosed):
        await engine.configure(models={})


async def test_cancelled_it_is_made_or_not(tmp_path: Path) -> None:
    async with engine_on(tmp_path) as engine:
        task = asyncio.create_task(engine.configure(**GERMAN))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await engine.configure(merging={"summary_length": 77})
        kept = await engine.settings()
        assert kept.merging.summary_length == 77
        assert (kept.extraction, kept.models) in [
            (EXPECTED.extraction, EXPECTED.models),
            (ExtractSettings(), WorkspaceSettings().models),
        ]


# ---- the key policy ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change", [{"key_policy": "exact"}, {"description_texts": 5}, {"relation_keywords": 7}]
)
async def test_what_keys_depend_on_is_fixed_by_the_first_mention(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    ((name, value),) = change.items()
    async with engine_on(tmp_path) as engine:
        before = getattr(engine.context.settings.merging, name)
        await engine.configure(merging=change)
        assert getattr(engine.context.settings.merging, name) == value
        await engine.configure(merging=None)
        assert getattr(engine.context.settings.merging, name) == before
        await engine.insert(TEXT)
        with pytest.raises(InvalidInput, match=f"{name} is .*cannot change"):
            await engine.configure(merging=change, extraction={"language": "Dutch"})
        assert (await engine.settings()).extraction.language == "English"
        await engine.configure(merging={"summarize_from": 4, name: before})
        (document,) = await engine.documents()
        await engine.delete(document.id)
        await engine.configure(merging=change)
        await engine.insert(TEXT)
        with pytest.raises(InvalidInput, match="cannot change"):
            await engine.configure(merging={name: before})
        await engine.configure(merging=None)
        assert getattr((await engine.settings()).merging, name) == value, "the default of the rest"
    async with engine_on(tmp_path) as engine:
        assert getattr(engine.context.settings.merging, name) == value


async def test_by_hand_counts_too(tmp_path: Path) -> None:
    async with engine_on(tmp_path) as engine:
        await engine.create_entity("Ada")
        with pytest.raises(InvalidInput, match="cannot change"):
            await engine.configure(merging={"key_policy": "exact"})


async def test_exact_keys_are_exact(tmp_path: Path) -> None:
    async with engine_on(tmp_path) as engine:
        await engine.configure(merging={"key_policy": "exact"})
        await engine.insert_graph({"entities": [{"entity_name": "Set"}, {"entity_name": "set"}]})
        assert await engine.labels() == ["Set", "set"]
        assert (await engine.describe()).key_policy == "exact"
    with pytest.raises(InvalidInput):
        Settings(merging=MergeSettings(key_policy="loud"))  # type: ignore[arg-type]


async def test_what_is_computed_meanwhile_is_not_committed_with_other_keys(tmp_path: Path) -> None:
    class Waiting(Listening):
        def __init__(self) -> None:
            super().__init__()
            self.begun, self.go = asyncio.Event(), asyncio.Event()

        async def complete(self, request: LLMRequest) -> LLMReply:
            self.begun.set()
            await self.go.wait()
            return await super().complete(request)

    async with Store.open(tmp_path) as store:
        llm = Waiting()
        slow, other = await engine_on(store, llm=llm), await engine_on(store)
        inserting = asyncio.create_task(slow.insert(TEXT))
        await llm.begun.wait()
        await other.configure(merging={"key_policy": "exact"})
        llm.go.set()
        with pytest.raises(WorkspaceMismatch, match="key_policy"):
            await inserting
        assert [row.status for row in await other.documents()] == [Status.PENDING]
        assert not (await slow.resume()).failed
        assert (await other.entity("Ada Lovelace")) is not None
        assert (await other.entity("ada lovelace")) is None


async def test_an_engine_of_another_policy_is_told(tmp_path: Path) -> None:
    async with Store.open(tmp_path) as store:
        exact = await engine_on(store, settings=Settings(merging=MergeSettings(key_policy="exact")))
        other = await engine_on(store)
        await other.configure(merging={"key_policy": "casefold"})
        with pytest.raises(WorkspaceMismatch, match="key_policy"):
            await exact.insert(TEXT)


# ---- models --------------------------------------------------------------------------------------------


async def test_models_by_role(tmp_path: Path) -> None:
    made: dict[str, Listening] = {}

    def models(name: str) -> Listening:
        assert name not in made, "each is made once"
        made[name] = Listening(name)
        return made[name]

    async with Store.open(tmp_path) as store:
        await (await engine_on(store)).configure(models={"extract": "reader", "answer": "writer"})
        rest, own = Listening("rest"), Listening("own")
        engine = await engine_on(store, llm=rest, models=models)
        await engine.insert(TEXT)
        await engine.query("Who met Charles Babbage?", mode="local")
        assert {name: llm.purposes() for name, llm in made.items()} == {
            "reader": {"extract", "glean"},
            "writer": {"answer"},
        }
        assert rest.purposes() == {"keywords"}
        await engine.configure(models={"extract": "writer", "answer": "reader"})
        await engine.query("Who met Ada Lovelace?", mode="local")
        assert "answer" in made["reader"].purposes()
        given = await engine_on(store, llm=rest, roles={"answer": own}, models=models_of(made))
        await given.query("Who is Ada Lovelace?", mode="local")
        assert own.purposes() == {"answer"}
        alone = await engine_on(store, models=models_of(made))
        await alone.insert("Grace Hopper met Howard Aiken.")
        assert await alone.entity("Howard Aiken") is not None
        assert set((await alone.describe()).generations) == set((await given.describe()).generations)
        assert len(made["writer"].asked) > 1, (
            "an LLM for extract extracts, also where there is none for the rest"
        )


def models_of(made: Mapping[str, Listening]) -> Callable[[str], Listening]:
    return lambda name: made[name]


async def test_a_model_that_cannot_be_made_is_not_kept(tmp_path: Path) -> None:
    def models(name: str) -> Listening:
        raise InvalidInput(f"no model {name!r} here")

    async with engine_on(tmp_path, models=models) as engine:
        with pytest.raises(InvalidInput, match="no model 'gone' here"):
            await engine.configure(models={"answer": "gone"})
        assert (await engine.settings()).models == {}
    with pytest.raises(InvalidInput, match="models"):
        Engine.open(tmp_path, models="gpt")  # type: ignore[arg-type]


# ---- the mirror, and the command line ------------------------------------------------------------------


def test_without_async(tmp_path: Path) -> None:
    with sync.Engine.open(tmp_path, embedder=DeterministicEmbedder(8)) as engine:
        assert engine.configure(**GERMAN) == EXPECTED == engine.settings()
        with pytest.raises(InvalidInput):
            engine.configure(chunking={"max_tokens": -1})


def test_on_the_command_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("Sum up {descriptions}", encoding="utf-8")
    assert cli("workspaces", "create", "default")[0] == 0
    values = [
        "extraction.language=German",
        "extraction.entity_types=Person, Ort",
        'chunking.separators=["a", ","]',
        "chunking.max_tokens=300",
        "prompts.summarize=@prompt.txt",
        "models.answer=1",
        "extraction.max_tokens=null",
    ]
    code, out, _ = cli("settings", "set", *values, "--json")
    kept = json.loads(out)
    assert code == 0
    assert kept["extraction"]["language"] == "German"
    assert kept["extraction"]["entity_types"] == ["Person", "Ort"]
    assert kept["chunking"]["separators"] == ["a", ","] and kept["chunking"]["max_tokens"] == 300
    assert kept["prompts"]["summarize"] == "Sum up {descriptions}"
    assert kept["models"] == {"answer": "1"}
    code, out, _ = cli("settings", "show")
    assert code == 0 and [line.split()[0] for line in out.splitlines() if line.endswith("set")] == [
        "chunking.max_tokens",
        "chunking.separators",
        "extraction.language",
        "extraction.entity_types",
        "prompts.summarize",
        "models.answer",
    ]
    code, out, _ = cli("settings", "unset", "extraction", "chunking.max_tokens", "models", "--json")
    kept = json.loads(out)
    assert code == 0 and kept["models"] == {} and kept["extraction"]["language"] == "English"
    assert kept["chunking"]["max_tokens"] == 1200 and kept["chunking"]["separators"] == ["a", ","]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["set", "language"], "NAME=VALUE"),
        (["set", "language=German"], "is no setting"),
        (["set", "extraction.=x"], "is no setting"),
        (["set", "extraction.lang=x"], "extraction has no ['lang']"),
        (["set", "chunking.max_tokens=many"], "chunking.max_tokens is 'many'"),
        (["set", "prompts.summarize=@none.txt"], "none.txt"),
        (["set", "models.judge=x"], "models has no ['judge']"),
        (["unset", "nothing"], "is no setting"),
    ],
)
def test_wrong_on_the_command_line(cli: Cli, arguments: list[str], message: str) -> None:
    assert cli("workspaces", "create", "default")[0] == 0
    code, _, err = cli("settings", *arguments)
    assert code == 2 and message in err.replace("\n", " ")
