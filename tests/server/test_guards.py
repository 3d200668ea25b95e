"""What is refused before it is read: bodies of who shows no key, requests by other names of the host."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from server.serving import running
from stateless_rag.cli.app import run
from stateless_rag.server import Account, ApiKey

if TYPE_CHECKING:
    from fastapi import FastAPI

KEYS = (ApiKey(key="right", name="admin"),)
LARGE = 200 * 2**20
WRITING = [
    ("POST", "/api/v1/projects/default/insert_custom_kg"),
    ("POST", "/api/v1/projects/default/import"),
    ("POST", "/api/v1/restore"),
    ("POST", "/api/v1/projects/default/documents"),
    ("PATCH", "/api/v1/projects/default/settings"),
    ("POST", "/w/default/insert_custom_kg"),
    ("POST", "/documents/upload"),
    ("POST", "/documents/text"),
    ("DELETE", "/documents/delete_document"),
    ("POST", "/query"),
    ("POST", "/api/chat"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/nowhere"),
]


async def asked(app: FastAPI, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, bool, Any]:
    """Send a request of 200 MB: its status, whether anything of it was read, and what was said."""
    read, sent = False, []
    said = {"content-length": str(LARGE), "content-type": "application/json", "host": "server"}
    said |= {name.lower(): value for name, value in headers.items()}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in said.items()],
        "client": ("127.0.0.1", 1),
        "server": ("server", 80),
    }

    async def receive() -> dict[str, Any]:
        nonlocal read
        read = True
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], read, json.loads(body)


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer wrong"}])
async def test_without_a_key_nothing_is_read(tmp_path: Path, headers: Mapping[str, str]) -> None:
    large: dict[str, Any] = {
        "max_body": LARGE,
        "max_text_body": LARGE,
        "max_graph_body": LARGE,
        "max_upload": LARGE,
    }
    async with running(tmp_path, keys=KEYS, **large) as client:
        app = client.app  # type: ignore[attr-defined]
        for method, path in WRITING:
            status, read, _ = await asked(app, method, path, headers)
            assert (status in (401, 403), read) == (True, False), path


async def test_with_a_key_it_is_read(tmp_path: Path) -> None:
    accounts: dict[str, Any] = {
        "accounts": (Account(name="ada", password="secret"),),
        "token_secret": "s" * 32,
    }
    async with running(tmp_path, keys=KEYS, max_body=LARGE, max_graph_body=LARGE, **accounts) as client:
        app = client.app  # type: ignore[attr-defined]
        _, read, _ = await asked(app, *WRITING[0], {"X-API-Key": "right"})
        assert read
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        _, read, _ = await asked(app, "POST", "/login", form)
        assert read
    async with running(tmp_path, max_graph_body=LARGE) as client:
        app = client.app  # type: ignore[attr-defined]
        _, read, _ = await asked(app, *WRITING[0], {})
        assert read


async def test_who_may_not_change_anything_sends_nothing(tmp_path: Path) -> None:
    keys = (ApiKey(key="right", access="read"), ApiKey(key="other", workspaces=("another",)))
    large: dict[str, Any] = dict.fromkeys(
        ("max_body", "max_text_body", "max_graph_body", "max_upload"), LARGE
    )
    async with running(tmp_path, keys=keys, **large) as client:
        for method, path in WRITING[:-4]:
            for key in ("right", "other"):
                if path != "/api/v1/restore" or key == "right":  # which says by its query what it makes
                    status, read, told = await asked(client.app, method, path, {"X-API-Key": key})  # type: ignore[attr-defined]
                    assert (status, read) == (403, False), (path, key, told)


async def test_who_may_read_asks(tmp_path: Path) -> None:
    keys = (ApiKey(key="right", access="read"),)
    async with running(tmp_path, keys=keys, max_body=LARGE) as client:
        for path in ("/query", "/api/chat", "/v1/chat/completions"):
            _, read, _ = await asked(client.app, "POST", path, {"X-API-Key": "right"})  # type: ignore[attr-defined]
            assert read, path


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:9621", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1:9621", 200),
        ("[::1]:9621", 200),
        ("localhost.", 200),
        ("evil.example", 400),
        ("localhost.evil.example:9621", 400),
        ("127.0.0.1.evil.example", 400),
        ("evil.example:127.0.0.1", 400),
        ("", 400),
    ],
)
async def test_only_its_own_names_are_answered(tmp_path: Path, host: str, status: int) -> None:
    async with running(tmp_path, allowed_hosts=("127.0.0.1", "localhost", "::1")) as client:
        for path in ("/health", "/api/v1/projects", "/auth-status"):
            answer = await client.get(path, headers={"Host": host})
            assert answer.status_code == status, path
            assert answer.headers["X-Request-ID"]
        made = await client.post("/api/v1/projects", json={"name": "made"}, headers={"Host": host})
        assert made.status_code == (201 if status == 200 else 400)
        there = await client.get("/api/v1/projects/made/health", headers={"Host": "localhost"})
        assert there.json()["exists"] == (status == 200)


@pytest.mark.parametrize("hosts", [(), ("*",), ("server", "*")])
async def test_any_name_is_answered_unless_names_are_set(tmp_path: Path, hosts: tuple[str, ...]) -> None:
    async with running(tmp_path, allowed_hosts=hosts) as client:
        assert (await client.get("/health", headers={"Host": "evil.example"})).status_code == 200


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        ((), ["127.0.0.1", "::1", "localhost"]),
        (("--key", "k"), []),
        (("--host", "0.0.0.0", "--allow-open"), []),
        (("STATELESS_RAG_SERVER_ALLOWED_HOSTS=rag.example",), ["rag.example"]),
    ],
)
def test_a_server_that_is_open_to_this_machine_knows_its_names(
    capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], names: list[str]
) -> None:
    environ = dict(flag.split("=") for flag in flags if "=" in flag)
    run(["serve", "--check", *(flag for flag in flags if "=" not in flag)], environ)
    assert json.loads(capsys.readouterr().out)["server"]["allowed_hosts"] == names
