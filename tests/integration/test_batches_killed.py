"""kill -9 at every step of submitting and collecting: nothing is asked twice, and nothing is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from stateless_rag import Engine
from stateless_rag.testing import FakeOpenAIServer

SCRIPT = Path(__file__).parent / "children" / "batch.py"


def _script() -> Any:
    spec = spec_from_file_location("child_batch", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def finished(child: Any, root: Path, url: str) -> int:
    """Go on to the end, whatever is there; for how many calls the extraction was paid."""
    options = child.options(url, 0)
    try:
        async with Engine.open(root, **options) as engine:
            await engine.collect_batches(wait=True, poll=0.001)
            await child.work(engine)
            assert all(batch.collected for batch in await engine.batches())
            assert await engine.submit_batch() == ()  # all replies are known
            return (await engine.costs())["extract"].calls
    finally:
        await options["llm"].close()


def killed(folder: Path, url: str) -> list[int]:
    """How each child ended."""
    command = [sys.executable, str(SCRIPT), str(folder), url, "0"]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    return [int(line.split()[1]) for line in told.stdout.splitlines()]


async def test_no_step_pays_twice_or_loses_anything(tmp_path: Path) -> None:
    child = _script()
    server = FakeOpenAIServer()
    with server.in_thread():
        ended = killed(tmp_path, server.base_url)
        assert set(ended[:-1]) == {-signal.SIGKILL} and ended[-1] == 0 and len(ended) > 12
        runs = [await finished(child, tmp_path / str(n), server.base_url) for n in range(1, len(ended) + 1)]
        assert set(runs) == {len(child.TEXTS)}
        chats = Counter(record.digest for record in server.log if record.path.endswith("/completions"))
        assert set(chats.values()) == {len(runs)} and len(chats) == len(child.TEXTS)  # each run paid once
        assert server.batches.files == {}
