"""The address of a server: a name and a password in it are used, and shown to nobody."""

from __future__ import annotations

import base64

import httpx2
import pytest

from stateless_rag.client import Server
from stateless_rag.client.wire import open_wire
from stateless_rag.errors import InvalidInput, ServerError, WorkspaceNotFound


@pytest.mark.parametrize(
    "url",
    [
        "http://ada:s3cret@127.0.0.1:9/rag",
        "http://ada:s3%63ret@127.0.0.1:9/rag/",
        "https://ada:s3cret@127.0.0.1:9",
    ],
)
async def test_what_fails_is_told_without_the_password(url: str) -> None:
    async with Server.open(url) as server:
        assert "s3" not in server.url and "ada" not in server.url
        with pytest.raises(ServerError) as raised:
            await server.names()
    assert "s3" not in str(raised.value) and "127.0.0.1:9" in str(raised.value)


@pytest.mark.parametrize(
    "url", ["http://ada:s3cret@", "ftp://ada:s3cret@host", "http://ada:s3/cret@host", "http://a:s3cret@h?x=1"]
)
async def test_what_is_no_address_is_told_without_the_password(url: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        async with Server.open(url):
            pass
    assert "s3" not in str(raised.value)


async def test_a_proxy_is_shown_who_asks() -> None:
    async with open_wire("http://ada:s3cret@host:1", "key") as wire:
        client = wire._client
        request = client.build_request("GET", wire.url)
        sent = next(client.auth.auth_flow(request))  # type: ignore[union-attr]
    assert sent.headers["authorization"] == "Basic " + base64.b64encode(b"ada:s3cret").decode()
    assert sent.headers["x-api-key"] == "key"
    assert isinstance(request, httpx2.Request)


def test_a_workspace_that_is_not_there_has_its_name() -> None:
    error = WorkspaceNotFound("there is none", "papers")
    assert (str(error), error.name, WorkspaceNotFound("x").name) == ("there is none", "papers", None)
