"""The same documents give the same workspace and the same answers, whatever the hash seed of the process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]


def run(seed: str) -> subprocess.Popen[bytes]:
    places = [str(TESTS), str(TESTS.parent / "src")]
    environment = {
        **os.environ,
        "PYTHONHASHSEED": seed,
        "PYTHONPATH": os.pathsep.join(places),
    }
    child = Path(__file__).with_name("hash_seed_child.py")
    return subprocess.Popen([sys.executable, str(child)], env=environment, stdout=subprocess.PIPE)


def test_two_hash_seeds_give_the_same() -> None:
    found: list[Any] = []
    with run("1") as one, run("20251") as other:
        for child in (one, other):
            out, _ = child.communicate(timeout=120)
            assert child.returncode == 0
            found.append(json.loads(out))
    assert found[0] == found[1]
    for name, (held, answers) in found[0].items():
        assert held["entities"] and held["relations"], (
            f"{name} extracted nothing: the test would prove nothing"
        )
        counts, _ = answers["mix"]
        assert all(counts), f"{name} found nothing: the test would prove nothing"
