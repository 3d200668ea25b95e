"""/docs: one page, which runs nothing from elsewhere, and works offline."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from server.serving import running
from stateless_rag.server import ApiKey


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/w/papers/docs", "/docs?theme=dark"])
async def test_the_page_loads_nothing_from_elsewhere(tmp_path: Path, path: str) -> None:
    async with running(tmp_path, keys=(ApiKey(key="key"),)) as client:
        page = await client.get(path)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert not re.search(r"(?:src|href)\s*=\s*[\"']?(?:\w+:)?//", page.text)
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "connect-src 'self'" in page.headers["content-security-policy"]
        assert "openapi.json" in page.text and "lightrag:set-docs-theme" in page.text
        described = await client.get(path.partition("?")[0].rpartition("/")[0] + "/openapi.json")
        assert described.json()["openapi"].startswith("3.")


async def test_without_docs_there_is_no_page(tmp_path: Path) -> None:
    async with running(tmp_path, docs=False) as client:
        for path in ("/docs", "/redoc", "/openapi.json"):
            assert (await client.get(path)).status_code == 404
