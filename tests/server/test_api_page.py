"""/docs: one page, which runs nothing from elsewhere, and works offline."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from server.serving import running
from stateless_rag.server import ApiKey

if TYPE_CHECKING:
    import httpx2


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx2.AsyncClient]:
    """A server with a key, which makes its description once."""
    async with running(tmp_path_factory.mktemp("guarded"), keys=(ApiKey(key="key"),)) as client:
        yield client


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", ["/docs", "/redoc", "/w/papers/docs", "/docs?theme=dark"])
async def test_the_page_loads_nothing_from_elsewhere(guarded: httpx2.AsyncClient, path: str) -> None:
    page = await guarded.get(path)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert not re.search(r"(?:src|href)\s*=\s*[\"']?(?:\w+:)?//", page.text)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "connect-src 'self'" in page.headers["content-security-policy"]
    assert "openapi.json" in page.text and "lightrag:set-docs-theme" in page.text
    described = await guarded.get(path.partition("?")[0].rpartition("/")[0] + "/openapi.json")
    assert described.json()["openapi"].startswith("3.")


async def test_without_docs_there_is_no_page(tmp_path: Path) -> None:
    async with running(tmp_path, docs=False) as client:
        for path in ("/docs", "/redoc", "/openapi.json"):
            assert (await client.get(path)).status_code == 404
