"""The queue of pending documents: whatever is done to it, it answers as a plain list would."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from laws.generators import CountingEmbedder, StatementLLM
from laws.profiles import examples
from stateless_rag.engine import Engine
from stateless_rag.protocols import Claim
from stateless_rag.stores.duckdb.pending import Pending
from stateless_rag.types import Status
from unit.scripted import WordTokenizer

IDS = ("a", "b", "c", "d", "e")
TRACKS = ("one", "two", "three")
some_ids = st.sets(st.sampled_from(IDS), min_size=1)


@dataclass
class Submission:
    sequence: int
    document_id: str
    tracking_id: str
    attempts: int = 0


class Model:
    """All submissions in a list, in the order in which they came; nothing is looked up but by going through it."""

    def __init__(self) -> None:
        self.pending: list[Submission] = []
        self.working: dict[str, int] = {}

    def newest(self, document_id: str) -> Submission:
        return [s for s in self.pending if s.document_id == document_id][-1]

    def free(self, *, failed: bool) -> list[int]:
        newest = [self.newest(id_) for id_ in sorted({s.document_id for s in self.pending})]
        return sorted(
            s.sequence for s in newest if s.document_id not in self.working and (failed or not s.attempts)
        )

    def claim(
        self, limit: int, ids: set[str] | None, track: str | None, tried: set[int], *, failed: bool
    ) -> list[int]:
        tracked = {s.document_id for s in self.pending if s.tracking_id == track}
        chosen = []
        for sequence in self.free(failed=failed):
            document_id = self.at(sequence).document_id
            wanted = (ids is None or document_id in ids) and (track is None or document_id in tracked)
            if wanted and sequence not in tried:
                chosen.append(sequence)
        for sequence in chosen[:limit]:
            self.working[self.at(sequence).document_id] = sequence
        return chosen[:limit]

    def at(self, sequence: int) -> Submission:
        return next(s for s in self.pending if s.sequence == sequence)

    def release(self, sequence: int) -> None:
        self.working = {id_: n for id_, n in self.working.items() if n != sequence}

    def remove(self, sequences: Sequence[int]) -> None:
        self.pending = [s for s in self.pending if s.sequence not in sequences]
        for sequence in sequences:
            self.release(sequence)

    def unfinished(self, track: str) -> set[int]:
        return {
            s.sequence
            for s in self.pending
            if s.tracking_id == track and not self.newest(s.document_id).attempts
        }

    def status(self, document_id: str) -> Status:
        newest = self.newest(document_id)
        if self.working.get(document_id) == newest.sequence:
            return Status.EXTRACTING
        return Status.FAILED if newest.attempts else Status.PENDING


class Queue(RuleBasedStateMachine):
    """Steps on the queue of a workspace and on the model. Claims that are held are worked on by somebody."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.model = Model()
        self.held: dict[int, Claim] = {}
        self.texts: dict[int, str] = {}
        self.engine: Engine

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    @property
    def workspace(self) -> Any:
        return self.engine._workspace

    @initialize()
    def open(self) -> None:
        self.run(self._open())

    async def _open(self) -> None:
        self.engine = await Engine.open(
            self.folder, llm=StatementLLM(), embedder=CountingEmbedder(), tokenizer=WordTokenizer()
        )

    # ---- steps -----------------------------------------------------------------------------------------

    @rule(
        ids=st.lists(st.sampled_from(IDS), min_size=1, max_size=4),
        track=st.sampled_from(TRACKS),
        claimed=st.booleans(),
    )
    def submit(self, ids: list[str], track: str, claimed: bool) -> None:
        claims = [
            Claim(
                sequence=0,
                document_id=id_,
                source=None,
                metadata={},
                text=f"{id_} of {track}, {len(self.texts) + n}",
                tracking_id=track,
            )
            for n, id_ in enumerate(ids)
        ]
        submitted, taken = self.run(self.workspace.submit(claims, claimed=claimed))
        assert [claim.document_id for claim in submitted] == ids
        for claim in submitted:
            assert claim.sequence > max((s.sequence for s in self.model.pending), default=0)
            self.texts[claim.sequence] = claim.text
            self.model.pending.append(Submission(claim.sequence, claim.document_id, track))
        expected = {claim.document_id: claim.sequence for claim in submitted} if claimed else {}
        expected = {id_: n for id_, n in expected.items() if id_ not in self.model.working}
        assert {claim.document_id: claim.sequence for claim in taken} == expected
        self.model.working.update(expected)
        self.held.update({claim.sequence: claim for claim in taken})

    @rule(
        limit=st.integers(1, 4),
        ids=st.none() | some_ids,
        track=st.none() | st.sampled_from((*TRACKS, "unknown")),
        failed=st.booleans(),
        data=st.data(),
    )
    def claim(self, limit: int, ids: set[str] | None, track: str | None, failed: bool, data: Any) -> None:
        known = [s.sequence for s in self.model.pending]
        tried = data.draw(st.sets(st.sampled_from(known))) if known else set()
        found = self.run(self.workspace.claim(limit, ids=ids, tracking_id=track, failed=failed, tried=tried))
        expected = self.model.claim(limit, ids, track, tried, failed=failed)
        assert [claim.sequence for claim in found] == expected
        for claim in found:
            held = self.model.at(claim.sequence)
            assert (claim.document_id, claim.tracking_id) == (held.document_id, held.tracking_id)
            assert (claim.text, claim.attempts) == (self.texts[claim.sequence], held.attempts)
            self.held[claim.sequence] = claim

    def draw_held(self, data: Any) -> Claim | None:
        return self.held.pop(data.draw(st.sampled_from(sorted(self.held)))) if self.held else None

    @rule(data=st.data())
    def release(self, data: Any) -> None:
        if claim := self.draw_held(data):
            self.run(self.workspace.release([claim.sequence]))
            self.model.release(claim.sequence)

    @rule(data=st.data())
    def fail(self, data: Any) -> None:
        if claim := self.draw_held(data):
            self.run(self.workspace.fail(claim, [{"error": "none of it"}]))
            self.model.release(claim.sequence)
            for submission in self.model.pending:
                if submission.sequence == claim.sequence:
                    submission.attempts = claim.attempts + 1

    @rule(data=st.data())
    def finish(self, data: Any) -> None:
        if claim := self.draw_held(data):
            done = [
                s.sequence
                for s in self.model.pending
                if s.document_id == claim.document_id and s.sequence <= claim.sequence
            ]
            assert list(self.workspace.superseded(claim)) == done
            self.run(self.workspace.withdraw(done))
            self.model.remove(done)
            self.model.release(claim.sequence)
            self.run(self.workspace.release([claim.sequence]))

    @rule(ids=some_ids)
    def delete(self, ids: set[str]) -> None:
        waiting = self.workspace.waiting(ids)
        gone = [n for sequences in waiting.values() for n in sequences]
        assert sorted(gone) == [s.sequence for s in self.model.pending if s.document_id in ids]
        self.run(self.workspace.withdraw(gone))
        self.model.remove(gone)

    @precondition(lambda self: self.model.pending)
    @rule()
    def open_again(self) -> None:
        self.run(self.engine.close())
        self.run(self._open())
        self.model.working.clear()
        self.held.clear()

    # ---- what must be true -----------------------------------------------------------------------------

    @invariant()
    def answers_as_the_model(self) -> None:
        if not hasattr(self, "engine"):
            return
        model, workspace = self.model, self.workspace
        assert workspace.claimed == len(model.working)
        assert workspace.claimable == len(model.free(failed=False))
        for track in TRACKS:
            assert set(workspace.unfinished(track)) == model.unfinished(track)
        by_document: dict[str, list[int]] = {}
        for submission in model.pending:
            by_document.setdefault(submission.document_id, []).append(submission.sequence)
        assert {id_: list(found) for id_, found in workspace.waiting().items()} == by_document
        assert [n for n in self.texts if workspace.is_pending(n)] == [s.sequence for s in model.pending]
        statuses = self.run(workspace.statuses(IDS))
        assert {id_: found.status for id_, found in statuses.items()} == {
            id_: model.status(id_) for id_ in by_document
        }

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.run(self.engine.close())
        self.runner.close()
        shutil.rmtree(self.folder)


numbers = st.sets(st.integers(1, 40))


@given(
    failed=numbers,
    working=numbers,
    tried=numbers,
    wanted=st.none() | numbers | st.sets(st.integers(1, 40), min_size=1, max_size=2),
    limit=st.integers(1, 50),
    track=st.none() | st.sampled_from(TRACKS),
    also_failed=st.booleans(),
)
@examples(100)
def test_many_documents_are_taken_as_a_plain_filter_would(
    failed: set[int],
    working: set[int],
    tried: set[int],
    wanted: set[int] | None,
    limit: int,
    track: str | None,
    also_failed: bool,
) -> None:
    pending = Pending()
    for n in range(1, 41):
        pending.add(n, f"d{n}", TRACKS[n % 3], failed=n in failed)
    for n in working:
        assert pending.take(f"d{n}", n)
    ids = None if wanted is None else [f"d{n}" for n in wanted]
    found = pending.take_next(limit, ids=ids, tracking_id=track, failed=also_failed, tried=tried)
    expected = [
        n
        for n in range(1, 41)
        if n not in working | tried
        and (also_failed or n not in failed)
        and (wanted is None or n in wanted)
        and track in (None, TRACKS[n % 3])
    ]
    assert found == expected[:limit]
    assert all(pending.stage(n) is Status.EXTRACTING for n in found)


TestQueue = Queue.TestCase
TestQueue.settings = settings(examples(20), stateful_step_count=25)
