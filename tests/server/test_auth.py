"""Who may do what: keys with their workspaces and rights, logins, open paths, and nothing told to others."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import bcrypt
import httpx2
import pytest

from server.serving import GRAPH, engine_options, running
from stateless_rag.context import Clock
from stateless_rag.errors import InvalidInput
from stateless_rag.server import Account, ApiKey, Quota, ServerSettings, create_app

PROJECTS = "/api/v1/projects"
KEYS = (
    ApiKey(key="key-admin", name="admin"),
    ApiKey(key="key-erp", name="erp", workspaces=("erp",), access="write"),
    ApiKey(key="key-read", name="reader", workspaces=("erp", "crm"), access="read"),
)
WHO = [{"role": "user", "content": "Who is it?"}]
STILL = Clock(wall=lambda: 1_800_000_000.0)  # so that no request comes a minute later


def key(name: str, **more: str) -> dict[str, str]:
    return {"X-API-Key": f"key-{name}", **more}


async def test_keys_open_their_workspaces_and_no_more(tmp_path: Path) -> None:
    async with running(tmp_path, keys=KEYS) as client:
        for name in ("erp", "crm", "hr"):
            assert (await client.post(PROJECTS, json={"name": name}, headers=key("admin"))).status_code == 201
        cases: list[tuple[int, str, str, Any, dict[str, str]]] = [
            (403, "GET", "/graph/label/list", None, {}),
            (403, "GET", "/graph/label/list", None, key("wrong")),
            (401, "GET", PROJECTS, None, {}),
            (401, "GET", PROJECTS, None, key("wrong")),
            (401, "GET", "/v1/models", None, {"Authorization": "Bearer key-wrong"}),
            (200, "GET", "/w/erp/v1/models", None, {"Authorization": "Bearer key-erp"}),
            (200, "GET", "/graph/label/list", None, key("erp", **{"X-Workspace": "erp"})),
            (403, "GET", "/graph/label/list", None, key("erp", **{"X-Workspace": "hr"})),
            (403, "GET", "/graph/label/list", None, key("erp")),
            (403, "GET", f"{PROJECTS}/hr", None, key("read")),
            (200, "GET", f"{PROJECTS}/crm", None, key("read")),
            (403, "POST", f"{PROJECTS}/erp/insert_custom_kg", GRAPH, key("read")),
            (200, "POST", f"{PROJECTS}/erp/insert_custom_kg", GRAPH, key("erp")),
            (403, "DELETE", f"{PROJECTS}/erp", None, key("erp")),
            (403, "POST", PROJECTS, {"name": "new"}, key("erp")),
            (403, "POST", f"{PROJECTS}/erp/copy", {"name": "new"}, key("erp")),
            (403, "DELETE", "/w/erp/documents", None, key("erp")),
            (403, "GET", "/metrics", None, {}),
            (400, "POST", "/w/erp/v1/chat/completions", {"model": "hr", "messages": WHO}, key("admin")),
            (403, "POST", "/w/erp/api/chat", {"model": "lightrag", "messages": WHO}, key("wrong")),
            (403, "POST", "/api/chat", {"model": "hr", "messages": WHO}, key("erp")),
        ]  # fmt: skip
        for status, method, path, body, headers in cases:
            answer = await client.request(method, path, json=body, headers=headers)
            assert answer.status_code == status, (path, headers, answer.text)
        listed = (await client.get(PROJECTS, headers=key("read"))).json()
        assert [each["name"] for each in listed["projects"]] == ["crm", "erp"]
        models = (await client.get("/w/erp/v1/models", headers=key("erp"))).json()["data"]
        assert {model["id"].partition(":")[0] for model in models} == {"erp"}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat", "/api/generate"])
async def test_a_chat_is_for_the_workspace_that_its_model_names(
    tmp_path: Path, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    quota = Quota(requests_per_minute=2)
    async with running(tmp_path, keys=KEYS, quota=quota, clock=STILL) as client:
        for name in ("erp", "hr"):
            assert (await client.post(PROJECTS, json={"name": name}, headers=key("admin"))).status_code == 201

        async def status(model: str, who: str = "erp") -> int:
            body = {"model": model, "messages": WHO, "prompt": "Who is it?", "stream": False}
            return (await client.post(path, json=body, headers=key(who))).status_code

        for route in ("/v1/models", "/api/tags"):
            assert (await client.get(route, headers=key("erp"))).status_code == 200
        assert [await status(model) for model in ("hr", "lightrag", "nothing")] == [403] * 3
        with caplog.at_level("INFO", "stateless_rag.server.access"):
            assert [await status("erp") for _ in range(3)] == [200, 200, 429]
        assert [record.__dict__["workspace"] for record in caplog.records] == ["erp"] * 3
        assert await status("hr", "admin") == 200


async def test_the_texts_that_the_web_ui_knows(tmp_path: Path) -> None:
    async with running(tmp_path, keys=KEYS) as client:
        assert (await client.get("/auth/verify")).json() == {"detail": "API Key required"}
        assert (await client.get("/auth/verify", headers=key("wrong"))).json() == {
            "detail": "Invalid API Key"
        }
        assert (await client.get("/auth/verify", headers=key("erp"))).json() == {"status": "ok"}
        stale = {"Authorization": "Bearer stale.token.here"}
        assert (await client.get("/auth/verify", headers=key("erp", **stale))).status_code == 200
        health = (await client.get("/health")).json()
        assert health["status"] == "healthy"
        assert "configuration" not in health
        told = await client.get("/health", headers=key("admin"))
        assert "configuration" in told.json()
        assert not any(each.key in told.text for each in KEYS)


async def test_without_keys_all_is_open(tmp_path: Path) -> None:
    async with running(tmp_path) as client:
        status = (await client.get("/auth-status")).json()
        assert (status["auth_configured"], status["auth_mode"]) == (False, "disabled")
        guest = {"Authorization": f"Bearer {status['access_token']}"}
        assert (await client.get("/graph/label/list", headers=guest)).status_code == 200
        assert (
            await client.get("/graph/label/list", headers={"Authorization": "Bearer x"})
        ).status_code == 200
        assert (await client.post("/login", data={"username": "a", "password": "b"})).json()[
            "auth_mode"
        ] == "disabled"


class Time:
    now = 1_000_000_000.0


def accounts() -> dict[str, Any]:
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    return {
        "accounts": (
            Account(name="ada", password="plain", workspaces=("erp",), access="read"),
            Account(name="bob", password=f"{{bcrypt}}{hashed}"),
        ),
        "token_secret": "a secret of at least thirty-two bytes",
        "token_hours": 2.0,
        "login_attempts": 3,
        "login_window": 60.0,
    }


async def test_logins_give_tokens_that_are_renewed_and_expire(tmp_path: Path) -> None:
    time = Time()
    settings = ServerSettings(root=str(tmp_path), **accounts())
    app = create_app(settings, engine_options=engine_options, clock=Clock(wall=lambda: time.now))
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://server") as client:
            assert (await client.get("/auth-status")).json()["auth_configured"] is True
            tokens = {}
            for name, password in (("ada", "plain"), ("bob", "secret")):
                answer = await client.post("/login", data={"username": name, "password": password})
                tokens[name] = {"Authorization": f"Bearer {answer.json()['access_token']}"}
            assert (await client.get("/w/erp/graph/label/list", headers=tokens["ada"])).status_code == 200
            assert (await client.get("/graph/label/list", headers=tokens["ada"])).status_code == 403
            assert (
                await client.post("/insert_custom_kg", json=GRAPH, headers=tokens["bob"])
            ).status_code == 200

            time.now += 3700
            for path, renewed in (
                ("/documents/pipeline_status", False),
                ("/graph/label/list", True),
                ("/graph/label/list", False),
            ):
                answer = await client.get(path, headers=tokens["bob"])
                assert ("x-new-token" in answer.headers) is renewed
            time.now += 3600
            expired = await client.get("/graph/label/list", headers=tokens["bob"])
            assert (expired.status_code, expired.json()["detail"]) == (401, "Token expired")

            for forged in ("x", tokens["ada"]["Authorization"][7:-3] + "abc"):
                answer = await client.get("/graph/label/list", headers={"Authorization": f"Bearer {forged}"})
                assert (answer.status_code, answer.json()["detail"]) == (401, "Invalid token")
            missing = await client.get("/graph/label/list")
            assert (missing.status_code, missing.json()["detail"]) == (
                401,
                "No credentials provided. Please login.",
            )

            for status in (401, 401, 401, 429):
                answer = await client.post("/login", data={"username": "bob", "password": "wrong"})
                assert answer.status_code == status
            assert int(answer.headers["retry-after"]) <= 61
            assert (
                await client.post("/login", data={"username": "bob", "password": "secret"})
            ).status_code == 429
            time.now += 61
            assert (
                await client.post("/login", data={"username": "bob", "password": "secret"})
            ).status_code == 200


async def test_open_paths_do_not_open_our_own(tmp_path: Path) -> None:
    async with running(tmp_path, keys=KEYS, open_paths=("/health", "/api/*")) as client:
        assert (await client.get("/api/tags")).status_code == 200
        assert (await client.get(f"{PROJECTS}/erp")).status_code == 401
        assert (await client.get("/apix")).status_code == 404
        assert (await client.get("/graph/label/list")).status_code == 403


async def test_quotas_are_kept_by_workspace(tmp_path: Path) -> None:
    quota = Quota(documents=2, requests_per_minute=6)
    async with running(tmp_path, quota=quota, clock=STILL) as client:
        url = f"{PROJECTS}/one/documents"
        assert (await client.post(url, json={"documents": [{"text": "a"}, {"text": "b"}]})).status_code == 202
        full = await client.post(url, json={"documents": [{"text": "c"}]})
        assert (full.status_code, full.headers["retry-after"]) == (429, "30")
        statuses = [(await client.get(f"{PROJECTS}/one/health")).status_code for _ in range(5)]
        assert statuses == [200] * 4 + [429]
        assert (await client.get(f"{PROJECTS}/two/health")).status_code == 200


async def test_two_who_wait_for_what_they_send_have_one_quota(tmp_path: Path) -> None:
    quota = Quota(documents=3)
    async with running(tmp_path, quota=quota) as client:
        await client.post(PROJECTS, json={"name": "one"})

        async def ingest(ids: str) -> str:
            body = {"documents": [{"text": f"Text {id_}.", "id": id_} for id_ in ids]}
            return (await client.post(f"{PROJECTS}/one/ingest", json=body)).text

        told = await asyncio.gather(ingest("ab"), ingest("cd"))
        assert sorted("event: report" in each for each in told) == [False, True]
        (refused,) = (each for each in told if "event: report" not in each)
        assert '"status":429' in refused and "at most 3 fit" in refused
        page = (await client.get(f"{PROJECTS}/one/documents")).json()
        assert page["counts"] == {"processed": 2}
        assert "event: report" in await ingest("e")  # nothing of the refused one counts
        assert '"status":429' in (await ingest("f"))
        there = [each["id"] for each in (await client.get(f"{PROJECTS}/one/documents")).json()["documents"]]
        assert "event: report" in await ingest("".join(there))  # they take their own places


async def test_what_is_imported_counts(tmp_path: Path) -> None:
    texts = {"documents": [{"text": f"Text {n} of it.", "id": str(n)} for n in range(3)]}
    async with running(tmp_path) as client:
        await client.post(f"{PROJECTS}/one/documents", json=texts)
        await client.app.state.service.ingestion.idle("one")  # type: ignore[attr-defined]
        file = (await client.get(f"{PROJECTS}/one/export")).content
    async with running(tmp_path, quota=Quota(documents=2)) as client:
        refused = await client.post(f"{PROJECTS}/two/import", content=file)
        assert (refused.status_code, "at most 2 fit" in refused.text) == (429, True)
    async with running(tmp_path, quota=Quota(documents=3)) as client:
        assert (await client.post(f"{PROJECTS}/two/import", content=file)).status_code == 200
        assert (await client.post(f"{PROJECTS}/two/import", content=file)).status_code == 200  # the same ones


async def test_each_document_of_a_graph_counts(tmp_path: Path) -> None:
    graph = {"chunks": [{"content": f"Text {n}.", "source_id": str(n)} for n in range(3)]}
    async with running(tmp_path, quota=Quota(documents=2)) as client:
        await client.post(PROJECTS, json={"name": "one"})
        answer = await client.post(f"{PROJECTS}/one/insert_custom_kg", json=graph)
        assert (answer.status_code, answer.json()["status"]) == (429, 429)
        graph["chunks"].pop()
        assert (await client.post(f"{PROJECTS}/one/insert_custom_kg", json=graph)).status_code == 200


async def test_tokens_of_a_day_are_those_of_the_ledger(tmp_path: Path) -> None:
    question = {"question": "What is there?"}
    async with running(tmp_path) as client:
        text = {"documents": [{"text": "Ada Lovelace wrote notes."}]}
        assert (await client.post(f"{PROJECTS}/one/documents", json=text)).status_code == 202
        await client.app.state.service.ingestion.idle("one")  # type: ignore[attr-defined]
    async with running(tmp_path, quota=Quota(tokens_per_day=1)) as client:  # another process knows
        for path, body in (("query", question), ("documents", text), ("ingest", text), ("resume", {})):
            refused = await client.post(f"{PROJECTS}/one/{path}", json=body)
            assert refused.status_code == 429, path
            assert refused.json()["detail"].startswith("'one' has spent its 1 tokens of today")
            assert 0 < int(refused.headers["retry-after"]) <= 86_401
        assert (await client.post("/w/one/query", json={"query": "What is there?"})).status_code == 429
        assert (await client.post("/w/two/query", json={"query": "What is there?"})).status_code == 200
    async with running(tmp_path, quota=Quota(tokens_per_day=10_000_000)) as client:
        assert (await client.post(f"{PROJECTS}/one/query", json=question)).status_code == 200


async def test_origins_are_refused_unless_they_are_named(tmp_path: Path) -> None:
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    for origins, allowed, credentials in (
        ((), None, None),
        (("https://a.example",), "https://a.example", "true"),
        (("https://b.example",), None, "true"),
        (("*",), "*", None),
    ):
        async with running(tmp_path, cors_origins=origins) as client:
            answer = await client.options("/query", headers=asked)
            assert answer.headers.get("access-control-allow-origin") == allowed
            assert answer.headers.get("access-control-allow-credentials") == credentials


def test_settings_that_cannot_be_are_refused() -> None:
    settings = ServerSettings()
    for wrong in (
        {"accounts": (Account(name="a", password="b"),)},
        {"default_workspace": "a b"},
        {"api_prefix": "rag/"},
        {"token_algorithm": "none"},
        {"max_open": 0},
        {"keys": ("plain",)},
        {"accounts": (Account(name="a", password="b"),) * 2, "token_secret": "x"},
    ):
        with pytest.raises(InvalidInput):
            replace(settings, **wrong)
    for key_ in ("", " ", "schlüssel", "a\nb"):
        with pytest.raises(InvalidInput):
            ApiKey(key=key_)
    assert "hidden" not in repr(ServerSettings(keys=(ApiKey(key="hidden"),), token_secret="hidden"))


async def test_a_quota_holds_for_all_who_come_together_and_lets_updates_in(tmp_path: Path) -> None:
    quota = Quota(documents=3, characters=30)
    async with running(tmp_path, quota=quota, clock=STILL) as client:

        async def sent(text: str, number: int) -> int:
            body = {"documents": [{"text": text, "id": str(number)}]}
            return (await client.post(f"{PROJECTS}/one/documents", json=body)).status_code

        codes = await asyncio.gather(*(sent("Ada.", number) for number in range(8)))
        assert sorted(codes) == [202] * 3 + [429] * 5
        known = [number for number, code in enumerate(codes) if code == 202]
        await client.app.state.service.ingestion.idle("one")  # type: ignore[attr-defined]
        assert await sent("Ada Lovelace.", known[0]) == 202
        assert await sent("Ada Lovelace met Charles.", known[0]) == 429  # too many characters
