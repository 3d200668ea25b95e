"""What tests of the command line share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
Cli = Callable[..., tuple[int, str, str]]


def only_json(out: str) -> Any:
    assert out.endswith("\n")
    assert out.count("\n") == 1
    return json.loads(out)
