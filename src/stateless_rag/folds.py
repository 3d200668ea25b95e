"""The folds of one kind that a commit touches, before and after it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from stateless_rag.kinds import ByHand, Fold, Kind, Row

if TYPE_CHECKING:
    from stateless_rag.curation_log import CurationLog
    from stateless_rag.protocols import Basis
    from stateless_rag.stages.merge import Resolve

__all__ = ["Changed", "Folds", "row_ids"]

KeyT = TypeVar("KeyT")
FoldT = TypeVar("FoldT", bound=Fold)
RowT = TypeVar("RowT", bound=Row)
HandT = TypeVar("HandT", bound=ByHand)
MentionT = TypeVar("MentionT")


def _no_pause() -> None:
    """Go on."""


@dataclass(frozen=True, slots=True)
class Changed(Generic[FoldT, HandT]):
    """A fold that is new or changed, and what was said by hand. `description` is that which was given by hand, or
    the old one if nothing that it depends on changed.
    """

    id: int
    fold: FoldT
    by_hand: HandT | None
    state: str
    description: str | None
    kind: Kind[Any, FoldT, Any, Any, HandT]

    @property
    def subject(self) -> str:
        """What the description is about, as a summary is told: few need one."""
        return self.kind.subject(self.fold, self.by_hand)


class Folds(Generic[KeyT, FoldT, MentionT, RowT, HandT]):
    """The rows there were, and the folds there are now (None for those that no mention is left of).

    What is said by hand comes last: `before` and `log` are the log then and now.
    """

    def __init__(
        self,
        kind: Kind[KeyT, FoldT, MentionT, RowT, HandT],
        ids: Mapping[KeyT, int],
        rows: Mapping[int, RowT],
        before: CurationLog,
        log: CurationLog,
        pause: Callable[[], None] = _no_pause,
    ) -> None:
        """`ids` has the id of the row of each key that is touched; `pause` is called between two keys."""
        self._kind = kind
        self._rows = rows
        self._before = before
        self._log = log
        self._pause = pause
        self.row_ids = ids
        self.after: dict[KeyT, FoldT | None] = {}
        self.lost: set[int] = set()
        self._said: dict[KeyT, HandT | None] = {}

    @classmethod
    def incremental(
        cls,
        kind: Kind[KeyT, FoldT, MentionT, RowT, HandT],
        basis: Basis,
        plus: Mapping[KeyT, FoldT],
        minus: Mapping[KeyT, FoldT],
        pause: Callable[[], None] = _no_pause,
    ) -> Folds[KeyT, FoldT, MentionT, RowT, HandT]:
        """Add and subtract; `lost` are the ids of folds that have to be folded again."""
        ids, log = row_ids(kind, {*plus, *minus}), basis.curations()
        rows = kind.rows(basis, list(ids.values()))
        folds = cls(kind, ids, rows, log, log, pause)
        for key, row_id in ids.items():
            pause()
            row = rows.get(row_id)
            fold = None if row is None else kind.load(key, row.state)
            if fold is not None and key in minus:
                fold = kind.subtract(fold, minus[key])
                if fold is None:
                    folds.lost.add(row_id)
            more = plus.get(key)
            folds.after[key] = more if fold is None else fold if more is None else kind.add(fold, more)
        return folds

    @classmethod
    def curated(
        cls,
        kind: Kind[KeyT, FoldT, MentionT, RowT, HandT],
        basis: Basis,
        keys: Iterable[KeyT],
        log: CurationLog,
    ) -> Folds[KeyT, FoldT, MentionT, RowT, HandT]:
        """The folds as they are, under another log."""
        ids = row_ids(kind, keys)
        rows = kind.rows(basis, list(ids.values()))
        folds = cls(kind, ids, rows, basis.curations(), log)
        stored = {key: rows.get(row_id) for key, row_id in ids.items()}
        folds.after = {key: None if row is None else kind.load(key, row.state) for key, row in stored.items()}
        return folds

    def again(self, mentions: Sequence[MentionT], resolve: Resolve, keys: Collection[KeyT] = ()) -> None:
        """Fold those that were lost, or some keys, from all of their mentions."""
        found = self._kind.fold(mentions, resolve)
        self.after.update(
            {key: found.get(key) for key in self.after if key in keys or self.row_ids[key] in self.lost}
        )

    def ids(self) -> set[int]:
        """The ids of the rows of all keys that are touched."""
        return set(self.row_ids.values())

    def hidden(self) -> set[int]:
        """The ids of those that are not there whatever mentions them."""
        return {row_id for key, row_id in self.row_ids.items() if self._hidden(key)}

    def place(self, key: KeyT) -> int | None:
        """The row that mentions of a key fold into; None if there is none."""
        row_id = self.row_ids.get(key)
        if not self._log.entries:
            return row_id
        return None if row_id is None or self._hidden(key) else row_id

    def changed(self) -> tuple[Changed[FoldT, HandT], ...]:
        """Those that are new or shown otherwise than before."""
        return tuple(change for key in self.after if (change := self._changed(key)) is not None)

    def removed(self) -> tuple[int, ...]:
        """The ids of those that are no more."""
        gone = {self.row_ids[key] for key in self.after if self._there(key) is None}
        return tuple(sorted(gone & self._rows.keys()))

    def stored_vectors(self) -> frozenset[str]:
        """Digests of vectors that their rows named."""
        return frozenset(row.vector for row in self._rows.values())

    def _by_hand(self, key: KeyT) -> HandT | None:
        if not self._log.entries:
            return None
        if key not in self._said:
            self._said[key] = self._kind.by_hand(self._log, key)
        return self._said[key]

    def _hidden(self, key: KeyT) -> bool:
        by_hand = self._by_hand(key)
        return by_hand is not None and by_hand.hidden

    def _there(self, key: KeyT) -> FoldT | None:
        """The fold of a key that is shown."""
        fold, by_hand = self.after[key], self._by_hand(key)
        if by_hand is not None and by_hand.hidden:
            return None
        if fold is not None and fold.chunks:
            return fold
        return self._kind.empty(key) if by_hand is not None and by_hand.made else None

    def _changed(self, key: KeyT) -> Changed[FoldT, HandT] | None:
        self._pause()
        fold = self._there(key)
        if fold is None:
            return None
        row_id, state = self.row_ids[key], self._kind.dump(fold)
        row, by_hand = self._rows.get(row_id), self._by_hand(key)
        before = by_hand if self._before is self._log else self._kind.by_hand(self._before, key)
        if row is not None and row.state == state and before == by_hand:
            return None
        description = self._described(key, fold, row, before, by_hand)
        return Changed(row_id, fold, by_hand, state, description, self._kind)

    def _described(
        self,
        key: KeyT,
        fold: FoldT,
        row: RowT | None,
        before: HandT | None,
        by_hand: HandT | None,
    ) -> str | None:
        """What was said by hand, or the old description, if it depends on nothing that changed."""
        if by_hand is not None and by_hand.description is not None:
            return by_hand.description
        if by_hand is not None and by_hand.told is not None and not fold.texts:
            return by_hand.told
        if row is None or (before is not None and before.description is not None):
            return None
        old = self._kind.load(key, row.state)
        if before is not None and before.told is not None and not old.texts:
            return None
        if old.texts != fold.texts or self._kind.subject(old, before) != self._kind.subject(fold, by_hand):
            return None
        return self._kind.description(row)


def row_ids(kind: Kind[KeyT, Any, Any, Any, Any], keys: Iterable[KeyT]) -> dict[KeyT, int]:
    """The id of the row of each key, in ascending order."""
    return dict(sorted(((key, kind.row_id(key)) for key in keys), key=itemgetter(1)))
