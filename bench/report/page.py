"""The marked part of a page, which is written from results."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

__all__ = ["START", "STOP", "fill"]

START = "<!-- written by `python -m bench report`: start -->"
STOP = "<!-- written by `python -m bench report`: stop -->"


def fill(page: Path, written: str, plots: Sequence[tuple[Path, str]]) -> None:
    """Put tables and plots between the page's marks. Raises ValueError if they are not there, once each."""
    text = page.read_text(encoding="utf-8")
    if text.count(START) != 1 or text.count(STOP) != 1:
        raise ValueError(f"{page} must have the lines {START!r} and {STOP!r} once each")
    before, after = text.split(START)[0], text.split(STOP)[1]
    shown = "\n\n".join(
        f"![{caption}]({Path(os.path.relpath(path, page.parent)).as_posix()})" for path, caption in plots
    )
    page.write_text(f"{before}{START}\n\n{written}\n\n{shown}\n\n{STOP}{after}", encoding="utf-8")
