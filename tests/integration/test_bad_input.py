"""Values that no entry point can use: an error of the library's tree that names the value, and nothing stored."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stateless_rag import (
    CallSettings,
    ChunkSettings,
    Document,
    Engine,
    ExtractSettings,
    IngestSettings,
    InvalidDocument,
    InvalidInput,
    InvalidReply,
    Limits,
    MergeSettings,
    Message,
    OpenAIEmbedder,
    OpenAILLM,
    Prompts,
    QueryOptions,
    Settings,
    StatelessRagError,
    Store,
    StoreSettings,
    Workspaces,
    stages,
)
from stateless_rag.sync import Engine as SyncEngine
from stateless_rag.sync import Runner
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM, FakeOpenAIServer

Call = Callable[[Engine, Any], Any]
HUGE = 10**5000  # has more digits than Python is willing to print
odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(exclude_categories=()), max_size=8),
    st.sampled_from(
        ["\ud800", "a\0b", "", " ", "x" * 600, 10**400, -(10**400), b"x", object(), int, math.nan, 2.5]
    ),
)
values = st.recursive(
    odd,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.sampled_from(["text", "id", "role", 1]), inner, max_size=3)
    ),
    max_leaves=6,
)


def _field_calls(prefix: str, make: Callable[..., Any], names: list[str]) -> dict[str, Call]:
    def with_field(name: str) -> Call:
        return lambda _, value: make(**{name: value})

    return {f"{prefix}({name}=)": with_field(name) for name in names}


def _names(kind: Any) -> list[str]:
    return [field.name for field in fields(kind)]


CALLS: dict[str, Call] = {
    "insert": lambda e, v: e.insert(v),
    "insert list": lambda e, v: e.insert(["Ada met Bob.", v]),
    "insert tracking_id": lambda e, v: e.insert("Ada met Bob.", tracking_id=v),
    "insert_events": lambda e, v: e.insert_events(v),
    "submit": lambda e, v: e.submit(v),
    "resume": lambda e, v: e.resume(v),
    "delete": lambda e, v: e.delete(v),
    "delete list": lambda e, v: e.delete([v]),
    "work poll": lambda e, v: e.work(poll=v, until_empty=True),
    "work stop": lambda e, v: e.work(stop=v, until_empty=True),
    "alias name": lambda e, v: e.alias(v, "Ada"),
    "alias target": lambda e, v: e.alias("Ada", v),
    "create_entity type": lambda e, v: e.create_entity("Ada Lovelace", type=v),
    "edit_entity description": lambda e, v: e.edit_entity("Nobody", description=v),
    "rename_entity": lambda e, v: e.rename_entity("Nobody", v),
    "merge_entities": lambda e, v: e.merge_entities(v, "Ada"),
    "create_relation": lambda e, v: e.create_relation("Nobody", "London", keywords=v, weight=v),
    "delete_relation": lambda e, v: e.delete_relation("Nobody", v),
    "undo": lambda e, v: e.undo(v),
    "history": lambda e, v: e.history(v, limit=v),
    "document": lambda e, v: e.document(v),
    "entity": lambda e, v: e.entity(v),
    "relations_of": lambda e, v: e.relations_of(v),
    "relations_of limit": lambda e, v: e.relations_of("Ada", limit=v),
    "query": lambda e, v: e.query(v),
    "stream": lambda e, v: e.stream(v),
    "retrieve": lambda e, v: e.retrieve(v),
    "query options": lambda e, v: e.query("Who is Ada?", options=v),
    "Message": lambda _, v: (Message("user", v), Message(v, "text")),
    "Document metadata": lambda e, v: e.insert(Document("Ada met Bob.", metadata={"key": v})),
    "chunk": lambda e, v: stages.chunk(e.context, v),
    "extract": lambda e, v: stages.extract(e.context, v),
    "merge": lambda e, v: stages.merge(e.context, v),
    "embed": lambda e, v: stages.embed(e.context, v),
    "summarize": lambda e, v: stages.summarize(e.context, "Ada", v),
}
# These make a value, and touch no engine.
MADE: dict[str, Call] = {
    **_field_calls("Document", lambda **f: Document(**{"text": "Ada met Bob.", **f}), _names(Document)),
    **_field_calls("QueryOptions", QueryOptions, _names(QueryOptions)),
    **_field_calls("Settings", Settings, _names(Settings)),
    **_field_calls("ChunkSettings", ChunkSettings, _names(ChunkSettings)),
    **_field_calls("ExtractSettings", ExtractSettings, _names(ExtractSettings)),
    **_field_calls("MergeSettings", MergeSettings, _names(MergeSettings)),
    **_field_calls("CallSettings", CallSettings, _names(CallSettings)),
    **_field_calls("IngestSettings", IngestSettings, _names(IngestSettings)),
    **_field_calls("StoreSettings", StoreSettings, _names(StoreSettings)),
    **_field_calls("Prompts", Prompts, ["answer_system"]),
    **_field_calls("Limits", Limits, ["llm", "embedder", "reranker", "queue"]),
    **_field_calls(
        "OpenAILLM",
        lambda **f: OpenAILLM(**{"model": "m", "api_key": "k", **f}),
        ["model", "api_key", "base_url", "headers", "extra_body", "temperature", "max_tokens"],
    ),
    **_field_calls(
        "OpenAIEmbedder",
        lambda **f: OpenAIEmbedder(**{"model": "m", "api_key": "k", **f}),
        ["model", "dimension", "max_tokens", "max_batch", "query_prefix", "extra_body"],
    ),
    **_field_calls("FakeOpenAIServer", FakeOpenAIServer, ["llm", "latency", "faults", "log_path", "port"]),
}


async def outcome(result: Any) -> None:
    """Wait for what a call returns."""
    if isinstance(result, AsyncIterator):
        async for _ in result:
            pass
    elif hasattr(result, "__await__"):
        await result


async def state(engine: Engine) -> object:
    return await engine.documents(), engine.revision


async def tried(engine: Engine, call: Call, value: Any) -> StatelessRagError | None:
    """The error of the call, None without; a call that is refused leaves everything as it was."""
    before = await state(engine)
    try:
        await outcome(call(engine, value))
    except StatelessRagError as error:
        assert await state(engine) == before
        return error
    return None


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Runner, Engine]]:
    runner = Runner()

    async def enter() -> Engine:
        engine = await Engine.open(tmp_path_factory.mktemp("root"))
        await engine.insert(Document("Ada Lovelace met Charles Babbage in London.", id="first"))
        return engine

    engine = runner.run(enter())
    try:
        yield runner, engine
    finally:
        runner.run(engine.close())
        runner.close()


@pytest.mark.parametrize("name", MADE)
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(value=values)
def test_whatever_a_value_is_made_of_only_our_errors_come_out(name: str, value: Any) -> None:
    try:
        MADE[name](None, value)  # type: ignore[arg-type]
    except StatelessRagError as error:
        assert 0 < len(str(error)) < 1500


@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors])
@given(value=values)
def test_whatever_is_given_only_our_errors_come_out(
    opened: tuple[Runner, Engine], name: str, value: Any
) -> None:
    runner, engine = opened
    error = runner.run(tried(engine, CALLS[name], value))
    assert error is None or 0 < len(str(error)) < 1500


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("insert", 5, "documents is 5; it must be"),
        ("insert", {"text": "x"}, "documents is {'text': 'x'}; it must be"),
        ("insert list", {"text": "x"}, "documents holds {'text': 'x'}"),
        ("insert list", None, "documents holds None"),
        ("insert tracking_id", "a\0b", "tracking_id is 'a\\\\x00b'; it must be without control characters"),
        ("insert tracking_id", "", "tracking_id is ''; it must be a string that is not blank"),
        ("delete", 5, "ids is 5; it must be an id or a collection of ids"),
        ("delete list", 1, r"ids\[0\] is 1; it must be a string"),
        ("resume", [None], r"ids\[0\] is None"),
        ("entity", None, "name is None; it must be a string"),
        ("document", "\ud800", r"document_id is '\\ud800'"),
        ("relations_of limit", "x", "limit is 'x'; it must be a whole number of at least 0"),
        ("work poll", 0, "poll is 0; it must be a number above 0"),
        ("query", 5, "question is 5; it must be a string"),
        ("query options", {"mode": "mix"}, "options is .*; it must be of type QueryOptions"),
        ("QueryOptions(deadline=)", "x", "deadline is 'x'; it must be a number above 0"),
        ("QueryOptions(min_similarity=)", "x", "min_similarity is 'x'; it must be a number at least -1"),
        (
            "QueryOptions(top_k=)",
            HUGE,
            "top_k is an integer of 16610 bits; it must be a whole number of at most",
        ),
        ("QueryOptions(history=)", (5,), r"history\[0\] is 5; it must be \(role, text\)"),
        (
            "QueryOptions(history=)",
            ({"role": "robot", "content": "x"},),
            r"history\[0\] is .*: role is 'robot'",
        ),
        (
            "QueryOptions(low_level_keywords=)",
            None,
            "low_level_keywords is None; it must be a tuple of strings",
        ),
        ("QueryOptions(only_context=)", "no", "only_context is 'no'; it must be True or False"),
        ("Document(id=)", "a\ud800", r"id is 'a\\ud800'; it must be without control characters"),
        ("Document(text=)", b"x", "text is b'x'; it must be a string"),
        ("Document metadata", HUGE, r"metadata\['key'\] is an integer of 16610 bits; .* as a string"),
        ("Document metadata", [math.nan], r"metadata\['key'\]\[0\] is nan; it must be finite"),
        ("Document metadata", {1: 2}, r"metadata\['key'\] has the key 1; keys must be strings"),
        ("Document metadata", object(), r"metadata\['key'\] is <object.*not of type object"),
        ("StoreSettings(memory_limit=)", "much", "memory_limit is 'much'; it must be a size such as 512MB"),
        ("ChunkSettings(function=)", 5, "function is 5; it must be callable"),
        ("Settings(query=)", None, "query is None; it must be of type QueryOptions"),
        ("chunk", "text", "document is 'text'; it must be of type Document"),
        ("extract", [5], r"chunks\[0\] is 5; it must be of type Chunk"),
        ("embed", "text", "texts is 'text'; it must be a tuple of strings"),
        ("OpenAILLM(api_key=)", b"secret", "api_key is a bytes; it must be a string"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_the_error_names_argument_value_and_remedy(
    opened: tuple[Runner, Engine], name: str, value: Any, told: str
) -> None:
    runner, engine = opened
    error = runner.run(tried(engine, {**CALLS, **MADE}[name], value))
    assert isinstance(error, InvalidInput)
    with pytest.raises(InvalidInput, match=told):
        raise error


async def test_one_wrong_document_keeps_the_whole_list_out(tmp_path: Any) -> None:
    many = [f"Person{number} met Ada." for number in range(300)]
    wrong: Any
    async with Engine.open(tmp_path) as engine:
        for wrong in (5, {"text": "x"}):
            with pytest.raises(InvalidInput, match="documents holds"):
                await engine.insert([*many, wrong])
            with pytest.raises(InvalidInput, match="documents holds"):
                await engine.submit([*many, wrong])
            assert await engine.documents() == []


def test_documents_are_kept_apart_from_what_they_were_made_of() -> None:
    metadata: dict[str, Any] = {"tags": ("a", "b\ud800")}
    wrong: dict[str, Any]
    document = Document("Ada\0", source="", metadata=metadata)
    metadata["tags"] = ("c",)
    assert (document.text, document.source, document.metadata) == ("Ada ", None, {"tags": ["a", "b\ufffd"]})
    for wrong in ({"metadata": 5}, {"id": ""}, {"source": 5}):
        with pytest.raises(InvalidDocument):
            Document("t", **wrong)


OPEN: Mapping[str, Any] = {
    "store": 5,
    "workspace": None,
    "settings": {},
    "llm": 5,
    "embedder": "x",
    "reranker": 5,
    "tokenizer": "x",
    "extractor": 5,
    "prompts": "x",
    "limits": 5,
    "observer": 5,
    "clock": 5,
    "create": "yes",
}


@pytest.mark.parametrize("name", OPEN)
async def test_opening_with_wrong_values(tmp_path: Any, name: str) -> None:
    arguments = {"store": tmp_path, name: OPEN[name]}
    with pytest.raises(InvalidInput, match=name):
        await Engine.open(**arguments)
    with pytest.raises(InvalidInput, match=name):
        SyncEngine.open(**arguments)
    async with Engine.open(tmp_path) as engine:  # nothing holds the root
        assert engine.revision == 0


async def test_stores_and_pools_with_wrong_values(tmp_path: Any) -> None:
    wrong: tuple[Any, ...]
    for wrong in ((5,), ("",), ("a\0b",), (tmp_path, 5)):
        with pytest.raises(InvalidInput):
            await Store.open(*wrong)
    with pytest.raises(InvalidInput, match="max_open is 0"):
        await Workspaces.open(tmp_path, max_open=0)
    async with Store.open(tmp_path) as store:
        with pytest.raises(InvalidInput, match="placement is 'moon'"):
            await store.create("w", placement="moon")  # type: ignore[arg-type]
        with pytest.raises(InvalidInput, match="info"):
            await store.create("w", info={"x": object()})
        name: Any
        for name in (5, None, [], "a b"):
            with pytest.raises(InvalidInput, match="workspace name"):
                await store.describe(name)
            with pytest.raises(InvalidInput, match="workspace name"):
                await Workspaces(store).close_one(name)
        assert await store.names() == []


class Wrong(DeterministicEmbedder):
    """Gives what it was made with."""

    def __init__(self, reply: Any) -> None:
        super().__init__(4)
        self.reply = reply

    async def embed(self, texts: Any, *, role: Any) -> Any:
        return self.reply


@pytest.mark.parametrize(
    "reply", [None, [[1.0] * 4], np.ones((1, 4)), {"vectors": 1}], ids=["none", "list", "array", "mapping"]
)
async def test_an_embedder_that_gives_no_embeddings(tmp_path: Any, reply: Any) -> None:
    calls = CallSettings(attempts=1)
    async with Engine.open(
        tmp_path, llm=DeterministicLLM(), embedder=Wrong(reply), settings=Settings(calls=calls)
    ) as engine:
        report = await engine.insert("Ada Lovelace met Charles Babbage.")
        assert "no Embeddings value" in (report.failed[0].error or "")
        with pytest.raises(InvalidReply, match="no Embeddings value"):
            await engine.retrieve("Who met Ada?")
