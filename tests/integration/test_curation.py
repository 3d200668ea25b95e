"""Changes by hand, through the engine."""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from laws.generators import StatementLLM
from laws.workspaces import contents, opened
from stateless_rag import curating
from stateless_rag.engine import Engine
from stateless_rag.errors import InvalidInput, StoreError
from stateless_rag.stores.duckdb.curations import curation_row
from stateless_rag.stores.duckdb.store import Store
from stateless_rag.sync import Engine as SyncEngine
from stateless_rag.testing.dump import dump
from stateless_rag.types import Document
from unit.scripted import Late

LONG = "x" * 20_000
ADA = Document("entity | Ada | Person | counts\nrelation | Ada | Zuse | work | never met", id="ada")
BABBAGE = Document("relation | Babbage | Ada | letters | wrote each other", id="babbage")


@pytest.fixture(scope="module")
def inserted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root that holds both documents."""
    root = tmp_path_factory.mktemp("inserted") / "root"

    async def insert() -> None:
        async with opened(root) as opened_engine:
            await opened_engine.insert([ADA, BABBAGE])

    asyncio.run(insert())
    return root


@pytest.fixture
async def engine(inserted: Path, tmp_path: Path) -> AsyncIterator[Engine]:
    async with opened(Path(shutil.copytree(inserted, tmp_path / "root"))) as opened_engine:
        yield opened_engine


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def unchanged(
    inserted: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Engine, dict[str, Any]]]:
    """An engine for all that is refused, and what it holds all the time."""
    root = Path(shutil.copytree(inserted, tmp_path_factory.mktemp("unchanged") / "root"))
    async with opened(root) as opened_engine:
        yield opened_engine, await dump(opened_engine)


async def log(engine: Engine) -> list[tuple[int, str]]:
    return [(entry.number, entry.kind) for entry in await engine.history()]


async def test_each_change_tells_what_it_came_to(engine: Engine) -> None:
    created = await engine.create_entity("Grace  Hopper", type="Person", description=" a compiler ")
    assert created.number == 1 and created.revision == engine.revision
    entity = created.entity
    assert entity is not None and entity == await engine.entity("grace hopper")
    assert (entity.name, entity.type, entity.description, entity.weight) == (
        "Grace Hopper",
        "person",
        "a compiler",
        0,
    )
    related = await engine.create_relation(
        "Grace Hopper", "ada", keywords="navy, COBOL", description="read her"
    )
    relation = related.relation
    assert relation is not None and related.entity is None
    assert (relation.source, relation.target, relation.keywords) == ("Grace Hopper", "Ada", ("COBOL", "navy"))
    edited = (await engine.edit_relation("Ada", "Grace Hopper", weight=7)).relation
    assert edited is not None and (edited.source, edited.weight, edited.description) == (
        "Grace Hopper",
        7,
        "read her",
    )
    renamed = (await engine.rename_entity("Ada", "Ada King")).entity
    assert renamed is not None and renamed.name == "Ada King" and renamed == await engine.entity("Ada")
    ends = {(found.source, found.target) for found in await engine.relations_of("ada")}
    assert ends == {("Grace Hopper", "Ada King"), ("Ada King", "Zuse"), ("Babbage", "Ada King")}
    merged = (await engine.merge_entities(["Zuse", "Babbage"], "Ada", description="several")).entity
    assert merged is not None and (merged.name, merged.weight, merged.description) == (
        "Ada King",
        2,
        "several",
    )
    assert [found.target for found in await engine.relations_of("zuse")] == ["Ada King"]
    assert (await engine.delete_relation("Ada", "Grace Hopper")).relation is None
    assert (await engine.delete_entity("Zuse")).entity is None
    assert await engine.entity("Ada King") is None and await engine.entity("Grace Hopper") is not None
    assert [number for number, _ in await log(engine)] == [7, 6, 5, 4, 3, 2, 1]


async def test_history_tells_of_one_entity_too(engine: Engine) -> None:
    await engine.rename_entity("Ada", "Ada King")
    await engine.edit_relation("Ada", "Zuse", description="of one kind")
    await engine.edit_entity("Babbage", type="person")
    await engine.undo(2)
    assert await log(engine) == [(4, "undo"), (3, "edit_entity"), (2, "edit_relation"), (1, "rename_entity")]
    of_ada = await engine.history("ADA")
    assert [entry.number for entry in of_ada] == [4, 2, 1]
    assert [(entry.number, entry.undone_by) for entry in of_ada] == [(4, None), (2, 4), (1, None)]
    assert (of_ada[2].names, dict(of_ada[2].payload)) == (("Ada", "Ada King"), {"name": "Ada King"})
    assert of_ada[1].at > 0 and await engine.history("Nobody") == []
    assert [entry.number for entry in await engine.history(limit=2)] == [4, 3]


async def test_what_is_undone_may_be_done_again(engine: Engine) -> None:
    before = await contents(engine)
    await engine.merge_entities("Zuse", "Ada")
    merged = await contents(engine)
    await engine.undo(1)
    assert await contents(engine) == before
    back = await engine.undo(2)
    assert await contents(engine) == merged and back.entity is None
    with pytest.raises(InvalidInput, match="number is 2, which number 3 has undone already"):
        await engine.undo(2)


async def test_a_relation_made_by_hand_keeps_its_entities(engine: Engine) -> None:
    await engine.create_relation("Zuse", "Babbage", description="both built engines")
    await engine.delete(["ada", "babbage"])
    (relation,) = await engine.relations_of("Zuse")
    zuse = await engine.entity("Zuse")
    assert zuse is not None and (zuse.name, zuse.description, zuse.weight) == (
        "Zuse",
        relation.description,
        0,
    )
    assert await engine.entity("Ada") is None
    await engine.delete_entity("Babbage")
    assert await engine.entity("Zuse") is None
    assert not (await contents(engine))["relations"]


async def test_what_was_made_is_found_and_what_was_deleted_is_not(engine: Engine) -> None:
    await engine.create_entity("Konrad", description="built the Z3 in his living room")
    asked: dict[str, Any] = {"mode": "local", "low_level_keywords": ("Konrad",), "min_similarity": -1.0}
    found = await engine.retrieve("Who built the Z3?", **asked)
    assert "Konrad" in [entity.name for entity in found.entities]
    await engine.delete_entity("Konrad")
    await engine.delete_entity("Ada")
    found = await engine.retrieve("Who built the Z3?", **asked)
    assert sorted(entity.name for entity in found.entities) == ["Babbage", "Zuse"] and not found.relations


async def test_no_summary_is_asked_for_what_was_said_by_hand(tmp_path: Path) -> None:
    def said(number: int) -> Document:
        return Document(
            f"entity | Ada | Person | said {number}\nentity | Zuse | Person | said {number}", id=f"{number}"
        )

    llm = StatementLLM()
    async with opened(tmp_path, llm=llm) as engine:
        await engine.insert([said(n) for n in range(3)])
        assert llm.calls["summarize"] == 2
        await engine.edit_entity("Ada", description="by hand")
        await engine.insert([said(n) for n in range(3, 30)])
        asked = llm.calls["summarize"]
        ada = await engine.entity("Ada")
        assert ada is not None and (ada.description, ada.weight) == ("by hand", 30)
        await engine.undo(1)
        assert llm.calls["summarize"] == asked + 1
        zuse, ada = await engine.entity("Zuse"), await engine.entity("Ada")
        assert ada is not None and zuse is not None and ada.description.startswith("Ada, in short: ")


@pytest.mark.parametrize(
    ("method", "arguments", "options", "told"),
    [
        ("create_entity", ("ada",), {}, "name is 'ada', but there is an entity 'Ada'"),
        ("create_entity", ("",), {}, "name is ''; it must name an entity"),
        ("create_entity", ("New",), {"type": ""}, "type is ''; it must be a word or two"),
        ("create_entity", ("x" * 257,), {}, "name is .*at most 256 characters"),
        ("create_entity", ("New",), {"description": LONG}, "description is .*at most 10000 characters"),
        ("create_entity", (5,), {}, "name is 5; it must be a string"),
        ("edit_entity", ("Nobody",), {"type": "person"}, "name is 'Nobody', but there is no such entity"),
        ("edit_entity", ("Ada",), {}, "nothing to change of 'Ada'"),
        ("edit_entity", ("Ada",), {"description": b"x"}, "description is b'x'; it must be a string"),
        ("rename_entity", ("Nobody", "Ada"), {}, "name is 'Nobody', but there is no such entity"),
        ("rename_entity", ("Ada", "zuse"), {}, "new_name is 'zuse', but there is an entity 'Zuse'; merge"),
        ("rename_entity", ("Ada", "Ada"), {}, "which is the entity's name already"),
        ("rename_entity", ("Ada", "  "), {}, "new_name is '  '; it must name an entity"),
        ("merge_entities", ([], "Ada"), {}, r"sources is \[\]; it must name other entities"),
        ("merge_entities", (["ada"], "Ada"), {}, "it must name other entities"),
        (
            "merge_entities",
            (["Zuse", "Nobody"], "Ada"),
            {},
            r"sources\[1\] is 'Nobody', but there is no such",
        ),
        ("merge_entities", ({"Zuse": 1}, "Ada"), {}, "sources is .*; it must be a tuple of strings"),
        ("delete_entity", ("Nobody",), {}, "name is 'Nobody', but there is no such entity"),
        ("create_relation", ("Ada", "Nobody"), {}, "target is 'Nobody', but there is no such entity"),
        ("create_relation", ("Ada", "ADA"), {}, "source and target are both 'Ada'"),
        ("create_relation", ("Zuse", "Ada"), {}, "are related already; edit that relation"),
        ("create_relation", ("Zuse", "Babbage"), {"weight": math.nan}, "weight is nan; it must be a number"),
        ("create_relation", ("Zuse", "Babbage"), {"weight": math.inf}, "weight is inf; it must be a number"),
        ("create_relation", ("Zuse", "Babbage"), {"weight": -1}, "weight is -1; it must be a number"),
        (
            "create_relation",
            ("Zuse", "Babbage"),
            {"keywords": [5]},
            r"keywords\[0\] is 5; it must be a string",
        ),
        ("create_relation", ("Zuse", "Babbage"), {"keywords": list(map(str, range(101)))}, "at most 100"),
        ("edit_relation", ("Zuse", "Babbage"), {"weight": 1}, "are not related; create the relation first"),
        ("edit_relation", ("Ada", "Zuse"), {}, "nothing to change"),
        ("edit_relation", ("Ada", "Zuse"), {"description": LONG}, "description is .*at most 10000"),
        ("delete_relation", ("Zuse", "Babbage"), {}, "are not related"),
        ("undo", (1,), {}, "number is 1, but there is no change of that number"),
        ("undo", (0,), {}, "number is 0; it must be a whole number of at least 1"),
        ("undo", ("1",), {}, "number is '1'; it must be a whole number"),
        ("alias", ("Ada", ""), {}, "target is ''; it must name an entity"),
        ("history", (), {"limit": -1}, "limit is -1"),
        ("history", (5,), {}, "name is 5"),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_what_cannot_be_done_changes_nothing(
    unchanged: tuple[Engine, dict[str, Any]], method: str, arguments: Any, options: Any, told: str
) -> None:
    engine, before = unchanged
    revision = engine.revision
    with pytest.raises(InvalidInput, match=told):
        await getattr(engine, method)(*arguments, **options)
    assert engine.revision == revision and await dump(engine) == before and await log(engine) == []


async def test_entities_that_were_deleted_can_not_be_worked_on(engine: Engine) -> None:
    await engine.delete_entity("Zuse")
    for call in (
        engine.edit_entity("Zuse", type="person"),
        engine.create_relation("Zuse", "Babbage"),
        engine.edit_relation("Zuse", "Ada", weight=1),
        engine.delete_entity("Zuse"),
        engine.merge_entities("Zuse", "Ada"),
    ):
        with pytest.raises(InvalidInput, match="no such entity"):
            await call
    again = (await engine.create_entity("Zuse", description="of old")).entity
    assert again is not None and (again.weight, again.description) == (1, "of old")
    assert [found.target for found in await engine.relations_of("Zuse")] == ["Zuse"]


async def test_a_name_that_undoing_would_lead_in_a_circle_is_refused(engine: Engine) -> None:
    await engine.alias("Zuse", "Ada")
    await engine.alias("Zuse", None)
    await engine.alias("Ada", "Zuse")
    with pytest.raises(InvalidInput, match="would stand for itself"):
        await engine.undo(2)
    assert await engine.aliases() == {"ada": "zuse"}


async def test_a_new_name_may_be_an_alias_of_the_entity(engine: Engine) -> None:
    await engine.alias("Countess", "Ada")
    renamed = (await engine.rename_entity("Ada", "Countess")).entity
    assert renamed is not None and (renamed.name, renamed.key) == ("Countess", "countess")
    assert await engine.aliases() == {"ada": "countess"}
    back = (await engine.rename_entity("Countess", "Ada")).entity
    assert back is not None and back.key == "ada" and await engine.entity("countess") == back


# ---- under a filter ------------------------------------------------------------------------------------


async def test_under_a_filter_documents_speak_alone(engine: Engine) -> None:
    await engine.edit_entity("Zuse", description="by hand", type="Machine")
    await engine.create_entity("Hopper", description="by hand")
    await engine.create_relation("Zuse", "Babbage", description="by hand")
    await engine.rename_entity("Ada", "Countess")
    await engine.delete_relation("Babbage", "Countess")
    asked: dict[str, Any] = {"low_level_keywords": ("Zuse", "Ada"), "high_level_keywords": ("work",)}
    for mode in ("local", "global", "hybrid"):
        found = await engine.retrieve(
            "Who?", mode=mode, metadata_filter={"$id": {"in": ["ada", "babbage"]}}, **asked
        )
        shown = {(e.name, e.type, e.description) for e in found.entities}
        assert shown == {("Ada", "person", "wrote each other\ncounts"), ("Zuse", "unknown", "never met")}, (
            mode
        )
        ends = [(r.source, r.target, r.description) for r in found.relations]
        assert ends == [("Ada", "Zuse", "never met")], mode


# ---- one commit ----------------------------------------------------------------------------------------


MORE = Document(
    "entity | Zuse | Machine | in a museum\nrelation | Zuse | Babbage | work | engines", id="more"
)


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("first", ["insert", "delete", "edit"])
async def test_what_is_committed_meanwhile_is_noticed(engine: Engine, hidden: bool, first: str) -> None:
    if hidden:
        await engine.delete_entity("Zuse")
    firsts: dict[str, Any] = {
        "insert": lambda: engine.insert([MORE]),
        "delete": lambda: engine.delete(["ada"]),
        "edit": lambda: engine.edit_entity("Babbage", type="Machine"),
    }
    context = engine.context.derive(journal=engine._workspace.journal)
    late: Any = Late(engine._workspace, firsts[first]())
    if hidden:
        await curating.undo(context, late, 1)
    elif first == "delete":
        with pytest.raises(InvalidInput, match="no such entity"):
            await curating.rename_entity(context, late, "Zuse", "Konrad")
    else:
        await curating.rename_entity(context, late, "Zuse", "Konrad")
    found = await contents(engine)
    async with opened(engine._store, "anew") as anew:
        for document in [ADA, BABBAGE, *([MORE] if first == "insert" else [])]:
            await anew.insert([document])
        if not hidden and first != "delete":
            await anew.rename_entity("Zuse", "Konrad")
        if first == "edit":
            await anew.edit_entity("Babbage", type="Machine")
        if first == "delete":
            await anew.delete(["ada"])
        expected = await contents(anew)
    assert found == expected


async def test_a_commit_that_fails_leaves_no_change(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    before, revision = await contents(engine), engine.revision

    def fail(*_: Any) -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("stateless_rag.stores.duckdb.committing.write_curation", fail)
        with pytest.raises(StoreError, match="full"):
            await engine.rename_entity("Ada", "Ada King")
    assert engine.revision == revision and await contents(engine) == before and await log(engine) == []
    await engine.rename_entity("Ada", "Ada King")
    assert await log(engine) == [(1, "rename_entity")]


# ---- kept ----------------------------------------------------------------------------------------------


async def test_changes_are_kept(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        await engine.insert([ADA])
        await engine.create_entity("Hopper", description="a compiler")
        await engine.delete_entity("Zuse")
        await engine.alias("Countess", "Ada")
        before, entries = await contents(engine), await engine.history()
    async with opened(tmp_path) as engine:
        assert await engine.history() == entries and await contents(engine) == before
        await engine.insert([MORE])
        assert await engine.entity("Zuse") is None
        await engine.undo(2)
        zuse = await engine.entity("Zuse")
        assert zuse is not None and zuse.weight == 2 and len(await engine.relations_of("Zuse")) == 2


async def test_aliases_that_are_older_than_the_log_are_in_it(tmp_path: Path) -> None:
    async with Store.open(tmp_path) as store:
        async with opened(store) as engine:
            await engine.insert([ADA])
            await engine.alias("Countess", "Ada")
            await engine.alias("Engineer", "Zuse")
            before = await contents(engine)
            with store._connection.cursor() as cursor:
                cursor.execute(f"DELETE FROM {engine._workspace.schema}.curations").fetchall()
        async with opened(store) as engine:
            assert [(e.number, e.names, e.at) for e in await engine.history()] == [
                (2, ("engineer", "zuse"), 0.0),
                (1, ("countess", "ada"), 0.0),
            ]
            await engine.alias("Countess", "Zuse")
            await engine.undo(3)
            assert await engine.aliases() == {"countess": "ada", "engineer": "zuse"}
            await engine.undo(2)
            assert await engine.aliases() == {"countess": "ada"}
            await engine.undo(5)
        async with opened(store) as engine:
            assert [entry.number for entry in await engine.history()] == [6, 5, 4, 3, 2, 1]
            assert await contents(engine) == before


def test_the_synchronous_mirror_changes_too(tmp_path: Path) -> None:
    with SyncEngine.open(tmp_path) as engine:
        engine.create_entity("Ada", type="Person")
        engine.create_entity("Zuse", description="an engineer")
        engine.edit_entity("Zuse", type="Person")
        engine.create_relation("Ada", "Zuse", keywords=["work"])
        engine.edit_relation("Ada", "Zuse", weight=2)
        engine.rename_entity("Ada", "Ada King")
        (relation,) = engine.relations_of("Ada")
        assert (relation.source, relation.weight, relation.keywords) == ("Ada King", 2, ("work",))
        assert engine.delete_relation("Ada", "Zuse").relation is None
        merged = engine.merge_entities(["Zuse"], "Ada", type="Machine").entity
        assert merged is not None and (merged.type, merged.description) == ("machine", "an engineer")
        assert engine.delete_entity("Zuse").entity is None
        assert engine.undo(9).entity == merged
        assert [entry.kind for entry in engine.history("Zuse", limit=2)] == ["undo", "delete_entity"]


def test_rows_of_the_log_come_back_as_they_were() -> None:
    entry = curation_row((3, 1.5, "alias", '["ada", "艾达"]', '["Ada", "艾达"]', "{}"))
    assert (entry.number, entry.at, entry.keys, entry.names) == (3, 1.5, ("ada", "艾达"), ("Ada", "艾达"))


async def test_documents_that_are_committed_later_are_folded_under_the_new_log(engine: Engine) -> None:
    await engine.delete_entity("Zuse")
    await engine.delete(["ada"])
    workspace: Any = engine._workspace
    late: Any = Late(workspace, curating.undo(engine.context, workspace, 1))  # changes no row
    engine._workspace = late
    await engine.insert([MORE])
    engine._workspace = workspace
    zuse = await engine.entity("Zuse")
    assert zuse is not None and zuse.description == "in a museum"
    await contents(engine)
