"""`import --server`: what LightRAG has built comes to a server that runs, as new workspaces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from integration.folders import Doc, Piece, lightrag_folder
from server.serving import served
from stateless_rag.cli.app import run
from stateless_rag.server import ApiKey, ServerSettings, create_app


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    settings = ServerSettings(
        root=str(tmp_path / "served"), keys=(ApiKey(key="key"), ApiKey(key="r", access="read"))
    )
    with served(create_app(settings)) as found:
        yield found


def old(folder: Path, *people: str) -> None:
    documents = [
        Doc(
            each,
            (Piece(f"{each} wrote notes.", ((each, "Person", f"{each} wrote notes."),)),),
            path=f"{each}.txt",
        )
        for each in people
    ]
    lightrag_folder(folder, documents)


def test_folders_become_workspaces_of_a_server(
    tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    old(tmp_path / "old" / "erp", "Ada Lovelace", "Grace Hopper")
    old(tmp_path / "old" / "crm", "Mary Somerville")
    at = {"STATELESS_RAG_SERVER": address, "STATELESS_RAG_KEY": "key"}
    assert run(["import", str(tmp_path / "old"), "--all", "--map", "crm=customers", "--json"], at) == 0
    told = json.loads(capsys.readouterr().out)["imports"]
    assert {name: each["documents"]["processed"] for name, each in told.items()} == {"erp": 2, "customers": 1}
    assert run(["graph", "labels", "--workspace", "customers", "--json"], at) == 0
    assert json.loads(capsys.readouterr().out)["labels"] == ["Mary Somerville"]
    with httpx2.Client(base_url=address, headers={"X-API-Key": "key"}) as client:
        listed = client.get("/api/v1/projects").json()["projects"]
    assert [each["name"] for each in listed] == ["customers", "erp"]

    before = run(["import", str(tmp_path / "old" / "erp"), "-w", "erp"], at)
    said = capsys.readouterr().err
    assert (before, "has erp already" in said) == (1, True), said
    assert run(["import", str(tmp_path / "old" / "erp"), "-w", "new", "--replace"], at) == 2
    assert run(["import", str(tmp_path / "old" / "erp"), "-w", "new", "--key", "r"], at) == 1  # may only read
    assert run(["import", str(tmp_path / "nowhere"), "-w", "new"], at) == 2
    with httpx2.Client(base_url=address, headers={"X-API-Key": "key"}) as client:
        assert client.get("/api/v1/projects").json()["total"] == 2
