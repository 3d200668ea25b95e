"""`python -m bench.script`: play the script with both, and write what differs into docs/coming-from-lightrag.md."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.encoding import encoding_folder
from bench.runner import BASELINE_PYTHON
from bench.script.compare import Row, compared

_ROOT = Path(__file__).parents[2]
_PAGE = _ROOT / "docs" / "coming-from-lightrag.md"
_BEGIN, _END = "<!-- measured by python -m bench.script -->", "<!-- end of what was measured -->"
_SIZES = (1200, 300)  # tokens: LightRAG's default, which leaves these articles whole, and windows


def main() -> None:
    """Play, compare, write."""
    tables = []
    for tokens in _SIZES:
        with tempfile.TemporaryDirectory(prefix="stateless-rag-script-") as scratch:
            seen = {package: _played(package, Path(scratch), tokens) for package in ("lightrag", "facade")}
        tables.append(_table(tokens, compared(seen["lightrag"], seen["facade"])))
    page = _PAGE.read_text(encoding="utf-8")
    before, after = page.split(_BEGIN)[0], page.split(_END)[1]
    measured = "\n\n".join(tables)
    _PAGE.write_text(f"{before}{_BEGIN}\n\n{measured}\n\n{_END}{after}", encoding="utf-8")
    print(measured)


def _played(package: str, scratch: Path, tokens: int) -> Mapping[str, Any]:
    """What the script saw, played in a process of its own, in an empty folder and without the caller's settings."""
    folder, place, seen = scratch / package, scratch / "place", scratch / f"{package}.json"
    folder.mkdir()
    place.mkdir(exist_ok=True)
    environment = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ
    }
    environment["PYTHONPATH"] = os.pathsep.join((str(_ROOT), str(_ROOT / "src")))
    environment["TIKTOKEN_CACHE_DIR"] = str(encoding_folder(scratch / "encodings"))
    python = sys.executable if package == "facade" else str(BASELINE_PYTHON)
    done = subprocess.run(
        [python, "-m", "bench.script.script", package, str(folder), str(seen), str(tokens)],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:]
        raise SystemExit(
            f"{package}: exit {done.returncode}: {' '.join(said)} (`make bench-env` makes what it needs)"
        )
    found: Mapping[str, Any] = json.loads(seen.read_text(encoding="utf-8"))
    return found


def _table(tokens: int, rows: Sequence[Row]) -> str:
    lines = [f"With chunks of {tokens} tokens:", "", "| | LightRAG | the façade |", "|---|---|---|"]
    lines += [
        f"| {row.what}{'' if row.same else ' (differs)'} | {row.lightrag} | {row.facade} |" for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
