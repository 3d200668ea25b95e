"""A role is given another LLM while an instance is open."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from integration.lightrag_functions import OTHER, QUESTION, TEXT, Functions, open_rag
from stateless_rag.errors import StoreError
from stateless_rag.interop.lightrag import NotSupported, QueryParam
from stateless_rag.interop.lightrag.session import Opened
from stateless_rag.stores.duckdb.store import Store


@pytest.mark.parametrize("opened", [False, True])
async def test_a_role_is_given_another_llm(tmp_path: Path, opened: bool) -> None:
    base, other, third = Functions(), Functions(), Functions()
    rag = open_rag(tmp_path, base, llm_model_kwargs={"temperature": 0})
    if opened:
        await rag.ainsert(TEXT)
    await rag.aupdate_llm_role_config("query", other.llm, {"seed": 7}, timeout=30)
    rag.update_llm_role_config("keyword", func=third.llm)  # inside a running loop, by the other names
    rag.set_role_llm_metadata("query", {"host": "here"}, owner="me")
    base.calls.clear()
    assert await rag.aquery(QUESTION, QueryParam(mode="local")) or not opened
    assert [call["seed"] for call in other.calls] == [7] * opened
    assert [call["temperature"] for call in third.calls] == [0] and base.calls == []
    told = rag.get_llm_role_config("query")
    assert (told["timeout"], told["metadata"]) == (30, {"host": "here", "owner": "me"})
    await rag.finalize_storages()
    await rag.initialize_storages()  # they stay
    await rag.aquery(f"{QUESTION} And why?", QueryParam(mode="local"))
    assert base.calls == [] and len(third.calls) == 2
    await rag.finalize_storages()


class Begun(Functions):
    """Tells when it is asked."""

    def __init__(self, together: int) -> None:
        super().__init__(together)
        self.begun = asyncio.Event()

    async def llm(self, prompt: str, **kwargs: Any) -> Any:  # type: ignore[override]
        self.begun.set()
        return await super().llm(prompt, **kwargs)


async def test_a_change_of_role_leaves_what_runs_alone(tmp_path: Path) -> None:
    base, other = Begun(together=2), Functions()
    rag = open_rag(tmp_path, base)
    inserting = asyncio.create_task(rag.ainsert(TEXT))
    await base.begun.wait()
    await asyncio.gather(
        rag.aupdate_llm_role_config("extract", other.llm),
        rag.aupdate_llm_role_config("keyword", other.llm),
        rag.aupdate_llm_role_config("query", other.llm),
    )
    base.enough.set()
    await inserting
    assert (await rag.get_processing_status())["processed"] == 1
    assert other.calls == [] and set(rag.roles) == {"extract", "keyword", "query"}
    paid = len(base.calls)
    await rag.ainsert(OTHER)
    await rag.aquery(QUESTION)
    assert len(base.calls) == paid and len(other.calls) >= 3
    await rag.finalize_storages()
    await open_rag(tmp_path, base).finalize_storages()  # nothing has kept the root


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        (("painter",), ValueError, "role is 'painter'"),
        (("query", 5), ValueError, "func of role query is 5"),
        (("query", None, "x"), ValueError, "kwargs of role query"),
        (("query", None, None, None, -1), ValueError, "timeout of role query is -1"),
        (("query", None, None, None, None, 3), ValueError, "metadata of role query"),
        (("query", None, None, 0), ValueError, "max_async of role query"),
        ({"model": "gpt-5", "binding": "openai"}, NotSupported, "binding"),
        ({"model_func": len, "func": len}, ValueError, "are the same"),
    ],
)
async def test_a_bad_change_of_role_changes_nothing(
    tmp_path: Path, arguments: Any, error: type[Exception], told: str
) -> None:
    rag = open_rag(tmp_path, role_llm_configs={"keyword": {"timeout": 9}})
    before = rag.get_llm_role_config()
    positional, named = (("query",), arguments) if isinstance(arguments, dict) else (arguments, {})
    with pytest.raises(error, match=told):
        await rag.aupdate_llm_role_config(*positional, **named)
    assert rag.get_llm_role_config() == before


async def test_a_change_of_role_that_fails_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rag = open_rag(tmp_path, role_llm_configs={"query": {"timeout": 9}})
    await rag.initialize_storages()
    before = rag.get_llm_role_config()

    async def refuse(*_: Any, **__: Any) -> None:
        raise StoreError("no more engines")

    monkeypatch.setattr(Opened, "another", refuse)
    for role in ("query", "extract"):
        with pytest.raises(StoreError, match="no more"):
            await rag.aupdate_llm_role_config(role, Functions().llm, timeout=3)
    assert rag.get_llm_role_config() == before
    assert set(rag.roles) == {"query"}
    await rag.finalize_storages()


async def test_changes_at_the_same_time_both_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, extract, keyword = Functions(), Functions(), Functions()
    another, second = Opened.another, asyncio.Event()

    async def slow_at_first(opened: Opened, **changes: Any) -> Any:
        first = set(changes.get("roles", ())) == {"extract", "summarize"} and not second.is_set()
        engine = await another(opened, **changes)
        if first:
            await second.wait()
        return engine

    async with Store.open(tmp_path) as store:
        rag = open_rag(tmp_path, base, store=store, workspace="w")
        await rag.initialize_storages()
        monkeypatch.setattr(Opened, "another", slow_at_first)
        changing = asyncio.create_task(rag.aupdate_llm_role_config("extract", extract.llm))
        await asyncio.sleep(0)
        await rag.aupdate_llm_role_config("keyword", keyword.llm)
        second.set()
        await changing
        await rag.ainsert(TEXT)
        await rag.aquery(QUESTION, QueryParam(mode="local", only_need_context=True))
        assert base.calls == [] and extract.calls and keyword.calls
        assert store.memory("w") > 0
        await rag.finalize_storages()
        assert store.memory("w") == 0, "an engine was left open"
