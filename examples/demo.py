"""The demo: ingest the articles beside this file, and answer three questions that need more than one of them.

Works offline with the built-in extractor and embedder. With OPENAI_API_KEY or OPENAI_BASE_URL set, an LLM
extracts and answers, into a workspace of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from stateless_rag import Answer, Engine, InsertReport, Retrieval, StatelessRagError
from stateless_rag.cli.engines import open_engine
from stateless_rag.cli.files import find_files, read_documents
from stateless_rag.cli.ingest import report_costs
from stateless_rag.cli.output import short_source
from stateless_rag.cli.progress import IngestProgress
from stateless_rag.cli.query import reference_line
from stateless_rag.settings import Configuration, from_env

if TYPE_CHECKING:
    import rustworkx

    from stateless_rag import Entity, Relation

HERE = Path(__file__).parent
QUESTIONS, PASSAGES, ENTITIES, RELATIONS = 3, 5, 6, 4
NOT_NAMES = frozenset({"date", "number", "term"})  # types of the built-in extractor that make dull paths


async def demo(console: Console, configuration: Configuration) -> None:
    async with open_engine(configuration, create=True, note=console.print) as engine:
        console.print(f"Ingesting {HERE / 'corpus'} into {configuration.root} …", style="bold")
        report = await ingest(engine, console)
        tell_report(console, report)
        info = await engine.describe()
        console.print(
            f"The workspace holds {sum(info.documents.values())} documents, {info.chunks} chunks, "
            f"{info.entities} entities and {info.relations} relations.\n"
        )
        graph = await engine.graph()
        for asked in json.loads((HERE / "questions.json").read_text(encoding="utf-8"))[:QUESTIONS]:
            console.rule(style="dim")
            console.print(f"{asked['question']}\n", style="bold")
            retrieval = await answer(engine, console, asked["question"])
            tell_passages(console, retrieval)
            tell_graph(console, retrieval, graph)
            console.print(f"  Expected answer: {asked['answer']}\n", style="green")
        if engine.context.llm is None:
            console.print("These were passages only. With OPENAI_API_KEY set, `make demo` answers in words.")


async def ingest(engine: Engine, console: Console) -> InsertReport:
    files = find_files([HERE / "corpus"])
    documents = read_documents(files, lambda file, why: console.print(f"skipped {file}: {why}"))
    with IngestProgress(console, len(files)) as progress:
        async with aclosing(documents), aclosing(engine.insert_events(documents)) as events:
            async for event in events:
                progress(event)
                if isinstance(event.report, InsertReport):
                    return event.report
    raise StatelessRagError("the ingest ended without a report")


def tell_report(console: Console, report: InsertReport) -> None:
    unchanged = sum(document.unchanged for document in report.documents)
    done = len(report.documents) - len(report.failed)
    console.print(
        f"{done} documents ready ({unchanged} unchanged since the last run), {len(report.failed)} failed, "
        f"in {report.seconds:.1f} s; {report_costs(report.usage)}"
    )
    for document in report.failed:
        console.print(f"  failed: {short_source(document.source)}: {document.error}")


async def answer(engine: Engine, console: Console, question: str) -> Retrieval:
    """Print an answer as it streams, if there is an LLM; return what was found."""
    if engine.context.llm is None:
        return await engine.retrieve(question)
    async with aclosing(engine.stream(question, response_type="One short paragraph")) as pieces:
        async for piece in pieces:
            if isinstance(piece, Answer):
                console.print("\n")
                return piece.retrieval
            console.print(piece, end="")
    raise StatelessRagError("the answer broke off")


def tell_passages(console: Console, retrieval: Retrieval) -> None:
    for passage, reference in list(zip(retrieval.passages, retrieval.references, strict=True))[:PASSAGES]:
        near = "" if passage.similarity is None else f", similarity {passage.similarity:.2f}"
        console.print(f"  {reference_line(reference)}{near}", style="cyan")
        text = " ".join(passage.text.split())
        console.print(f"      {text[:180].rstrip()} …")
        named = [trail.partition(":")[2] for trail in passage.found_by if ":" in trail]
        ways = ["similarity"] if len(named) < len(passage.found_by) else []
        console.print(f"      found by {', '.join([*ways, *named[:6]])}", style="dim")


def tell_graph(console: Console, retrieval: Retrieval, graph: rustworkx.PyGraph[Entity, Relation]) -> None:
    led = {trail for passage in retrieval.passages[:PASSAGES] for trail in passage.found_by}
    entities = [e.name for e in retrieval.entities if f"entity:{e.name}" in led]
    relations = [r for r in retrieval.relations if f"relation:{r.source}—{r.target}" in led]
    relations.sort(key=lambda relation: relation.keywords[:1] in ((), ("occurs with",)))
    console.print(f"  Entities that led there: {', '.join(entities[:ENTITIES])}")
    console.print("  Relations that led there:")
    for relation in relations[:RELATIONS]:
        console.print(f"    {said(relation)}")
    path = path_between_passages(retrieval, graph)
    if path:
        console.print(f"  From the first passage to the second: {' → '.join(path)}")


def said(relation: Relation) -> str:
    return f"{relation.source} — {', '.join(relation.keywords[:3]) or 'related to'} — {relation.target}"


def path_between_passages(retrieval: Retrieval, graph: rustworkx.PyGraph[Entity, Relation]) -> list[str]:
    """The names on the shortest way, by relations stated most often, between what two passages are about."""
    import rustworkx

    titles = [passage.text.partition("\n")[0].lstrip("# ").casefold() for passage in retrieval.passages[:2]]
    names = graph.filter_nodes(lambda entity: entity.type not in NOT_NAMES)
    part = graph.subgraph(list(names))
    places = {entity.key: place for place, entity in zip(part.node_indices(), part.nodes(), strict=True)}
    if len(titles) < 2 or not places.keys() >= set(titles):
        return []
    start, stop = (places[title] for title in titles)
    paths = rustworkx.dijkstra_shortest_paths(part, start, stop, weight_fn=lambda r: 1 + 1 / r.weight)
    return [part[place].name for place in paths[stop]] if stop in paths else []


def main() -> int:
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    try:
        found = from_env(os.environ)
        configuration = Configuration(
            root=sys.argv[1] if len(sys.argv) > 1 else "demo-data",
            workspace="demo-offline" if found.offline else "demo-llm",
            api_key=found.api_key,
            base_url=found.base_url,
            llm_model=found.llm_model,
            embed_model=found.embed_model,
            llm_calls=found.llm_calls,
        )
        asyncio.run(demo(console, configuration))
    except StatelessRagError as error:
        console.print(f"error: {error}", style="red")
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted; run the demo again to go on.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
