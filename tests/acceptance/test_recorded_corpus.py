"""A real corpus with recorded extractions: what comes out is what the recording holds."""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from stateless_rag import Document, Engine, Settings
from stateless_rag.settings import ExtractSettings
from stateless_rag.stages.records import parse_records
from stateless_rag.testing import RecordedLLM
from stateless_rag.text import entity_key, relation_key
from stateless_rag.types import Status

SHARED = Path(os.environ.get("STATELESS_RAG_SHARED", Path(__file__).parents[3] / "shared"))
FOLDER = SHARED / "data" / "quality" / "musique_train100"

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"{FOLDER} is not there (set STATELESS_RAG_SHARED)"),
    pytest.mark.asyncio(loop_scope="module"),
]


def load(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


# The first 700 hold what the questions below ask for.
@pytest.fixture(scope="module", params=[700, pytest.param(1890, marks=pytest.mark.slow)])
def passages(request: pytest.FixtureRequest) -> list[dict[str, str]]:
    read: list[dict[str, str]] = load("corpus.json")[: request.param]
    assert len(read) == request.param
    return read


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def engine(
    tmp_path_factory: pytest.TempPathFactory, passages: list[dict[str, str]]
) -> AsyncIterator[Engine]:
    settings = Settings(extraction=ExtractSettings(gleaning=0))
    root = tmp_path_factory.mktemp("recorded")
    async with Engine.open(root, llm=RecordedLLM(FOLDER / "openie.json"), settings=settings) as opened:
        documents = [Document(f"{p['title']}\n{p['text']}", id=p["id"]) for p in passages]
        report = await opened.insert(documents)
        assert report.counts == {Status.PROCESSED: len(passages)}
        assert report.usage["extract"].calls == len({document.text for document in documents})
        yield opened


def recorded(ids: set[str]) -> tuple[set[str], set[tuple[str, str]]]:
    """Entity keys and pairs of keys that the recording holds, by the rules of the record format."""
    keys: set[str] = set()
    pairs: set[tuple[str, str]] = set()
    for doc in load("openie.json")["docs"]:
        if doc["idx"] not in ids:
            continue
        lines = [f"entity<|#|>{name}<|#|>x<|#|>said" for name in doc["extracted_entities"]]
        triples = [t for t in doc["extracted_triples"] if len(t) == 3]
        lines += [f"relation<|#|>{s}<|#|>{o}<|#|>{p}<|#|>said" for s, p, o in triples]
        lines += [f"entity<|#|>{end}<|#|>x<|#|>said" for s, _, o in triples for end in (s, o)]
        found = parse_records("\n".join([*lines, "<|COMPLETE|>"]))
        keys |= {entity_key(name) for name, _, _ in found.entities}
        ends = [(entity_key(source), entity_key(target)) for source, target, _, _ in found.relations]
        pairs |= {relation_key(*pair) for pair in ends if pair[0] != pair[1]}
        keys |= {key for pair in ends for key in pair if pair[0] != pair[1]}
    return keys, pairs


async def test_counts_match_the_recording(engine: Engine, passages: list[dict[str, str]]) -> None:
    keys, pairs = recorded({passage["id"] for passage in passages})
    info = await engine.describe()
    assert info.chunks == len(passages)
    graph = await engine.graph()
    entities = {entity.key for entity in graph.nodes()}
    assert {relation_key(r.source_key, r.target_key) for r in graph.edges()} == pairs
    assert info.relations == len(pairs)
    assert entities <= keys
    assert info.entities == len(keys)


@pytest.mark.parametrize("mode", ["naive", "local", "global", "hybrid", "mix"])
async def test_questions_find_passages(engine: Engine, mode: Any) -> None:
    """Far above chance in every mode (ten of 700 passages by chance: one percent and a half)."""
    found = wanted = 0
    for question in load("questions.json")[:30]:
        retrieval = await engine.retrieve(
            question["question"],
            mode=mode,
            low_level_keywords=(question["question"],),
            high_level_keywords=(question["question"],),
        )
        first = list(dict.fromkeys(passage.document_id for passage in retrieval.passages))[:10]
        found += len(set(first) & set(question["gold"]))
        wanted += len(question["gold"])
    assert found / wanted > 0.3


async def test_a_multi_hop_question_finds_its_gold_passages(engine: Engine) -> None:
    """Three hops; the graph leads to a passage that the question's words do not."""
    question = next(q for q in load("questions.json") if q["id"] == "3hop2__523253_69760_609883")
    dense = await engine.retrieve(question["question"], mode="naive")
    assert not set(question["gold"]) <= {passage.document_id for passage in dense.passages}
    answer = await engine.query(question["question"], mode="mix", only_context=True)
    assert set(question["gold"]) <= {reference.document_id for reference in answer.references}
    for reference in answer.references:
        document = await engine.document(reference.document_id)
        assert document is not None
        assert document.text[reference.start : reference.stop] in answer.context


async def test_deleting_documents_leaves_no_orphan(engine: Engine) -> None:
    ids = [f"mt{n:05}" for n in range(85)]
    before = await engine.describe()
    report = await engine.delete(ids)
    assert report.deleted == tuple(ids)
    after = await engine.describe()
    assert after.chunks == before.chunks - 85
    graph = await engine.graph()
    assert graph.num_edges() == after.relations == before.relations - report.relations_removed
    assert all(document.id not in ids for document in await engine.documents())
