"""docs/many-projects.md: its commands run, its settings can be read, and its nginx files name the same projects."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from integration.folders import Doc, Piece, lightrag_folder
from server.serving import listening
from server.test_http_page import output
from stateless_rag.cli.app import run
from stateless_rag.server.configuration import read_configuration
from stateless_rag.server.dotenv import parse_dotenv
from stateless_rag.server.workspace_of import HEADERS

if TYPE_CHECKING:
    import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "many-projects.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROJECTS = {"erp": "Ada Lovelace", "crm": "Charles Babbage", "wiki": "Mary Somerville"}
ADDRESS = "http://127.0.0.1:9621"


def blocks(kind: str) -> list[str]:
    return [body for language, body in FENCE.findall(PAGE) if language == kind]


def block(kind: str) -> str:
    [found] = blocks(kind)
    return found


def old_servers(folder: Path) -> None:
    for project, person in PROJECTS.items():
        told = ((person, "Person", f"{person} wrote notes."),)
        doc = Doc(project, (Piece(f"{person} wrote notes.", told),), path=f"{project}.txt")
        lightrag_folder(folder / "servers" / project / "rag_storage", [doc])


async def asked(folder: Path) -> list[str]:
    async with listening(folder / "rag", options=None) as address:
        script = block("bash").replace(ADDRESS, address).replace("\ncurl", "; echo\ncurl")
        return (await output("bash", "-ec", script, cwd=folder)).splitlines()


def test_what_is_imported_is_served_to_each_project_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    old_servers(tmp_path)
    for line in block("console").splitlines():
        program, *arguments = shlex.split(line.removeprefix("$ "))
        assert program == "stateless-rag"
        assert run(arguments, {}) == 0
    projects, erp, crm, wiki, answer = map(json.loads, asyncio.run(asked(tmp_path)))
    assert {each["name"] for each in projects["projects"]} == set(PROJECTS)
    assert erp["status_counts"]["processed"] == wiki["status_counts"]["processed"] == 1
    assert crm == ["Charles Babbage"]
    assert "Ada Lovelace wrote notes." in answer["response"]
    assert not any(person in answer["response"] for person in ("Charles", "Mary"))


def test_the_env_file_means_something_line_by_line() -> None:
    given = parse_dotenv(block("env"))
    found = read_configuration({}, dotenv=given)
    assert found.ignored == ()
    assert (found.host, found.port, found.server.root) == ("127.0.0.1", 9621, "rag")
    assert (found.server.default_workspace, found.server.llm_calls, found.server.max_open) == ("erp", 16, 64)
    assert (found.llm.llm_model, found.embedding.embed_model) == ("gpt-5-mini", "text-embedding-3-small")
    for name in given:
        without = {key: value for key, value in given.items() if key != name}
        if given[name] not in (
            "127.0.0.1",
            "9621",
            "16",
            "900",
            "openai",
            "gpt-5-mini",
            "text-embedding-3-small",
        ):
            assert read_configuration({}, dotenv=without) != found, f"{name} changes nothing"


def test_the_config_file_can_be_read() -> None:
    found = read_configuration(
        {}, config=block("toml").replace('"…"', '"a-key"', 1).replace("…", "other-key")
    )
    assert found.server.quota.requests_per_minute == 600
    assert [(key.name, key.workspaces, key.access) for key in found.server.keys] == [
        ("erp", ("erp",), "write"),
        ("operator", ("*",), "admin"),
    ]


def test_the_nginx_files_name_the_same_projects() -> None:
    before, after = blocks("nginx")
    hosts = re.findall(r"server_name (\S+);", before)
    mapped = dict(re.findall(r"^ {4}(\S+)\s+(\w+);$", after.partition("}")[0], re.MULTILINE))
    assert mapped == {host: host.partition(".")[0] for host in hosts}
    assert set(mapped.values()) == set(PROJECTS)
    served, by_path = re.findall(r"server_name ([^;]+);", after)
    assert (served.split(), by_path) == (hosts, "rag.example.com")
    assert f"({'|'.join(PROJECTS)})/" in after
    assert set(re.findall(r"proxy_pass (http://[^/;]+)", after)) == {ADDRESS}
    # A client's own header must not name another project.
    headers = {name.lower() for name in re.findall(r"proxy_set_header (\S+) ", after)}
    assert {name.lower() for name in HEADERS} <= headers


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", PAGE):
        assert (Path(__file__).parents[2] / "docs" / link).is_file(), link
