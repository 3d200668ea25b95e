"""Which revisions can be read, and which changes conflict with what was committed since they were computed."""

from __future__ import annotations

from typing import Any

import pytest

from stateless_rag.errors import CommitConflict
from stateless_rag.protocols import ALIASES, Change
from stateless_rag.stores.duckdb.revisions import Revisions
from stateless_rag.stores.duckdb.views import View
from stateless_rag.text import stable_id


def change(base: int = 0, **fields: Any) -> Change:
    return Change(base=base, vectors={}, **fields)


def commit(revisions: Revisions, made: Change) -> None:
    view = View(revision=revisions.last.revision + 1)
    revisions.prepare(view, made)
    revisions.committed(view)


@pytest.mark.parametrize(
    ("made", "touched"),
    [
        (change(removed_entities=(7,)), 7),
        (change(removed_relations=(8,)), 8),
        (change(removed_documents=("d",)), stable_id("document", "d")),
        (change(aliases={"ada": "ada lovelace"}), ALIASES),
    ],
    ids=["entity", "relation", "document", "aliases"],
)
def test_a_change_conflicts_with_a_later_commit_that_touched_what_it_read(made: Change, touched: int) -> None:
    revisions = Revisions(View(revision=3))
    commit(revisions, made)
    revisions.refuse_conflicts(change(base=3, reads=frozenset({touched + 1})))
    revisions.refuse_conflicts(change(base=4, reads=frozenset({touched})))
    with pytest.raises(CommitConflict, match="revision 4 changed what was read at revision 3"):
        revisions.refuse_conflicts(change(base=3, reads=frozenset({touched})))


def test_a_change_is_refused_where_nobody_remembers_what_was_touched_since() -> None:
    revisions = Revisions(View(revision=3))
    with pytest.raises(CommitConflict, match="revision 2 is too old"):
        revisions.refuse_conflicts(change(base=2))
    for _ in range(256):
        commit(revisions, change())
    revisions.refuse_conflicts(change(base=3))
    commit(revisions, change())
    revisions.refuse_conflicts(change(base=4))
    with pytest.raises(CommitConflict, match="revision 3 is too old"):
        revisions.refuse_conflicts(change(base=3))


def test_what_was_prepared_and_rolled_back_is_forgotten() -> None:
    revisions = Revisions(View(revision=0))
    revisions.prepare(View(revision=1), change(removed_entities=(7,)))
    assert revisions.last.revision == 0 and revisions.view(1) is not None
    revisions.abandoned()
    assert revisions.view(1) is None and revisions.view(0) is revisions.last
    commit(revisions, change())
    revisions.refuse_conflicts(change(base=0, reads=frozenset({7})))


def test_the_last_view_can_be_read_until_it_is_cleared() -> None:
    revisions = Revisions(View(revision=0))
    for _ in range(20):
        commit(revisions, change())
    held = [revision for revision in range(21) if revisions.view(revision) is not None]
    assert held == [20]
    revisions.clear()
    assert revisions.last.revision == 20
    assert not any(revisions.view(revision) for revision in range(21))
