"""The fake server for tests of applications."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from stateless_rag.testing import (
    FakeOpenAIServer,
    Faults,
    Hang,
)


def test_the_log_survives_a_kill(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with FakeOpenAIServer(faults=Faults([None, Hang(60)]), log_path=log).in_thread() as server:
        code = (
            "import asyncio, sys\n"
            "from stateless_rag.protocols import LLMRequest\n"
            "from stateless_rag.providers import OpenAILLM\n"
            "async def main():\n"
            f"    llm = OpenAILLM('m', base_url={server.base_url!r})\n"
            "    await llm.complete(LLMRequest(prompt='one'))\n"
            "    print('answered', flush=True)\n"
            "    await llm.complete(LLMRequest(prompt='two'))\n"
            "asyncio.run(main())\n"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "answered\n"
            while len(server.log) < 2 and child.poll() is None:
                time.sleep(0.01)
            child.kill()
        lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["event"], line["number"], line["status"]) for line in lines] == [
        ("received", 1, None),
        ("answered", 1, 200),
        ("received", 2, None),
    ]


def test_the_server_answers_other_clients() -> None:
    with FakeOpenAIServer().in_thread() as server:
        with urllib.request.urlopen(f"{server.base_url}/models") as answer:
            assert [model["object"] for model in json.load(answer)["data"]] == ["model", "model"]
        for path, content, status in (
            ("/nowhere", b"{}", 404),
            ("/chat/completions", b"{", 400),
            ("/chat/completions", b"{}", 400),
            ("/rerank", b"{}", 400),
            ("/rerank", b'{"query": "q", "texts": 5}', 400),
            ("/rerank", b'{"query": 5, "documents": ["a"]}', 400),
        ):
            request = urllib.request.Request(f"{server.base_url}{path}", data=content)
            with pytest.raises(urllib.error.HTTPError, match=str(status)) as caught:
                urllib.request.urlopen(request)
            caught.value.close()
