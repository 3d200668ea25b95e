"""Which submissions are pending and who works on them, indexed so that each step costs what it touches."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from heapq import merge
from itertools import filterfalse, islice

from stateless_rag.types import Status

__all__ = ["Pending"]

_FEW = 8  # looking up so many documents by id costs as much as passing one by


@dataclass(slots=True)
class _Submission:
    """What is held in memory of a submission; its text stays in the database."""

    document_id: str
    tracking_id: str
    failed: bool


@dataclass(slots=True)
class _Document:
    """The pending submissions of one document, ascending, and which one is being worked on."""

    sequences: list[int] = field(default_factory=list)
    working: int | None = None


@dataclass(slots=True)
class _Free:
    """The newest submissions of documents that nobody works on, ascending: to be tried, and failed before."""

    fresh: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)

    def add(self, sequence: int, *, failed: bool) -> None:
        insort(self.failed if failed else self.fresh, sequence)

    def remove(self, sequence: int, *, failed: bool) -> None:
        sequences = self.failed if failed else self.fresh
        del sequences[bisect_left(sequences, sequence)]

    def ascending(self, tried: Collection[int], *, failed: bool) -> Iterator[int]:
        """Those that were not tried; with `failed` also those that have failed."""
        known = tried.__contains__
        fresh = filterfalse(known, self.fresh)
        return merge(fresh, filterfalse(known, self.failed)) if failed else fresh

    def __len__(self) -> int:
        return len(self.fresh) + len(self.failed)


@dataclass(slots=True)
class _Track:
    """The pending submissions of one tracking id."""

    count: int = 0
    free: _Free = field(default_factory=_Free)
    unfinished: set[int] = field(default_factory=set)


class Pending:
    """Not thread-safe: the queue holds its lock around each call.

    Only the newest submission of a document is worked on, and it decides whether the document has failed.
    """

    def __init__(self) -> None:
        self._submissions: dict[int, _Submission] = {}
        self._documents: dict[str, _Document] = {}
        self._tracks: dict[str, _Track] = {}
        self._free = _Free()
        self._workers: dict[int, str] = {}
        self._merging: set[int] = set()
        self._cancelled: set[int] = set()
        self._held: frozenset[str] = frozenset()

    def __contains__(self, sequence: int) -> bool:
        return sequence in self._submissions

    @property
    def working(self) -> int:
        """How many documents are being worked on."""
        return len(self._workers)

    @property
    def claimable(self) -> int:
        """How many documents `take_next` would give if it were asked for all that have not failed."""
        if not self._held:
            return len(self._free.fresh)
        return sum(self._submissions[sequence].document_id not in self._held for sequence in self._free.fresh)

    # ---- changes ---------------------------------------------------------------------------------------

    def hold(self, ids: Collection[str]) -> None:
        """Leave these documents, and no others, out where nobody asks for them in particular."""
        self._held = frozenset(ids)

    def add(self, sequence: int, document_id: str, tracking_id: str, *, failed: bool) -> None:
        """Take note of a submission. A higher number is a newer one, in whatever order they come."""
        document = self._documents.setdefault(document_id, _Document())
        self._unfile(document)
        self._submissions[sequence] = _Submission(document_id, tracking_id, failed)
        insort(document.sequences, sequence)
        self._tracks.setdefault(tracking_id, _Track()).count += 1
        self._file(document)

    def remove(self, sequences: Iterable[int]) -> None:
        """Forget submissions, and let go of them."""
        for sequence in sequences:
            self.release(sequence)
            submission = self._submissions.get(sequence)
            if submission is None:
                continue
            document = self._documents[submission.document_id]
            self._unfile(document)
            document.sequences.remove(sequence)
            del self._submissions[sequence]
            track = self._tracks[submission.tracking_id]
            track.unfinished.discard(sequence)
            track.count -= 1
            if not track.count:
                del self._tracks[submission.tracking_id]
            self._file(document)
            self._forget_if_idle(submission.document_id, document)

    def fail(self, sequence: int) -> None:
        """Mark a submission as failed, and let go of it."""
        submission = self._submissions.get(sequence)
        if submission is not None:
            document = self._documents[submission.document_id]
            self._unfile(document)
            submission.failed = True
            self._file(document)
        self.release(sequence)

    def take(self, document_id: str, sequence: int) -> bool:
        """Work on a submission, unless somebody works on its document."""
        document = self._documents.setdefault(document_id, _Document())
        if document.working is not None:
            return False
        self._unfile(document)
        document.working = sequence
        self._workers[sequence] = document_id
        self._file(document)
        return True

    def take_next(
        self,
        limit: int,
        *,
        ids: Collection[str] | None,
        tracking_id: str | None,
        failed: bool,
        tried: Collection[int],
    ) -> list[int]:
        """Work on the newest submissions of documents that nobody works on, oldest first; of those that are held only
        if ids or a tracking id are given.
        """
        free = self._free
        if tracking_id is not None:
            track = self._tracks.get(tracking_id)
            if track is None:
                return []
            free = track.free
        candidates = free.ascending(tried, failed=failed)
        if ids is not None and len(ids) * _FEW < len(free):
            named = sorted(sequence for id_ in set(ids) for sequence in self._newest_of(id_))
            candidates = (n for n in named if self._fits(n, tracking_id, tried, failed=failed))
        elif ids is not None:
            wanted = ids if isinstance(ids, AbstractSet) else frozenset(ids)
            candidates = (n for n in candidates if self._submissions[n].document_id in wanted)
        elif tracking_id is None and self._held:
            candidates = (n for n in candidates if self._submissions[n].document_id not in self._held)
        chosen = list(islice(candidates, limit))
        for sequence in chosen:
            self.take(self._submissions[sequence].document_id, sequence)
        return chosen

    def advance(self, sequences: Collection[int], stage: Status) -> None:
        """Note how far submissions are that are being worked on."""
        if stage is Status.MERGING:
            self._merging.update(self._workers.keys() & set(sequences))
        else:
            self._merging.difference_update(sequences)

    def cancel(self, ids: Collection[str] | None, tracking_id: str | None) -> tuple[list[str], list[int]]:
        """Stop the documents (all, without `ids`) whose newest submission has not failed; returns their ids.

        Those that somebody works on are marked: `is_cancelled` tells so until they are let go. The others have
        failed from now on, and are returned too: their rows are to say so. With a tracking id only its submissions.
        """
        stopped, failed = [], []
        for id_ in list(self._documents) if ids is None else ids:
            document = self._documents.get(id_)
            if document is None or not document.sequences:
                continue
            # The newest counts, and what is worked on may be older.
            chosen = [
                sequence
                for sequence in sorted({document.sequences[-1], document.working or document.sequences[-1]})
                if (submission := self._submissions.get(sequence)) is not None
                and tracking_id in (None, submission.tracking_id)
                and (sequence == document.working or not submission.failed)
            ]
            if chosen:
                stopped.append(id_)
            for sequence in chosen:
                if sequence == document.working:
                    self._cancelled.add(sequence)
                else:
                    self.fail(sequence)
                    failed.append(sequence)
        return stopped, failed

    def is_cancelled(self, sequence: int) -> bool:
        """Whether who works on a submission should stop."""
        return sequence in self._cancelled

    def release(self, sequence: int) -> None:
        """Let go of a submission."""
        self._merging.discard(sequence)
        self._cancelled.discard(sequence)
        document_id = self._workers.pop(sequence, None)
        if document_id is not None:
            document = self._documents[document_id]
            self._unfile(document)
            document.working = None
            self._file(document)
            self._forget_if_idle(document_id, document)

    # ---- questions -------------------------------------------------------------------------------------

    def submissions(self, document_id: str) -> list[int]:
        """The pending submissions of a document, ascending."""
        document = self._documents.get(document_id)
        return [] if document is None else list(document.sequences)

    def failed_before(self, sequence: int) -> int | None:
        """The submission of the same document before this one, if it has failed."""
        sequences = self._documents[self._submissions[sequence].document_id].sequences
        place = bisect_left(sequences, sequence) - 1
        return sequences[place] if place >= 0 and self._submissions[sequences[place]].failed else None

    def documents(self) -> list[str]:
        """The documents that something is pending of."""
        return [id_ for id_, document in self._documents.items() if document.sequences]

    def stage(self, sequence: int) -> Status | None:
        """How far a submission is that somebody works on."""
        if sequence not in self._workers:
            return None
        return Status.MERGING if sequence in self._merging else Status.EXTRACTING

    def unfinished(self, tracking_id: str) -> set[int]:
        """The submissions of a tracking id whose documents have not failed."""
        track = self._tracks.get(tracking_id)
        return set() if track is None else set(track.unfinished)

    # ---- the lists of free submissions -----------------------------------------------------------------

    def _newest_of(self, document_id: str) -> list[int]:
        """The newest submission of a document that nobody works on; none if there is no such."""
        document = self._documents.get(document_id)
        return [] if document is None or document.working is not None else document.sequences[-1:]

    def _fits(self, sequence: int, tracking_id: str | None, tried: Collection[int], *, failed: bool) -> bool:
        submission = self._submissions[sequence]
        return (
            sequence not in tried
            and (failed or not submission.failed)
            and (
                tracking_id is None or tracking_id in self._tracks_of(self._documents[submission.document_id])
            )
        )

    def _tracks_of(self, document: _Document) -> set[str]:
        return {self._submissions[sequence].tracking_id for sequence in document.sequences}

    def _file(self, document: _Document) -> None:
        if not document.sequences:
            return
        newest = document.sequences[-1]
        failed = self._submissions[newest].failed
        for sequence in document.sequences:
            unfinished = self._tracks[self._submissions[sequence].tracking_id].unfinished
            (unfinished.discard if failed else unfinished.add)(sequence)
        if document.working is None:
            self._free.add(newest, failed=failed)
            for name in self._tracks_of(document):
                self._tracks[name].free.add(newest, failed=failed)

    def _unfile(self, document: _Document) -> None:
        """To be called before anything changes that `_file` rests on."""
        if document.sequences and document.working is None:
            newest = document.sequences[-1]
            failed = self._submissions[newest].failed
            self._free.remove(newest, failed=failed)
            for name in self._tracks_of(document):
                self._tracks[name].free.remove(newest, failed=failed)

    def _forget_if_idle(self, document_id: str, document: _Document) -> None:
        if not document.sequences and document.working is None:
            del self._documents[document_id]
