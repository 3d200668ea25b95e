"""Progress of an ingest as lines: counts, speed, and how long it will take."""

from __future__ import annotations

import io
from collections.abc import Iterable

import pytest
from rich.console import Console

from stateless_rag.cli.progress import IngestProgress, Pace
from stateless_rag.types import Event

Step = tuple[float, str, str, int, int | None]


def lines(documents: int | None, steps: Iterable[Step]) -> list[str]:
    now = [0.0]
    out = io.StringIO()
    progress = IngestProgress(Console(file=out, width=200), documents, clock=lambda: now[0])
    for at, kind, id_, done, total in steps:
        now[0] = at
        progress(Event(kind=kind, workspace="w", document_id=id_, done=done, total=total))
    return out.getvalue().splitlines()


def test_documents_that_did_not_change_are_counted_and_no_chunks() -> None:
    steps = [(n / 10, "unchanged", str(n), n + 1, None) for n in range(100)]
    assert lines(100, steps) == ["51 of 100 documents, 51 unchanged"]


def test_what_is_left_covers_documents_that_were_not_cut_yet() -> None:
    steps: list[Step] = [(0.0, "chunked", "a", 0, 10)]
    steps += [(n, "extracted", "a", n, 10) for n in range(1, 6)]
    # 5 chunks in 5 seconds; 5 are left of this document, and 30 of three that are like it.
    assert lines(4, steps) == ["0 of 4 documents, 5 of 10 chunks, 1.0 chunks/s, about 35 s left"]


def test_without_a_number_of_documents_no_time_is_told() -> None:
    steps: list[Step] = [(0.0, "chunked", "a", 0, 10), (4.0, "extracted", "a", 1, 10)]
    steps += [(6.0, "extracted", "a", 6, 10)]
    assert lines(None, steps) == ["0 documents, 6 of 10 chunks, 1.0 chunks/s"]


def test_what_an_earlier_run_did_is_no_speed() -> None:
    pace = Pace(1)
    pace.count("a", 90, 100, known=True, now=0.0)
    for second in range(1, 6):
        pace.count("a", 90 + second, 100, known=False, now=float(second))
    assert (pace.done, pace.total, pace.rate(), pace.left()) == (95, 100, 1.0, 5.0)


def test_speed_is_what_it_was_lately() -> None:
    pace = Pace(1)
    pace.count("a", 0, 2000, known=True, now=0.0)
    pace.count("a", 1000, 2000, known=False, now=1.0)  # from the journal
    for second in range(2, 60):
        pace.count("a", 1000 + second, 2000, known=False, now=float(second))
    assert pace.rate() == pytest.approx(1.0)
    assert pace.left() == pytest.approx(2000 - 1059)


def test_when_all_is_extracted_it_says_what_is_done_then() -> None:
    steps: list[Step] = [(0.0, "chunked", "a", 0, 1), (6.0, "extracted", "a", 1, 1)]
    assert lines(1, steps) == ["0 of 1 documents, 1 of 1 chunks, embedding and writing"]
    steps += [(12.0, "failed", "a", 1, 1)]
    assert lines(1, steps)[1].endswith(", 1 failed")
