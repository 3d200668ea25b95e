"""Characters that JSON may escape, and UTF-8 has not: answered like any other text, never by 500."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from server.serving import running
from stateless_rag.server import Account

if TYPE_CHECKING:
    import httpx2

PROJECT = "/api/v1/projects/one"
LONE = "\\ud800"
JSON = {"Content-Type": "application/json"}
BODY = (
    '--x\r\nContent-Disposition: form-data; name="files"; filename="a+2AA-.txt"\r\n\r\nAda.\r\n'
    '--x\r\nContent-Disposition: form-data; name="files"; filename="b.txt"\r\n\r\nBob.\r\n--x--\r\n'
)
FORM = {"Content-Type": "multipart/form-data; boundary=x; charset=utf-7"}

ADA = f'{{"documents": [{{"text": "Ada {LONE} Lovelace"}}]}}'

STRANGE = {
    "a document": (202, f"{PROJECT}/documents", JSON, ADA),
    "with a key": (202, f"{PROJECT}/documents", JSON | {"Idempotency-Key": "a document"}, ADA),
    "a file": (202, f"{PROJECT}/uploads", FORM, BODY),
    "a file with a key": (202, f"{PROJECT}/uploads", FORM | {"Idempotency-Key": "a file"}, BODY),
    "a name": (422, "/api/v1/projects", JSON, f'{{"name": "{LONE}"}}'),
    "a field": (422, f"{PROJECT}/query", JSON, f'{{"question": "Who?", "{LONE}": 1}}'),
    "a text of LightRAG": (422, "/documents/text", JSON, f'{{"text": "{LONE}", "file_source": "a"}}'),
    "a mode of LightRAG": (422, "/query", JSON, f'{{"query": "Who was it?", "mode": "{LONE}"}}'),
    "a number of LightRAG": (422, "/query", JSON, f'{{"query": "Who was it?", "top_k": "{LONE}"}}'),
    "a chat": (400, "/v1/chat/completions", JSON, f'{{"model": "{LONE}", "messages": []}}'),
    "a chat of Ollama": (400, "/api/chat", JSON, f'{{"model": "{LONE}", "messages": []}}'),
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx2.AsyncClient]:
    """One for all: whatever it was asked, it answers the next."""
    async with running(tmp_path_factory.mktemp("strange")) as client:
        yield client


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("what", STRANGE)
async def test_lone_surrogates_are_answered(server: httpx2.AsyncClient, what: str) -> None:
    status, path, headers, body = STRANGE[what]
    answer = await server.post(path, headers=headers, content=body.encode())
    assert answer.status_code == status, answer.text
    told: Any = answer.json()
    assert told


@pytest.mark.parametrize("password", ["known", "{bcrypt}$2b$04$abcdefghijklmnopqrstuu"])
async def test_a_login_with_them_is_a_wrong_one(tmp_path: Path, password: str) -> None:
    fields = (("username", "ada"), ("password", "+2AA-"))
    parts = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields
    )
    account = Account(name="ada", password=password)
    async with running(
        tmp_path, accounts=(account,), token_secret="secret-token-of-this-test-1234567"
    ) as client:
        answer = await client.post("/login", headers=FORM, content=f"{parts}--x--\r\n".encode())
    assert answer.status_code == 401
