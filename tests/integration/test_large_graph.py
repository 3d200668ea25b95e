"""A large custom graph takes memory for what the workspace holds then, not for every step of it at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHILD = Path(__file__).parent / "children" / "large_graph.py"
PER_THOUSAND = 6  # MB; a thousand entities with their relations, chunks and vectors rest in about 3
FIXED = 120


def test_memory_for_ten_thousand_entities(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, str(CHILD), str(tmp_path), "10000"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    assert int(told.stdout) < FIXED + 10 * PER_THOUSAND
