"""`communities`, `query --mode themes` and `export --communities`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import rustworkx

from integration.command_line import Cli, only_json


@pytest.fixture
def ingested(cli: Cli, corpus: Path) -> Cli:
    assert cli("ingest", str(corpus))[0] == 0
    return cli


def test_communities_are_listed_and_shown(ingested: Cli) -> None:
    code, out, _ = ingested("communities", "--limit", "1")
    assert code == 0 and out.splitlines()[0].split() == ["ENTITIES", "CHUNKS", "LEVEL", "ABOUT", "ID"]
    assert len(out.splitlines()) == 2
    found = only_json(ingested("communities", "--limit", "1000", "--json")[1])["communities"]
    sizes = [one["size"] for one in found]
    assert sizes == sorted(sizes, reverse=True) and sum(sizes) == len(
        only_json(ingested("graph", "labels", "--limit", "100000", "--json")[1])["labels"]
    )
    code, out, _ = ingested("communities", found[0]["id"])
    assert code == 0 and found[0]["members"][0] in out.splitlines()
    code, _, err = ingested("communities", "community-0")
    assert code == 4 and "no community 'community-0'" in err


def test_themes_are_asked_for(ingested: Cli) -> None:
    code, out, _ = ingested("query", "What are the main themes?", "--mode", "themes", "--json")
    answer = only_json(out)
    assert code == 0 and answer["retrieval"]["themes"][0]["title"]
    assert len({passage["document_id"] for passage in answer["retrieval"]["passages"]}) == 5


def test_an_exported_graph_names_communities(ingested: Cli, tmp_path: Path) -> None:
    assert ingested("export", "graph.graphml", "--communities")[0] == 0
    graph = rustworkx.read_graphml(str(tmp_path / "graph.graphml"))[0]
    named = {node["community"] for node in graph.nodes()}
    listed = only_json(ingested("communities", "--level", "99", "--limit", "100000", "--json")[1])
    assert named == {one["id"] for one in listed["communities"]}
    code, _, err = ingested("export", "graph.csv", "--communities")
    assert code == 2 and "communities is True, but csv has no place for them" in err


def test_without_the_library_it_says_what_to_install(ingested: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "graspologic_native", None)
    code, _, err = ingested("communities")
    assert code == 2 and "stateless-rag[communities]" in err
