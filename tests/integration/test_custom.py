"""Chunks and graphs that the caller brings along."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from stateless_rag import Document, Engine, ExtractSettings, MergeSettings, Settings, Status
from stateless_rag.errors import InvalidInput
from stateless_rag.protocols import LLMReply, LLMRequest
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.testing.dump import dump

GRAPH: dict[str, Any] = {
    "chunks": [
        {"content": "def load(path): return parse(path)", "source_id": "load.py", "file_path": "src/load.py"},
        {"content": "def parse(path): ...", "source_id": "parse.py", "file_path": "src/parse.py"},
    ],
    "entities": [
        {"entity_name": "Load", "entity_type": "function", "description": "reads", "source_id": "load.py"},
        {"entity_name": "load", "entity_type": "module", "description": "holds Load", "source_id": "load.py"},
        {"entity_name": "parse", "entity_type": "function", "source_id": "parse.py"},
    ],
    "relationships": [
        {"src_id": "parse", "tgt_id": "Load", "description": "is called by", "keywords": "calls", "weight": 2.0,
         "source_id": "load.py"},
        {"src_id": "load", "tgt_id": "Load", "description": "contains", "source_id": "load.py"},
    ],
}  # fmt: skip
EXACT = Settings(merging=MergeSettings(key_policy="exact"), extraction=ExtractSettings(gleaning=0))


class Forbidden(DeterministicLLM):
    """No LLM is needed for a graph that is given."""

    async def complete(self, request: LLMRequest) -> LLMReply:
        raise AssertionError(request.purpose)


def opened(root: Path, llm: Any = None, **options: Any) -> Any:
    options = {"settings": EXACT, "embedder": DeterministicEmbedder(), **options}
    return Engine.open(root, llm=Forbidden() if llm is None else llm, **options)


def changed(**parts: Any) -> dict[str, Any]:
    return {**copy.deepcopy(GRAPH), **parts}


async def test_a_graph_is_taken_as_it_is_given_and_found_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        report = await engine.insert_graph(GRAPH)
        assert {document.id: document.status for document in report.documents} == {
            "load.py": Status.PROCESSED,
            "parse.py": Status.PROCESSED,
        }
        upper, lower = await engine.entity("Load"), await engine.entity("load")
        assert (upper.name, upper.type, upper.description) == ("Load", "function", "reads")
        assert (lower.name, lower.type) == ("load", "module")
        (called,) = await engine.relations_of("parse")
        assert (called.source, called.target, called.keywords) == ("parse", "Load", ("calls",))
        found = await engine.retrieve("parse", mode="naive", min_similarity=-1.0)
        assert found.passages[0].source in {"src/load.py", "src/parse.py"}


async def test_the_same_again_changes_nothing_and_a_new_version_replaces_what_was_said(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as engine:
        await engine.insert_graph(GRAPH)
        before = await dump(engine)
        revision = engine.revision
        report = await engine.insert_graph(GRAPH)
        assert all(document.unchanged for document in report.documents)
        assert (await dump(engine), engine.revision) == (before, revision)
        # The text stays, the functions do not.
        await engine.insert_graph(changed(entities=GRAPH["entities"][1:], relationships=[]))
        assert await engine.entity("Load") is None
        assert await engine.relations_of("parse") == []
        await engine.insert_graph(GRAPH)
        assert await dump(engine) == before


async def test_a_graph_is_deleted_by_its_documents(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        await engine.insert_graph(GRAPH)
        await engine.delete("load.py")
        assert await engine.entity("load") is None
        assert (await engine.entity("parse")).weight == 1
        await engine.insert_graph(GRAPH, document_id="everything")
        await engine.delete(["everything", "parse.py"])
        info = await engine.describe()
        assert (info.entities, info.relations, info.chunks) == (0, 0, 0)


@pytest.mark.parametrize("graph", [{}, {"chunks": [], "entities": [], "relationships": []}])
async def test_a_named_document_of_which_nothing_is_left_says_nothing(
    tmp_path: Path, graph: dict[str, Any]
) -> None:
    async with opened(tmp_path) as engine:
        await engine.insert_graph(GRAPH, document_id="code")
        (document,) = (await engine.insert_graph(graph, document_id="code")).documents
        assert (document.id, document.status, document.chunks) == ("code", Status.PROCESSED, 0)
        assert (await engine.labels(), (await engine.describe()).chunks) == ([], 0)
        assert not (await engine.insert_graph(graph)).documents


async def test_a_graph_is_merged_with_what_texts_say(tmp_path: Path) -> None:
    llm = DeterministicLLM()
    settings = Settings(extraction=ExtractSettings(gleaning=0))
    async with opened(tmp_path, llm, settings=settings) as engine:
        await engine.insert(Document("Ada met Babbage.", id="text"))
        alone = await dump(engine)
        await engine.insert_graph(
            {"chunks": [{"content": "Ada is here.", "source_id": "graph"}],
             "entities": [{"entity_name": "ADA", "entity_type": "poet", "description": "was here",
                           "source_id": "graph"}]}
        )  # fmt: skip
        ada = await engine.entity("Ada")
        assert ada.weight == 2
        assert "was here" in ada.description
        assert "Ada met Babbage" in ada.description
        await engine.delete("graph")
        assert await dump(engine) == alone


async def test_records_without_a_chunk_are_listed_by_chunks_of_their_document(tmp_path: Path) -> None:
    many = [{"entity_name": f"E{n}", "description": "x" * 100, "file_path": "a.py"} for n in range(50)]
    graph = {"entities": many, "relationships": [{"src_id": "E1", "tgt_id": "E2", "file_path": "a.py"}]}
    async with opened(tmp_path) as engine:
        report = await engine.insert_graph(graph)
        assert [(d.id, d.entities, d.relations) for d in report.documents] == [("a.py", 50, 1)]
        assert report.documents[0].chunks > 1
        text = (await engine.document("a.py")).text
        assert "E49: xxx" in text
        assert "E1 → E2" in text


async def test_relations_of_an_entity_with_itself_are_reported_not_fatal(tmp_path: Path) -> None:
    loops = [{"src_id": "parse", "tgt_id": "parse", "description": "recurses", "source_id": "parse.py"}]
    async with opened(tmp_path) as engine:
        report = await engine.insert_graph(changed(relationships=loops))
        warned = {document.id: dict(document.warnings) for document in report.documents}
        assert warned == {"load.py": {}, "parse.py": {"self loop": 1}}


@pytest.mark.parametrize(
    ("graph", "told"),
    [
        ([], "must be a mapping"),
        ({"nodes": []}, "nodes"),
        ({"chunks": "abc"}, "chunks"),
        ({"chunks": [{"content": " ", "source_id": "a"}]}, r"chunks\[0\].content"),
        ({"chunks": [{"source_id": "a"}]}, r"chunks\[0\].content"),
        ({"chunks": [{"content": "a", "source_id": "a", "chunk_order_index": "first"}]}, "chunk_order_index"),
        ({"chunks": [{"content": "a", "source_id": "\x00"}]}, r"chunks\[0\].source_id"),
        ({"chunks": [{"content": "a"}], "entities": [{"entity_name": ""}]}, r"entities\[0\].entity_name"),
        ({"entities": [{"entity_name": "a" * 300}]}, "256"),
        ({"entities": [{"entity_name": "a", "description": 1}]}, "description"),
        ({"entities": ["a"]}, r"entities\[0\]"),
        ({"relationships": [{"src_id": "a"}]}, "tgt_id"),
        ({"relationships": [{"src_id": "a", "tgt_id": "b", "weight": float("nan")}]}, "weight"),
        ({"relationships": [{"src_id": "a", "tgt_id": "b", "keywords": ["c"]}]}, "keywords"),
    ],
)
async def test_what_is_no_graph_is_refused_before_the_first_write(
    tmp_path: Path, graph: Any, told: str
) -> None:
    async with opened(tmp_path) as engine:
        with pytest.raises(InvalidInput, match=told):
            await engine.insert_graph(graph)
        assert (engine.revision, await engine.documents()) == (0, [])


async def test_chunks_are_extracted_as_they_are(tmp_path: Path) -> None:
    chunks = ["Ada met Babbage.", "Babbage lived in London.", "Ada met Babbage."]
    async with opened(tmp_path, DeterministicLLM()) as engine:
        report = await engine.insert_chunks(chunks, document_id="d", metadata={"year": 1843})
        assert report.documents[0].chunks == 3
        document = await engine.document("d")
        assert (document.text, document.metadata) == ("\n\n".join(chunks), {"year": 1843})
        found = await engine.retrieve("Ada", mode="naive", min_similarity=-1.0)
        assert sorted(passage.text for passage in found.passages) == sorted(chunks)
        assert (
            (await engine.insert_chunks(chunks, document_id="d", metadata={"year": 1843}))
            .documents[0]
            .unchanged
        )
        # Other cuts of the same text are an update, which pays for what is new.
        report = await engine.insert_chunks(
            ["Ada met Babbage.", "Babbage lived in London."], text=document.text, document_id="d"
        )
        assert (report.documents[0].chunks, report.usage.get("extract")) == (2, None)


async def test_chunks_may_overlap_in_the_text_and_must_be_in_it(tmp_path: Path) -> None:
    async with opened(tmp_path, DeterministicLLM()) as engine:
        await engine.insert_chunks(["Ada met", "met Babbage"], text="Ada met Babbage", document_id="d")
        found = await engine.retrieve("Ada", mode="naive", min_similarity=-1.0)
        assert {(p.start, p.stop) for p in found.passages} == {(0, 7), (4, 15)}
        for chunks, told in (
            (["Ada", "Bab", "met"], r"chunks\[2\].*before"),
            (["Eve"], "anywhere"),
            (["  "], "blank"),
        ):
            with pytest.raises(InvalidInput, match=told):
                await engine.insert_chunks(chunks, text="Ada met Babbage", document_id="e")
        assert [document.id for document in await engine.documents()] == ["d"]


async def test_a_chunk_longer_than_the_embedder_takes_is_refused(tmp_path: Path) -> None:
    class Short(DeterministicEmbedder):
        @property
        def max_tokens(self) -> int:
            return 8

    async with opened(tmp_path, DeterministicLLM(), embedder=Short()) as engine:
        with pytest.raises(InvalidInput, match="takes 8"):
            await engine.insert_chunks(["fine", "word " * 20], document_id="d")
        assert await engine.documents() == []


async def test_what_was_given_outlives_a_failure_and_a_restart(tmp_path: Path) -> None:
    class Failing(DeterministicLLM):
        async def complete(self, request: LLMRequest) -> LLMReply:
            if "London" in request.prompt:
                return LLMReply(text="nothing of use")
            return await super().complete(request)

    chunks = ["Ada met Babbage.", "Babbage lived in London."]
    async with opened(tmp_path, Failing()) as engine:
        (document,) = (await engine.insert_chunks(chunks, document_id="d")).documents
        assert (document.status, [error.ordinal for error in document.errors]) == (Status.FAILED, [1])
    async with opened(tmp_path, DeterministicLLM()) as engine:
        report = await engine.resume()
        assert (report.documents[0].status, report.documents[0].chunks) == (Status.PROCESSED, 2)
        assert report.usage["extract"].calls == 1
        found = await engine.retrieve("Ada", mode="naive", min_similarity=-1.0)
        assert sorted(passage.text for passage in found.passages) == sorted(chunks)


async def test_an_ordinary_text_replaces_what_was_given(tmp_path: Path) -> None:
    graph = {"chunks": [{"content": "Ada met Babbage.", "source_id": "d"}],
             "entities": [{"entity_name": "Secret", "source_id": "d"}]}  # fmt: skip
    async with opened(tmp_path / "one", DeterministicLLM()) as engine:
        await engine.insert_graph(graph)
        await engine.insert(Document("Ada met Babbage.", id="d"))
        assert await engine.entity("Secret") is None
        after = await dump(engine)
    async with opened(tmp_path / "other", DeterministicLLM()) as engine:
        await engine.insert(Document("Ada met Babbage.", id="d"))
        assert await dump(engine) == after


@pytest.mark.parametrize("chunks", [["Ada met Babbage."], []])
async def test_an_ordinary_text_is_cut_anew_where_its_caller_had_cut_it(
    tmp_path: Path, chunks: list[str]
) -> None:
    text = "Ada met Babbage. Marie Curie lived in Paris."
    async with opened(tmp_path / "one", DeterministicLLM()) as engine:
        await engine.insert_chunks(chunks, text=text, document_id="d")
        (document,) = (await engine.insert(Document(text, id="d"))).documents
        assert not document.unchanged
        assert await engine.entity("Marie Curie") is not None
        after = await dump(engine)
        (document,) = (await engine.insert(Document(text, id="d"))).documents
        assert document.unchanged
    async with opened(tmp_path / "other", DeterministicLLM()) as engine:
        await engine.insert(Document(text, id="d"))
        assert await dump(engine) == after


async def test_a_cut_of_the_callers_outlives_export_and_import(tmp_path: Path) -> None:
    async with opened(tmp_path / "one", DeterministicLLM()) as engine:
        await engine.insert_chunks(["Ada met"], text="Ada met Babbage.", document_id="d")
        await engine.export(tmp_path / "all.jsonl")
        before = await dump(engine)
    async with opened(tmp_path / "other", DeterministicLLM()) as engine:
        await engine.import_jsonl(tmp_path / "all.jsonl")
        assert await dump(engine) == before
