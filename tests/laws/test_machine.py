"""All laws together: whatever is done to a workspace, in whatever order, it holds what the plain model holds."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from laws import generators
from laws.by_hand import Step, steps
from laws.generators import IDS, KEYS, CountingEmbedder, StatementLLM, documents
from laws.model import Model
from laws.profiles import examples
from laws.workspaces import contents, copied, new_model
from stateless_rag.engine import Engine
from stateless_rag.errors import InvalidInput
from stateless_rag.types import Document
from unit.scripted import WordTokenizer

batches = st.lists(documents(), min_size=1, max_size=3)
some_ids = st.lists(st.sampled_from(IDS), min_size=1, max_size=3, unique=True)


class Workspace(RuleBasedStateMachine):
    """Steps on an engine and on the model."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.places = 0
        self.root = self.folder / "0"
        self.runner = asyncio.Runner()
        self.llm = StatementLLM()
        self.embedder = CountingEmbedder()
        self.engine: Engine
        self.model: Model

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    async def _open(self) -> None:
        self.engine = await Engine.open(
            self.root,
            llm=self.llm,
            embedder=self.embedder,
            tokenizer=WordTokenizer(),
            settings=generators.settings(accept_partial=self.accept_partial),
        )

    @initialize(accept_partial=st.booleans())
    def start(self, accept_partial: bool) -> None:
        self.accept_partial = accept_partial
        self.run(self._open())
        self.model = new_model(self.engine, accept_partial=accept_partial)

    # ---- documents -------------------------------------------------------------------------------------

    @rule(batch=batches)
    def insert(self, batch: Any) -> None:
        report = self.run(self.engine.insert(batch))
        self.model.insert(batch)
        assert [found.id for found in report.documents] or not batch

    @rule(batch=batches)
    def submit(self, batch: Any) -> None:
        self.run(self.engine.submit(batch))
        self.model.submit(batch)

    @rule(data=st.data())
    def update(self, data: Any) -> None:
        held = sorted(self.model.held)
        if held:
            old = self.model.held[data.draw(st.sampled_from(held))].document
            new = Document(data.draw(generators.versions(old.text)), id=old.id)
            self.insert([new])

    @rule()
    def insert_again(self) -> None:
        whole = [held.document for held in self.model.held.values() if not held.broken]
        calls, embedded = self.llm.calls.copy(), self.embedder.embedded
        self.run(self.engine.insert(whole))
        self.model.insert(whole)
        assert (self.llm.calls, self.embedder.embedded) == (calls, embedded)

    @rule(ids=some_ids)
    def delete(self, ids: Any) -> None:
        known = {*self.model.held, *(str(s.document.id) for s in self.model.queue)}
        report = self.run(self.engine.delete(ids))
        assert set(report.deleted) == known & set(ids)
        self.model.delete(ids)

    @rule()
    def work(self) -> None:
        self.run(self.engine.work(until_empty=True))
        self.model.work(failed=False)

    @rule()
    def resume(self) -> None:
        self.run(self.engine.resume())
        self.model.work(failed=True)

    # ---- aliases ---------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(KEYS), other=st.sampled_from(KEYS))
    def alias(self, name: str, other: str) -> None:
        if self.model.alias(name, other):
            self.run(self.engine.alias(name, other))
        else:
            with pytest.raises(InvalidInput):
                self.run(self.engine.alias(name, other))

    @precondition(lambda self: self.model.aliases)
    @rule(data=st.data())
    def unalias(self, data: Any) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.aliases)))
        self.model.alias(name, None)
        self.run(self.engine.alias(name, None))

    # ---- by hand ---------------------------------------------------------------------------------------

    @rule(step=steps())
    def curate(self, step: Step) -> None:
        if self.model.curate(step):
            self.run(step.take(self.engine))
        else:
            with pytest.raises(InvalidInput):
                self.run(step.take(self.engine))

    @precondition(lambda self: self.model.hand.log)
    @rule(data=st.data())
    def undo(self, data: Any) -> None:
        number = data.draw(st.integers(1, len(self.model.hand.log) + 1))
        if self.model.undo(number):
            self.run(self.engine.undo(number))
        else:
            with pytest.raises(InvalidInput):
                self.run(self.engine.undo(number))

    # ---- trouble ---------------------------------------------------------------------------------------

    @rule(broken=st.booleans())
    def provider(self, broken: bool) -> None:
        self.llm.broken = self.model.broken = broken

    @rule()
    def close_and_open(self) -> None:
        self.run(self.engine.close())
        self.run(self._open())

    @rule()
    def kill(self) -> None:
        self._move_to(copied(self.root, self._place()))

    @rule(batch=batches, at=st.integers(1, 6))
    def kill_while_inserting(self, batch: Any, at: int) -> None:
        """The process dies at one of the LLM's calls; the next one resumes."""
        self.llm.broken = self.model.broken = False
        place, calls = self._place(), 0

        def before(_: object) -> None:
            nonlocal calls
            calls += 1
            if calls == at:
                copied(self.root, place)

        self.llm.before = before
        self.run(self.engine.insert(batch))
        self.llm.before = None
        if not place.exists():
            copied(self.root, place)
        self._move_to(place)
        self.run(self.engine.resume())
        self.model.submit(batch)
        self.model.work(failed=True)

    def _place(self) -> Path:
        self.places += 1
        return self.folder / str(self.places)

    def _move_to(self, place: Path) -> None:
        self.run(self.engine.close())
        self.root = place
        self.run(self._open())

    # ---- what must be true -----------------------------------------------------------------------------

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        if hasattr(self, "model"):
            found = self.run(contents(self.engine))
            assert found == self.model.dump()

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.run(self.engine.close())
        self.runner.close()
        shutil.rmtree(self.folder)


TestWorkspace = Workspace.TestCase
TestWorkspace.settings = settings(examples(15), stateful_step_count=12)
