"""A check finds every fault that is planted, and a repair mends it: afterwards the workspace is as it was."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import duckdb
import pytest

from stateless_rag import Document, Engine, ExtractSettings, MergeSettings, Settings, Store
from stateless_rag.curation_log import CurationLog
from stateless_rag.errors import ProviderRejected
from stateless_rag.kinds import entity_row_id
from stateless_rag.settings import StoreSettings
from stateless_rag.stores.duckdb.names import schema_name
from stateless_rag.stores.evidence import EvidenceView
from stateless_rag.stores.faiss.segments import VectorIndex
from stateless_rag.stores.graph import GraphView
from stateless_rag.stores.links import Links
from stateless_rag.sync import Engine as SyncEngine
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.testing.dump import dump
from unit.scripted import WordTokenizer

NAME = "kept"
SETTINGS = Settings(
    extraction=ExtractSettings(gleaning=0),
    merging=MergeSettings(summarize_from=3, summary_max_tokens=40),
)
PEOPLE = ("Ada Lovelace", "Charles Babbage", "Mary Somerville")
DOCUMENTS = [
    Document(
        "Ada Lovelace met Charles Babbage in London. Alan Turing read Ada Lovelace.",
        id="one",
        source="one.txt",
        metadata={"year": 1843},
    ),
    Document("Grace Hopper wrote COBOL in Arlington. Ada Lovelace never met Grace Hopper.", id="two"),
    Document(
        "\n\n".join(f"{PEOPLE[n % 3]} wrote letter {n} to Charles Babbage." * 9 for n in range(6)), id="three"
    ),
    Document("Ada Lovelace knew Michael Faraday. Charles Babbage knew Michael Faraday.", id="four"),
]


ASIDE = Document("Emmy Noether taught in Erlangen. Emmy Noether met David Hilbert.", id="aside")
ADA = entity_row_id("ada lovelace")
TABLES = (
    "disabled",
    "coming",
    "documents",
    "chunks",
    "mentions",
    "entities",
    "relations",
    "vectors",
    "pending",
    "given",
    "journal",
    "aliases",
)


def options() -> dict[str, Any]:
    return {
        "llm": DeterministicLLM(),
        "embedder": DeterministicEmbedder(8),
        "tokenizer": WordTokenizer(),
        "settings": SETTINGS,
    }


def some_chunks(engine: Engine) -> list[int]:
    return list(map(int, engine._workspace.view.pieces.ids()[:1]))


class Unfinished(DeterministicEmbedder):
    """Another embedder, that gives some vectors and then no more."""

    given = 0

    @property
    def max_batch(self) -> int:
        return 4

    async def embed(self, texts: Sequence[str], *, role: Any) -> Any:
        self.given += 1
        if self.given > 2:
            raise ProviderRejected("no more")
        return await super().embed(texts, role=role)


async def contents(engine: Engine) -> dict[str, Any]:
    """What a workspace holds, documents that are disabled and vectors to come included."""
    select = engine._workspace._reader.select
    schema = engine._workspace.schema
    aside = select(f"SELECT * EXCLUDE (updated_at) FROM {schema}.disabled ORDER BY ALL", [])
    coming = select(f"SELECT * FROM {schema}.coming ORDER BY ALL", [])
    return {**await dump(engine), "disabled": aside, "coming": coming}


@asynccontextmanager
async def opened(root: Path, store_settings: StoreSettings | None = None) -> AsyncIterator[Engine]:
    async with Store.open(root, store_settings) as store, Engine.open(store, NAME, **options()) as engine:
        yield engine


async def filled(root: Path, store_settings: StoreSettings | None = None) -> dict[str, Any]:
    async with opened(root, store_settings) as engine:
        report = await engine.insert(DOCUMENTS)
        assert not report.failed
        await engine.alias("Countess of Lovelace", "Ada Lovelace")
        await engine.edit_entity("London", description="The capital.")
        await engine.insert(ASIDE)
        await engine.disable("aside")
        with pytest.raises(ProviderRejected):
            await engine.reembed(Unfinished(6))
        await engine.submit([Document("Konrad Zuse built the Z3.", id="later")])
        return await contents(engine)


def plant(root: Path, *statements: str) -> None:
    """Change the tables of a closed store behind the library's back."""
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{root / 'stateless_rag.duckdb'}' AS root")
        run(connection, f'root."{schema_name(NAME)}"', statements)


def run(cursor: Any, schema: str, statements: Sequence[str]) -> None:
    for statement in statements:
        for table in TABLES:
            statement = re.sub(rf"\b(FROM|INTO|UPDATE) {table}\b", rf"\1 {schema}.{table}", statement)
        done = cursor.execute(statement).fetchall()
        assert not done or done[0][0], f"nothing was changed by {statement}"


class Planted(NamedTuple):
    kind: str
    statements: tuple[str, ...]


MENDED = [
    Planted("duplicate_documents", ("INSERT INTO documents SELECT * FROM documents WHERE id = 'one'",)),
    Planted("duplicate_chunks", ("INSERT INTO chunks SELECT * FROM chunks WHERE document_id = 'one'",)),
    Planted("duplicate_mentions", ("INSERT INTO mentions SELECT * FROM mentions LIMIT 3",)),
    Planted("duplicate_entities", ("INSERT INTO entities SELECT * FROM entities WHERE key = 'london'",)),
    Planted("duplicate_relations", ("INSERT INTO relations SELECT * FROM relations LIMIT 1",)),
    Planted(
        "duplicate_relations",
        ("INSERT INTO relations SELECT * REPLACE ('other' AS description) FROM relations LIMIT 1",),
    ),
    Planted("duplicate_vectors", ("INSERT INTO vectors SELECT * FROM vectors LIMIT 4",)),
    Planted(
        "duplicate_vectors",
        ("INSERT INTO vectors SELECT digest, [1,0,0,0,0,0,0,0]::FLOAT[8] FROM vectors LIMIT 4",),
    ),
    Planted("duplicate_pending", ("INSERT INTO pending SELECT * FROM pending",)),
    Planted(
        "orphan_chunks",
        ("INSERT INTO chunks SELECT * REPLACE ('gone' AS document_id, 5 AS id) FROM chunks LIMIT 1",),
    ),
    Planted(
        "orphan_mentions", ("INSERT INTO mentions SELECT * REPLACE (77 AS chunk) FROM mentions LIMIT 2",)
    ),
    Planted("duplicate_disabled", ("INSERT INTO disabled SELECT * FROM disabled",)),
    Planted("disabled_too", ("INSERT INTO disabled SELECT * REPLACE ('one' AS id) FROM disabled",)),
    Planted("disabled_chunks", ("UPDATE disabled SET content = '[]'",)),
    Planted("disabled_chunks", ("UPDATE disabled SET content = replace(content, '[0, 0,', '[0, 1,')",)),
    Planted("disabled_chunks", ("UPDATE disabled SET content = '{'",)),
    Planted("disabled_chunks", ("UPDATE disabled SET chunks = 5",)),
    Planted("duplicate_coming", ("INSERT INTO coming SELECT * FROM coming LIMIT 2",)),
    Planted(
        "bad_coming",
        (
            "UPDATE coming SET vector = repeat(['nan'::FLOAT], 6) WHERE digest IN (SELECT min(digest) FROM coming)",
        ),
    ),
    Planted(
        "long_coming",
        (
            "UPDATE coming SET vector = [2,0,0,0,0,0]::FLOAT[6] WHERE digest IN (SELECT max(digest) FROM coming)",
        ),
    ),
    Planted("orphan_given", ("INSERT INTO given VALUES (12345, '{}')",)),
    Planted("foreign_mentions", ("UPDATE chunks SET generation = 'llm-other' WHERE document_id = 'four'",)),
    Planted(
        "foreign_mentions",
        (
            "UPDATE mentions SET generation = 'llm-other' WHERE source_key = 'grace hopper' AND target_key IS NULL",
        ),
    ),
    Planted("missing_chunk_vectors", ("DELETE FROM vectors WHERE digest IN (SELECT vector FROM chunks)",)),
    Planted("missing_entity_vectors", ("DELETE FROM vectors WHERE digest IN (SELECT vector FROM entities)",)),
    Planted(
        "missing_relation_vectors", ("DELETE FROM vectors WHERE digest IN (SELECT vector FROM relations)",)
    ),
    Planted(
        "bad_vectors",
        (
            "UPDATE vectors SET vector = repeat(['nan'::FLOAT], 8) WHERE digest IN (SELECT vector FROM chunks)",
        ),
    ),
    Planted(
        "long_vectors",
        (
            "UPDATE vectors SET vector = [3,0,0,0,0,0,0,0]::FLOAT[8] WHERE digest IN (SELECT vector FROM entities)",
        ),
    ),
    Planted("future_rows", ("UPDATE entities SET embedded = 999 WHERE key = 'london'",)),
    Planted(
        "replies_at_odds",
        ("INSERT INTO journal SELECT * REPLACE ('x' AS reply) FROM journal WHERE reply <> ''",),
    ),
    Planted("replies", ("UPDATE journal SET reply = 'Nothing.<|COMPLETE|>' WHERE purpose = 'extract'",)),
    Planted("document_text", ("UPDATE documents SET text = replace(text, 'met', 'MET') WHERE id = 'one'",)),
    Planted("document_text", ("UPDATE documents SET text = '' WHERE id = 'two'",)),
    Planted("document_chunks", ("UPDATE documents SET chunks = 7 WHERE id = 'one'",)),
    Planted("document_chunks", ("UPDATE chunks SET text = 'no' WHERE document_id = 'one'",)),
    Planted("document_chunks", ("UPDATE chunks SET start = start + 1 WHERE document_id = 'three'",)),
    Planted("document_chunks", ("UPDATE chunks SET ordinal = ordinal + 1 WHERE document_id = 'three'",)),
    Planted("document_chunks", ("UPDATE chunks SET tokens = tokens + 1 WHERE document_id = 'three'",)),
    Planted("document_chunks", ("UPDATE chunks SET digest = 'd' WHERE document_id = 'two'",)),
    Planted("document_chunks", ("UPDATE chunks SET vector = 'v' WHERE document_id = 'two'",)),
    Planted("document_chunks", ("DELETE FROM chunks WHERE document_id = 'two'",)),
    Planted(
        "document_chunks",
        (
            "DELETE FROM mentions WHERE chunk IN (SELECT id FROM chunks WHERE document_id = 'three')",
            "DELETE FROM chunks WHERE document_id = 'three'",
        ),
    ),
    Planted("document_chunks", ("UPDATE chunks SET id = 99 WHERE document_id = 'two'",)),
    Planted("mentions", ("DELETE FROM mentions WHERE source_key = 'alan turing'",)),
    Planted("mentions", ("UPDATE mentions SET description = 'made up' WHERE source_key = 'cobol'",)),
    Planted("mentions", ("UPDATE mentions SET source_key = 'cobal' WHERE source_key = 'cobol'",)),
    Planted("mentions", ("UPDATE mentions SET label = 'Creature' WHERE source_key = 'cobol'",)),
    Planted("mention_rows", ("UPDATE mentions SET id = 5 WHERE source_key = 'london'",)),
    Planted("mention_rows", ("UPDATE mentions SET id = NULL WHERE target_key IS NOT NULL",)),
    Planted("aliases", ("DELETE FROM aliases",)),
    Planted("aliases", ("INSERT INTO aliases VALUES ('babbage', 'charles babbage')",)),
    Planted("entities_fold", ("UPDATE entities SET state = replace(state, '[', '[1') WHERE key = 'london'",)),
    Planted("entities_values", ("UPDATE entities SET weight = weight + 1 WHERE key = 'ada lovelace'",)),
    Planted("entities_values", ("UPDATE entities SET name = 'LONDON' WHERE key = 'london'",)),
    Planted("entities_values", ("UPDATE entities SET type = 'Creature' WHERE key = 'london'",)),
    Planted("entities_description", ("UPDATE entities SET description = 'Wrong.' WHERE key = 'london'",)),
    Planted("entities_description", ("UPDATE entities SET description = 'Wrong.' WHERE key = 'cobol'",)),
    Planted(
        "entities_description", ("UPDATE entities SET description = 'Wrong.' WHERE key = 'charles babbage'",)
    ),
    Planted("entities_description", ("UPDATE entities SET description = '' WHERE key = 'charles babbage'",)),
    Planted("entities_tokens", ("UPDATE entities SET tokens = tokens + 1 WHERE key = 'london'",)),
    Planted(
        "entities_vector",
        ("UPDATE entities SET vector = (SELECT vector FROM chunks LIMIT 1) WHERE key = 'london'",),
    ),
    Planted("missing_entities", ("DELETE FROM entities WHERE key IN ('london', 'charles babbage')",)),
    Planted(
        "unfounded_entities",
        ("INSERT INTO entities SELECT * REPLACE (4 AS id, 'nobody' AS key) FROM entities LIMIT 1",),
    ),
    Planted("relations_fold", ("UPDATE relations SET state = replace(state, '[', '[1')",)),
    Planted("relations_ends", ("UPDATE relations SET left_id = right_id, right_id = left_id",)),
    Planted("relations_ends", ("UPDATE relations SET left_id = 3",)),
    Planted("relations_values", ("UPDATE relations SET keywords = 'nothing'",)),
    Planted("relations_values", ("UPDATE relations SET weight = weight + 2",)),
    Planted("relations_description", ("UPDATE relations SET description = 'Wrong.'",)),
    Planted("relations_tokens", ("UPDATE relations SET tokens = 0",)),
    Planted("relations_vector", ("UPDATE relations SET vector = 'v'",)),
    Planted("missing_relations", ("DELETE FROM relations",)),
    Planted(
        "unfounded_relations", ("INSERT INTO relations SELECT * REPLACE (4 AS id) FROM relations LIMIT 1",)
    ),
]


def kinds(faults: Any) -> set[str]:
    return {fault.kind for fault in faults}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    root = tmp_path_factory.mktemp("whole") / "root"
    return root, asyncio.run(filled(root))


class Session:
    """One workspace for many faults: it is as it was before the next one, or it is made anew."""

    def __init__(self, source: Path, scratch: Path, wanted: dict[str, Any]) -> None:
        self.source, self.scratch, self.wanted = source, scratch, wanted
        self.engine = self._opened(0)
        self.count = 0
        self.replies = self._replies()

    def _opened(self, number: int) -> SyncEngine:
        root = Path(shutil.copytree(self.source, self.scratch / str(number)))
        return SyncEngine.open(root, NAME, **options())

    def _replies(self) -> int:
        return len(self.engine._engine._workspace.select("journaled"))

    def dump(self) -> dict[str, Any]:
        return self.engine._runner.run(contents(self.engine._engine))

    def plant(self, statements: Sequence[str]) -> None:
        workspace = self.engine._engine._workspace

        def apply(cursor: Any, _: int) -> None:
            run(cursor, workspace.schema, statements)

        self.engine._runner.run(workspace.rewrite(workspace.revision, apply))

    def ready(self) -> SyncEngine:
        if self.dump() != self.wanted or self._replies() != self.replies:
            self.count += 1
            self.engine.close()
            self.engine = self._opened(self.count)
        return self.engine


@pytest.fixture(scope="module")
def session(
    whole: tuple[Path, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Session]:
    made = Session(whole[0], tmp_path_factory.mktemp("session"), whole[1])
    yield made
    made.engine.close()


@pytest.fixture
def root(whole: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole[0], tmp_path / "root"))


async def test_nothing_is_wrong_with_a_workspace_that_nobody_damaged(root: Path) -> None:
    async with opened(root) as engine:
        for _ in range(2):
            report = await engine.check(deep=True)
            assert report.faults == () and report.ok
            assert report.unverified == 0
            await engine.query("Who knew Michael Faraday?", mode="mix")
            await engine.query("Who knew Michael Faraday?", mode="walk")
        assert report.counts["documents"] == len(DOCUMENTS)
        again = await engine.repair()
        assert again.ok and again.found == () and again.revision == engine.revision == report.revision


# A repair takes as long for three faults as for one.
@pytest.mark.parametrize(
    "planted",
    [MENDED[start :: len(MENDED) // 3] for start in range(len(MENDED) // 3)],
    ids=lambda planted: ", ".join(one.kind for one in planted),
)
def test_planted_faults_are_found_and_mended(planted: Sequence[Planted], session: Session) -> None:
    engine = session.ready()
    wanted = {one.kind for one in planted}
    for one in planted:
        session.plant(one.statements)
    repaired = engine.repair()
    assert wanted <= kinds(repaired.found), repaired
    assert all(fault.repairable for fault in repaired.found), repaired
    assert repaired.left == (), repaired
    assert repaired.lost == (("gone",) if "orphan_chunks" in wanted else ())
    found = session.dump()
    came = {
        row[0]: row[1] for row in found.pop("coming")
    }  # what was damaged is embedded again by who goes on
    assert found == {name: rows for name, rows in session.wanted.items() if name != "coming"}
    before = {row[0]: row[1] for row in session.wanted["coming"]}
    assert came.items() <= before.items() and (came == before or any("coming" in kind for kind in wanted))
    answer = engine.query("Who knew Michael Faraday?", mode="walk")
    assert any("Faraday" in passage.text for passage in answer.retrieval.passages)


@pytest.mark.parametrize(
    "planted",
    [
        next(one for one in MENDED if one.kind == kind)
        for kind in (
            "duplicate_relations",
            "duplicate_chunks",
            "duplicate_vectors",
            "bad_vectors",
            "missing_entities",
            "document_chunks",
        )
    ],
    ids=lambda planted: planted.kind,
)
async def test_a_damaged_workspace_can_be_opened_and_mended(
    planted: Planted, root: Path, whole: tuple[Path, dict[str, Any]]
) -> None:
    plant(root, *planted.statements)
    async with opened(root) as engine:
        assert planted.kind in kinds((await engine.check(deep=True)).faults)
        assert (await engine.repair()).ok
        assert await contents(engine) == whole[1]
    async with opened(root) as engine:
        assert (await engine.check(deep=True)).faults == ()


def test_all_faults_at_once(session: Session) -> None:
    """Together they hide parts of each other; what is mended is whole all the same."""
    engine = session.ready()
    chosen = [
        one for one in MENDED if one.kind not in ("document_text", "replies", "replies_at_odds", "mentions")
    ]
    before = engine.check(deep=True)
    for planted in reversed(chosen):
        try:
            session.plant(planted.statements)
        except AssertionError:  # another one has taken what it would damage
            continue
    report = engine.repair()
    assert len(kinds(report.found)) > 15
    assert report.left == (), report
    assert engine.check(deep=True).faults == before.faults == ()


# ---- what cannot be mended -----------------------------------------------------------------------------

LOST = [
    ("disabled_text", ("UPDATE disabled SET text = replace(text, 'met', 'MET')",), "aside"),
    (
        "disabled_chunks",
        (
            "UPDATE disabled SET content = '[]'",
            "UPDATE journal SET reply = NULL WHERE reply LIKE '%Noether%'",
        ),
        "aside",
    ),
    ("document_text", ("UPDATE documents SET text = 'x' || text, digest = 'd' WHERE id = 'one'",), "one"),
    (
        "document_chunks",
        ("UPDATE documents SET chunks = 9 WHERE id = 'cut'",),
        "cut",
    ),
    (
        "document_chunks",
        ("DELETE FROM chunks WHERE document_id = 'cut' AND ordinal = 0",),
        "cut",
    ),
]


@pytest.mark.parametrize(
    ("kind", "statements", "lost"), LOST, ids=lambda value: value if isinstance(value, str) else ""
)
async def test_what_was_lost_is_told(kind: str, statements: tuple[str, ...], lost: str, root: Path) -> None:
    async with opened(root) as engine:
        await engine.insert_chunks(
            ["Lise Meitner lived in Berlin.", "Otto Hahn met Lise Meitner."], document_id="cut"
        )
    plant(root, *statements)
    async with opened(root) as engine:
        report = await engine.check(deep=True)
        (fault,) = [fault for fault in report.faults if fault.kind == kind]
        assert not fault.repairable and lost in fault.examples
        assert "ingest the document again" in fault.advice
        repaired = await engine.repair()
        assert not repaired.ok and repaired.lost == (lost,)
        assert kinds(repaired.left) == {kind}
        # What the advice says helps.
        await engine.delete(lost)
        assert (await engine.check(deep=True)).faults == ()


async def test_metadata_of_what_is_disabled_is_emptied_and_told(root: Path) -> None:
    plant(root, "UPDATE disabled SET metadata = '{'")
    async with opened(root) as engine:
        assert kinds((await engine.check()).faults) == {"disabled_metadata"}
        report = await engine.repair()
        assert report.left == () and report.lost == ("aside",)
        await engine.enable("aside")
        assert await engine.entity("Emmy Noether") is not None


@pytest.mark.parametrize("begun", [False, True], ids=["no change has begun", "of another dimension"])
async def test_vectors_of_no_embedder_are_dropped(begun: bool, root: Path) -> None:
    async with opened(root) as engine:
        recorded = {"embedder": "deterministic-6", "dimension": 9, "unit": True} if begun else None
        await engine._workspace.update_info(lambda info, _: {**info, "reembedding": recorded})
        assert kinds((await engine.check()).faults) == {"foreign_coming"}
        report = await engine.repair()
        assert report.ok and kinds(report.found) == {"foreign_coming"}
        assert (await engine.reembed(DeterministicEmbedder(6))).changed
        assert (await engine.check(deep=True)).faults == ()


async def test_metadata_that_cannot_be_read_is_emptied_and_told(root: Path) -> None:
    plant(root, "UPDATE documents SET metadata = '{' WHERE id = 'one'")
    async with opened(root) as engine:
        assert kinds((await engine.check(deep=True)).faults) == {"document_metadata"}
        report = await engine.repair()
        assert report.left == () and report.lost == ("one",) and not report.ok
        assert (await engine.document("one")).metadata == {}  # type: ignore[union-attr]
        await engine.insert(DOCUMENTS[0])
        assert (await engine.document("one")).metadata == {"year": 1843}  # type: ignore[union-attr]


async def test_chunks_cut_by_the_caller_are_mended_in_place(root: Path) -> None:
    async with opened(root) as engine:
        await engine.insert_chunks(
            ["Lise Meitner lived in Berlin.", "Otto Hahn met Lise Meitner."], document_id="cut"
        )
        before = await dump(engine)
    plant(root, "UPDATE chunks SET text = 'x', tokens = 1, vector = 'v' WHERE document_id = 'cut'")
    async with opened(root) as engine:
        assert (await engine.repair()).ok
        assert await dump(engine) == before


# ---- files and memory ----------------------------------------------------------------------------------


FILES = StoreSettings(base_rows=3)


@pytest.fixture(scope="module")
def based(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A root whose vectors are in files, and what it holds."""
    root = tmp_path_factory.mktemp("based") / "root"

    async def made() -> dict[str, Any]:
        held = await filled(root, FILES)
        async with opened(root, FILES) as engine:
            for _ in range(3):
                engine._workspace._segments.compact_if_needed()
                await engine._workspace.tidy()
        return held

    return root, asyncio.run(made())


def swap(folder: Path) -> None:
    one, other = sorted(folder.glob("*.base"))[:2]
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def cut(folder: Path, pattern: str) -> None:
    file = next(folder.glob(pattern))
    file.write_bytes(file.read_bytes()[:-9])


def edit(folder: Path, pattern: str) -> None:
    file = next(folder.glob(pattern))
    content = bytearray(file.read_bytes())
    content[len(content) // 8 * 4 + 3] ^= 0x7F  # of a float the exponent
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("when", "damage"),
    [
        ("closed", swap),
        ("closed", lambda folder: cut(folder, "chunk*.base")),
        ("open", lambda folder: cut(folder, "chunk*.base")),
        ("closed", lambda folder: edit(folder, "entity*.base")),
        ("open", lambda folder: next(folder.glob("relation*.base")).unlink()),
        ("closed", lambda folder: cut(folder, "chunk*.rows")),
        ("open", lambda folder: edit(folder, "entity*.rows")),
        ("closed", lambda folder: next(folder.glob("entity*.rows")).unlink()),
    ],
    ids=["swapped", "cut", "cut", "edited", "missing", "rows cut", "rows edited", "rows missing"],
)
async def test_damaged_files_of_vectors(
    when: str, damage: Callable[[Path], None], based: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    source, wanted = based
    root, settings = Path(shutil.copytree(source, tmp_path / "root")), FILES
    folder = root / "faiss" / schema_name(NAME)
    if when == "closed":
        damage(folder)
    async with opened(root, settings) as engine:
        if when == "open":
            assert (await engine.check(deep=True)).faults == ()
            damage(folder)
        assert kinds((await engine.check(deep=True)).faults) == {"segment"}
        assert (await engine.repair()).ok
        assert await contents(engine) == wanted
        await engine._workspace.tidy()  # once the files are written again
        assert (await engine.check(deep=True)).faults == ()
        assert list(folder.glob("*.base"))


def held(engine: Engine, **changes: Any) -> None:
    """Let something else be held in memory than there is."""
    revisions = engine._workspace._revisions
    revisions._last = replace(revisions._last, **changes)
    revisions._views[revisions._last.revision] = revisions._last


def without_one_vector(engine: Engine) -> None:
    vectors = dict(engine._workspace.view.vectors)
    index = VectorIndex(8)
    ids = vectors["entity"].ids()[1:]
    vectors["entity"] = index.apply((ids, vectors["entity"].rows_of(ids)))
    held(engine, vectors=vectors)


def with_vectors_exchanged(engine: Engine) -> None:
    vectors = dict(engine._workspace.view.vectors)
    ids = vectors["chunk"].ids()
    vectors["chunk"] = VectorIndex(8).apply((ids, vectors["chunk"].rows_of(ids)[::-1]))
    held(engine, vectors=vectors)


def with_other_words(engine: Engine) -> None:
    view = engine._workspace.view
    (worded,) = view.indexes._worded
    other = worded.index.apply({}, view.pieces.ids()[:1])
    view.indexes._worded = (replace(worded, index=other),)


def with_other_links(engine: Engine) -> None:
    view = engine._workspace.view
    (linked,) = view.indexes._linked
    other = Links(linked.base, gone_relations=view.graph.arrays()[0][:1].tolist())
    view.indexes._linked = (replace(linked, links=other),)


@pytest.mark.parametrize(
    "damage",
    [
        lambda engine: held(engine, graph=GraphView.empty()),
        lambda engine: held(engine, evidence=EvidenceView.empty()),
        lambda engine: held(engine, aliases=MappingProxyType({})),
        lambda engine: held(engine, curations=CurationLog()),
        lambda engine: held(engine, sources=engine._workspace.view.sources.apply({1: ("x", "{}")})),
        lambda engine: held(engine, entities=engine._workspace.view.entities.apply({}, [ADA])),
        lambda engine: held(engine, pieces=engine._workspace.view.pieces.apply({}, some_chunks(engine))),
        without_one_vector,
        with_vectors_exchanged,
        with_other_words,
        with_other_links,
    ],
    ids=[
        "graph",
        "evidence",
        "aliases",
        "log",
        "sources",
        "entities",
        "chunks",
        "a vector less",
        "vectors exchanged",
        "words",
        "links",
    ],
)
async def test_what_is_held_in_memory_is_made_anew(
    damage: Callable[[Engine], None], root: Path, whole: tuple[Path, dict[str, Any]]
) -> None:
    async with opened(root) as engine:
        await engine.query("Who knew Michael Faraday?", mode="walk")
        await engine._workspace.read(lambda snapshot: snapshot.match_words("Faraday", 1))
        assert (await engine.check(deep=True)).faults == ()
        damage(engine)
        assert kinds((await engine.check(deep=True)).faults) >= {"view"}
        assert (await engine.repair()).ok
        assert await contents(engine) == whole[1]


async def test_others_work_while_a_workspace_is_repaired(root: Path) -> None:
    more = [
        Document(f"Person{n} Smith met Person{n + 1} Smith in Town{n}.", id=f"more{n}") for n in range(12)
    ]
    plant(root, "DELETE FROM entities WHERE key = 'london'", "UPDATE relations SET weight = weight + 2")
    async with opened(root) as engine:
        insert = asyncio.create_task(engine.insert(more))
        report, inserted = await asyncio.gather(engine.repair(), insert)
        assert not inserted.failed
        assert (await engine.check(deep=True)).faults == ()
        assert report.left == ()
