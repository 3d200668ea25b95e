"""A script that was written for LightRAG: opening, documents, statuses, deleting."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest

from integration.folders import Doc, Piece, lightrag_folder
from integration.lightrag_functions import OTHER, QUESTION, TEXT, Functions, open_rag
from stateless_rag import Engine, Store
from stateless_rag.errors import InvalidInput, InvalidWorkspaceName, StoreLocked
from stateless_rag.interop.lightrag import (
    DocStatus,
    LightRAG,
    PipelineBackpressureError,
    StorageNotInitializedError,
)
from stateless_rag.providers import tokenizer
from stateless_rag.providers.callables import CallableEmbedder
from stateless_rag.testing.dump import dump
from stateless_rag.types import Document, Status


def doc_id(name: str) -> str:
    return f"doc-{md5(name.encode()).hexdigest()}"


def threads() -> set[str]:
    names = {thread.name for thread in threading.enumerate()}
    return {name for name in names if name.startswith("stateless-rag")}


# ---- opening -------------------------------------------------------------------------------------------


async def test_it_opens_on_first_use_and_closes(tmp_path: Path) -> None:
    rag = open_rag(tmp_path)
    await rag.ainsert(TEXT)
    assert "Ada Lovelace" in await rag.get_graph_labels()
    await rag.finalize_storages()
    await rag.finalize_storages()
    with pytest.raises(StorageNotInitializedError, match="initialize_storages"):
        await rag.aquery(QUESTION)
    with pytest.raises(StorageNotInitializedError):
        rag.query(QUESTION)
    assert threads() == set()
    await rag.initialize_storages()
    assert "Ada Lovelace" in await rag.get_graph_labels()
    await rag.finalize_storages()


async def test_created_and_used_in_the_same_breath(tmp_path: Path) -> None:
    rag = open_rag(tmp_path)
    await asyncio.gather(
        rag.initialize_storages(), *(rag.ainsert(f"Name{n} met Ada.", ids=f"d{n}") for n in range(8))
    )
    assert (await rag.get_processing_status())["processed"] == 8
    await rag.finalize_storages()


async def test_who_is_cancelled_while_it_opens_leaves_the_others_alone(tmp_path: Path) -> None:
    rag = open_rag(tmp_path)
    first = asyncio.create_task(rag.initialize_storages())
    await asyncio.sleep(0)
    others = [asyncio.create_task(rag.get_graph_labels()) for _ in range(3)]
    first.cancel()
    assert await asyncio.gather(*others) == [[], [], []]
    await rag.finalize_storages()


async def test_create_async_gives_one_that_is_open(tmp_path: Path) -> None:
    functions = Functions()
    rag = await LightRAG.create_async(
        tmp_path, llm_model_func=functions.llm, embedding_func=CallableEmbedder(functions.embed, dimension=32)
    )
    with pytest.raises(StoreLocked):
        await Store.open(tmp_path)
    await rag.finalize_storages()


async def test_a_failed_opening_is_tried_again(tmp_path: Path) -> None:
    rag = open_rag(tmp_path)
    async with Store.open(tmp_path):
        with pytest.raises(StoreLocked, match="finalize_storages"):
            await rag.initialize_storages()
    await rag.ainsert(TEXT)
    await rag.finalize_storages()


async def test_a_dropped_instance_lets_go(tmp_path: Path) -> None:
    for n in range(3):  # a cell of a notebook that is run again
        rag = open_rag(tmp_path)
        await rag.ainsert(f"Name{n} met Ada.", ids=f"d{n}")
        rag.query("Who met Ada?")
        del rag
        gc.collect()
    rag = open_rag(tmp_path)
    assert (await rag.get_processing_status())["processed"] == 3
    await rag.finalize_storages()


async def test_workspaces_of_one_working_dir(tmp_path: Path) -> None:
    names = ("", "one", "two", "default")
    rags = [open_rag(tmp_path, workspace=name) for name in names]
    await asyncio.gather(*(rag.ainsert(f"{rag.workspace or 'Zero'} Name met Ada.") for rag in rags))
    assert [len(await rag.get_graph_labels()) for rag in rags] == [2, 2, 2, 2]
    for rag in rags:
        await rag.finalize_storages()
    async with Engine.open(tmp_path / "one", "one", embedder=embedder()) as engine:
        assert (await engine.describe()).documents[Status.PROCESSED] == 1
    async with Engine.open(tmp_path, embedder=embedder()) as engine:  # an ordinary workspace
        assert (await engine.retrieve("Zero Name")).passages


def embedder() -> CallableEmbedder:
    return CallableEmbedder(Functions().embed, dimension=32, model="embed")


async def test_instances_share_a_store(tmp_path: Path) -> None:
    async with Store.open(tmp_path) as store:
        one, other = (open_rag(tmp_path / "unused", store=store, workspace="w") for _ in range(2))
        await asyncio.gather(one.ainsert(TEXT), other.ainsert(OTHER))
        assert await one.get_graph_labels() == await other.get_graph_labels()
        await one.finalize_storages()
        assert "Alan Turing" in await other.get_graph_labels()
        await other.finalize_storages()
        assert list(await store.names()) == ["w"]
    assert not (tmp_path / "unused").exists()


async def test_files_of_lightrag_are_told_of(tmp_path: Path) -> None:
    lightrag_folder(tmp_path, [Doc("ada", (Piece("Ada wrote.", (("Ada", "Person", "She wrote."),)),))])
    with pytest.warns(UserWarning, match="import_lightrag"):
        rag = open_rag(tmp_path)
    await rag.initialize_storages()
    await rag.finalize_storages()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_rag(tmp_path)


def test_a_refused_name(tmp_path: Path) -> None:
    for name in ("a/b", "..", "é", "a b"):
        with pytest.raises(InvalidWorkspaceName):
            open_rag(tmp_path, workspace=name)


# ---- documents -----------------------------------------------------------------------------------------


async def test_documents_go_in_and_out(tmp_path: Path) -> None:
    rag = open_rag(tmp_path)
    track = await rag.ainsert([TEXT, OTHER], file_paths=["ada.txt", "/far/away/turing.txt"])
    assert track.startswith("insert_") and len(track.split("_")) == 4
    found = await rag.aget_docs_by_track_id(track)
    assert set(found) == {doc_id("ada.txt"), doc_id("/far/away/turing.txt")}
    row = found[doc_id("ada.txt")]
    assert (row.status, row.content_summary, row.content_length) == (DocStatus.PROCESSED, TEXT, len(TEXT))
    assert (row.file_path, row.track_id, row.error_msg) == ("ada.txt", track, None)
    assert row.chunks_count == len(row.chunks_list) == 1
    assert row.content_hash == md5(TEXT.encode()).hexdigest()
    assert row.created_at == row.updated_at and row.updated_at.endswith("+00:00")
    assert row == (await rag.aget_docs_by_ids([doc_id("ada.txt"), "missing"]))[doc_id("ada.txt")]
    gone = await rag.adelete_by_doc_id(doc_id("ada.txt"))
    assert (gone.status, gone.status_code, gone.file_path) == ("success", 200, "ada.txt")
    again = await rag.adelete_by_doc_id(doc_id("ada.txt"))
    assert (again.status, again.status_code) == ("not_found", 404)
    assert await rag.get_processing_status() == {
        **dict.fromkeys(map(str, DocStatus), 0),
        "processed": 1,
    }
    await rag.finalize_storages()


async def test_the_same_again_calls_no_llm_and_an_update_replaces(tmp_path: Path) -> None:
    functions = Functions()
    rag = open_rag(tmp_path, functions)
    await rag.ainsert(TEXT, ids="d")
    paid = len(functions.calls)
    await rag.ainsert(TEXT, ids="d")
    assert len(functions.calls) == paid
    await rag.ainsert(OTHER, ids="d")
    assert await rag.get_graph_labels() == ["Alan Turing", "Bletchley Park"]
    await rag.finalize_storages()


async def test_what_was_enqueued_is_processed_later(tmp_path: Path) -> None:
    rag = open_rag(tmp_path)
    track = await rag.apipeline_enqueue_documents(TEXT, track_id="mine")
    assert track == "mine"
    (row,) = (await rag.aget_docs_by_track_id("mine")).values()
    assert (row.status, row.content_summary, row.chunks_list) == (DocStatus.PENDING, "", [])
    await rag.apipeline_process_enqueue_documents()
    (row,) = (await rag.aget_docs_by_track_id("mine")).values()
    assert row.status is DocStatus.PROCESSED
    await rag.apipeline_enqueue_documents("Left over Name met Ada.", ids="left")
    (found,) = (await rag.get_docs_by_status(DocStatus.PENDING)).items()
    assert found == ("left", (await rag.aget_docs_by_ids("left"))["left"])
    assert list((await rag.get_docs_by_status("processed")).values()) == [row]
    assert await rag.get_docs_by_status("parsing") == await rag.get_docs_by_status("processing") == {}
    with pytest.raises(InvalidInput, match="status is 'done'"):
        await rag.get_docs_by_status("done")
    await rag.ainsert(OTHER)  # takes in what waits, too
    assert (await rag.aget_docs_by_ids("left"))["left"].status is DocStatus.PROCESSED
    await rag.finalize_storages()


async def test_a_failure_is_a_status_and_is_tried_again(tmp_path: Path) -> None:
    functions = Functions()
    functions.failing = RuntimeError("the key is wrong")
    rag = open_rag(tmp_path, functions)
    track = await rag.ainsert(TEXT, ids="d")
    row = (await rag.aget_docs_by_track_id(track))["d"]
    assert row.status is DocStatus.FAILED and "the key is wrong" in (row.error_msg or "")
    await rag.apipeline_process_enqueue_documents()
    assert (await rag.get_processing_status())["failed"] == 1
    functions.failing = None
    assert await rag.apipeline_reset_failed_for_scan() == 1
    assert (await rag.get_processing_status())["processed"] == 1
    await rag.finalize_storages()


async def test_documents_that_wait_are_bounded(tmp_path: Path) -> None:
    rag = open_rag(tmp_path, max_pending_documents=2)
    await rag.apipeline_enqueue_documents(["One.", "Two."])
    with pytest.raises(PipelineBackpressureError, match="max_pending_documents"):
        await rag.apipeline_enqueue_documents("Three.")
    await rag.apipeline_process_enqueue_documents()
    await rag.apipeline_enqueue_documents("Three.")
    await rag.finalize_storages()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"split_by_character": "##"}, ["One Two.", "Three Four.", "Five."]),
        ({"split_by_character": "##", "split_by_character_only": True}, ["One Two.", "Three Four.", "Five."]),
        ({}, ["One Two. ## Three Four. ## Five."]),
    ],
)
async def test_texts_are_split(tmp_path: Path, options: dict[str, Any], expected: list[str]) -> None:
    rag = open_rag(tmp_path)
    await rag.ainsert("One Two. ## Three Four. ## Five.", ids="d", **options)
    contents = await (await rag.engine()).contents("d")
    assert contents is not None and [chunk.text for chunk in contents.chunks] == expected
    await rag.finalize_storages()


async def test_a_chunking_function_cuts(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def by_words(*arguments: Any) -> list[dict[str, Any]]:
        tokenizer, content, *rest = arguments
        seen.append(rest)
        assert tokenizer.decode(tokenizer.encode(content)) == content
        return [
            {"content": word, "tokens": 1, "chunk_order_index": -n} for n, word in enumerate(content.split())
        ]

    def backwards(*arguments: Any) -> list[dict[str, Any]]:
        content = arguments[1]
        if "broken" in content:
            raise KeyError("no such page")
        return [{"content": content[:5], "tokens": 1, "chunk_order_index": 0}]

    rag = open_rag(tmp_path / "one", chunking_func=by_words, chunk_token_size=50, chunk_overlap_token_size=7)
    await rag.ainsert("Ada", ids="d", split_by_character="|")
    assert seen == [["|", False, 7, 50]]
    await rag.finalize_storages()
    rag = open_rag(tmp_path / "two", chunking_func=backwards)
    await rag.ainsert(["Ada Lovelace", "broken"], ids=["whole", "broken"])
    rows = await rag.aget_docs_by_ids(["whole", "broken"])
    assert rows["whole"].status is DocStatus.PROCESSED
    assert rows["broken"].status is DocStatus.FAILED and "no such page" in (rows["broken"].error_msg or "")
    await rag.finalize_storages()


async def test_custom_chunks_and_graphs(tmp_path: Path) -> None:
    functions = Functions()
    rag = open_rag(tmp_path, functions)
    await rag.ainsert_custom_chunks(f"{TEXT} {OTHER}", [TEXT, OTHER], doc_id="cut")
    assert (await rag.aget_docs_by_ids("cut"))["cut"].chunks_count == 2
    await rag.ainsert_custom_chunks("A text.", ["Grace Hopper wrote.", "COBOL."])  # not of that text
    assert (await rag.aget_docs_by_ids(doc_id("A text.")))[doc_id("A text.")].chunks_count == 2
    paid = len(functions.calls)
    graph = {
        "chunks": [{"content": "Grace Hopper wrote COBOL", "source_id": "s", "file_path": "kg.json"}],
        "entities": [{"entity_name": "Grace Hopper", "entity_type": "person", "source_id": "s"}],
        "relationships": [
            {
                "src_id": "Grace Hopper",
                "tgt_id": "COBOL",
                "description": "wrote",
                "keywords": "code",
                "source_id": "s",
            }
        ],
    }
    await rag.ainsert_custom_kg(graph, full_doc_id="kg")
    assert len(functions.calls) == paid
    info = await rag.get_relation_info("COBOL", "Grace Hopper")
    assert info["graph_data"]["description"] == "wrote" and info["graph_data"]["file_path"] == "kg.json"
    assert (await rag.adelete_by_doc_id("kg")).status == "success"
    assert (await rag.get_relation_info("COBOL", "Grace Hopper"))["graph_data"] is None
    with pytest.raises(ValueError, match=r"relationships\[0\]"):
        await rag.ainsert_custom_kg({"relationships": [{"src_id": "A"}]})
    await rag.finalize_storages()


@pytest.mark.parametrize(
    "arguments",
    [
        {"input": ["a", "b"], "ids": ["one"]},
        {"input": ["a", "b"], "ids": ["same", "same"]},
        {"input": ["a", "b"], "file_paths": ["one"]},
        {"input": [1]},
        {"input": "a", "ids": " "},
        {"input": "a", "track_id": ""},
        {"input": "a", "split_by_character": 5},
        {"input": {"a": 1}},
    ],
)
async def test_bad_documents_change_nothing(tmp_path: Path, arguments: dict[str, Any]) -> None:
    rag = open_rag(tmp_path)
    with pytest.raises(ValueError):
        await rag.ainsert(**arguments)
    assert not any((await rag.get_processing_status()).values())
    await rag.finalize_storages()


# ---- together ------------------------------------------------------------------------------------------


async def test_five_instances_insert_at_once(tmp_path: Path) -> None:
    functions = Functions(together=4 * 5)  # all slots of all of them
    rags = [open_rag(tmp_path, functions, workspace=f"w{n}") for n in range(5)]
    texts = [f"Name{n} met Ada Lovelace." for n in range(6)]
    assert {rag.llm_model_max_async for rag in rags} == {4}
    async with asyncio.timeout(240):  # for ever, if they waited for each other
        await asyncio.gather(*(rag.ainsert(texts) for rag in rags))
    for rag in rags:
        assert (await rag.get_processing_status())["processed"] == len(texts)
        await rag.finalize_storages()
    assert functions.most == 20


class Ticking(Functions):
    """Every call takes one tick; a tick ends when all that could run in it does."""

    def __init__(self) -> None:
        super().__init__()
        self.ticks = 0
        self._waiting: list[asyncio.Event] = []

    async def llm(self, prompt: str, **kwargs: Any) -> Any:  # type: ignore[override]
        done = asyncio.Event()
        self._waiting.append(done)
        await done.wait()
        return await super().llm(prompt, **kwargs)

    async def tick(self) -> None:
        while True:
            seen = 0
            while not self._waiting or seen < len(self._waiting):
                seen = len(self._waiting)
                await asyncio.sleep(0.1)
            self.ticks += 1
            ended, self._waiting = self._waiting, []
            for each in ended:
                each.set()


async def test_five_at_once_take_a_third_of_the_time_of_five_in_turn(tmp_path: Path) -> None:
    texts = [f"Name{n} met Ada Lovelace." for n in range(6)]

    async def one(functions: Functions, place: str) -> dict[str, int]:
        rag = open_rag(tmp_path / place, functions)  # made and used in the same breath
        await rag.ainsert(texts)
        counts = await rag.get_processing_status()
        await rag.finalize_storages()
        return counts

    ticks = []
    for at_once in (True, False):
        functions = Ticking()
        clock = asyncio.create_task(functions.tick())
        inserts = [one(functions, f"{at_once}-{n}") for n in range(5)]
        found = await asyncio.gather(*inserts) if at_once else [await each for each in inserts]
        assert [counts["processed"] for counts in found] == [len(texts)] * 5
        assert len(functions.calls) == 5 * 2 * len(texts)
        clock.cancel()
        ticks.append(functions.ticks)
    assert 3 * ticks[0] <= ticks[1], ticks


async def test_five_small_inserts_build_no_table_of_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = dict.fromkeys(("_load", "_build"), 0)

    def counted(name: str) -> Any:
        make = getattr(tokenizer, name)

        def counting(*arguments: Any) -> Any:
            made[name] += 1
            return make(*arguments)

        return counting

    for name in made:
        monkeypatch.setattr(tokenizer, name, counted(name))
    rags = [open_rag(tmp_path, workspace=f"w{n}") for n in range(5)]
    await asyncio.gather(*(rag.ainsert([TEXT, OTHER, "“Zoë” naïvely met 李明 — in Zürich."]) for rag in rags))
    for rag in rags:
        assert (await rag.get_processing_status())["processed"] == 3
        await rag.finalize_storages()
    assert made == {"_load": 5, "_build": 0}


async def test_facade_and_engine_agree(tmp_path: Path) -> None:
    rag = open_rag(tmp_path / "facade")
    texts = [TEXT, OTHER, "Charles Babbage built the Analytical Engine in London."]
    ids = ["a", "b", "c"]
    await rag.ainsert(texts, ids=ids)
    mine = await rag.engine()
    context = mine.context
    async with Engine.open(
        tmp_path / "engine", llm=context.llm, embedder=context.embedder, settings=context.settings
    ) as engine:
        await engine.insert([Document(text, id=id_) for text, id_ in zip(texts, ids, strict=True)])
        assert await dump(engine) == await dump(mine)
        assert (await engine.query(QUESTION)).text == await rag.aquery(QUESTION)
        await rag.adelete_by_doc_id("a")
        await engine.delete("a")
        assert await dump(engine) == await dump(mine)
    await rag.finalize_storages()


def test_an_unknown_mistake_is_named(tmp_path: Path) -> None:
    rag = open_rag(tmp_path)
    with pytest.raises(AttributeError, match="one store for all"):
        getattr(rag, "chunk_entity_relation_graph")  # noqa: B009
    with pytest.raises(AttributeError):
        rag.top_k = 5  # type: ignore[misc]
    with pytest.raises(InvalidInput):
        rag.get_llm_role_config("painter")
