"""The examples of docs/http.md, run against a server."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest

from server.serving import listening
from stateless_rag.server.configuration import read_configuration

PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = "http://127.0.0.1:9621"


def blocks(kind: str) -> list[str]:
    return [body for language, body in FENCE.findall(PAGE) if language == kind]


async def output(*command: str, cwd: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    told, wrong = await process.communicate()
    assert process.returncode == 0, wrong.decode()
    return told.decode()


async def test_the_examples_run(tmp_path: Path) -> None:
    async with listening(tmp_path / "root") as address:
        [curl] = blocks("bash")
        told = await output("bash", "-ec", curl.replace(ADDRESS, address), cwd=tmp_path)
        assert '"tracking_id"' in told
        assert "event: answer" in told
        script = "\n".join(blocks("python")).replace(ADDRESS, address)
        told = await output(sys.executable, "-W", "error", "-c", script, cwd=tmp_path)
        assert "event: settled" in told
        assert "babbage.txt" in told


def test_the_config_file_can_be_read() -> None:
    [config] = blocks("toml")
    with pytest.raises(ValueError, match="ASCII"):
        read_configuration({}, config=config)  # the key is to be filled in
    found = read_configuration({}, config=config.replace("…", "a-key"))
    assert (found.host, found.server.keys[0].workspaces) == ("0.0.0.0", ("erp",))
