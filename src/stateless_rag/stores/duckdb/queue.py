"""The queue of documents that were accepted but are not committed yet, and who works on them."""

from __future__ import annotations

import json
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stateless_rag.protocols import Claim
from stateless_rag.stores.duckdb.database import Cursor, Write
from stateless_rag.stores.duckdb.journal import settled
from stateless_rag.stores.duckdb.pending import Pending
from stateless_rag.stores.duckdb.rows import append, metadata_json, remove_pending
from stateless_rag.types import File, Given

if TYPE_CHECKING:
    from stateless_rag.stores.duckdb.workspace import DuckWorkspace
    from stateless_rag.types import Status

__all__ = ["DocumentQueue"]


_UPGRADE = '"upgrade"'  # in place of what a caller says of a document
_FILE = '"file"'  # before a file in place of a text: its name as JSON, a line end, its contents in base 64


class DocumentQueue:
    """One process owns a root, so who works on what is kept in memory and vanishes with the process."""

    def __init__(self, workspace: DuckWorkspace, wall: Callable[[], float]) -> None:
        self._workspace = workspace
        self._wall = wall
        self._lock = threading.Lock()
        self._last = 0
        self._pending = Pending()

    @property
    def claimed(self) -> int:
        """How many documents are being worked on."""
        return self._pending.working

    @property
    def claimable(self) -> int:
        """How many documents are pending, have not failed, and are worked on by nobody."""
        return self._pending.claimable

    def hold(self, ids: Collection[str]) -> None:
        """Leave these documents to who asks for them by id or tracking id: they wait for something else."""
        with self._lock:
            self._pending.hold(ids)

    def load(self, cursor: Cursor, *, exists: bool) -> None:
        """Read what is pending."""
        if not exists:
            return
        listed = cursor.execute(self._workspace.sql["pending_index"]).fetchall()
        with self._lock:
            for sequence, document_id, tracking_id, failed in listed:
                self._pending.add(sequence, document_id, tracking_id, failed=failed)
                self._last = sequence

    async def submit(
        self, claims: Sequence[Claim], *, claimed: bool
    ) -> tuple[Sequence[Claim], Sequence[Claim]]:
        with self._lock:
            numbered = [replace(claim, sequence=self._last + n) for n, claim in enumerate(claims, 1)]
            self._last += len(numbered)
        now = self._wall()

        def apply(cursor: Cursor) -> None:
            self._workspace.ensure_tables(cursor)
            append(cursor, f"{self._workspace.schema}.pending", _columns(numbered, now))
            append(cursor, f"{self._workspace.schema}.given", _given_columns(numbered))

        taken: list[Claim] = []
        waited_for = claimed

        def committed(_: None) -> None:
            with self._lock:
                for claim in numbered:
                    self._pending.add(claim.sequence, claim.document_id, claim.tracking_id, failed=False)
                if waited_for:  # in one go, so that nobody else takes them before
                    newest = {claim.document_id: claim for claim in numbered}
                    taken.extend(c for id_, c in newest.items() if self._pending.take(id_, c.sequence))

        # Durable means known as pending, also if whoever submitted has been cancelled by then.
        try:
            await settled(self._workspace.write(Write(apply, committed)))
        except BaseException:
            with self._lock:
                waited_for = False
                for claim in taken:
                    self._pending.release(claim.sequence)
            raise
        with self._lock:
            left = [claim for claim in taken if claim.sequence in self._pending]
            failed = {claim.sequence: self._pending.failed_before(claim.sequence) for claim in left}
        return numbered, await self._with_errors(left, failed)

    async def _with_errors(
        self, claims: Sequence[Claim], failed: Mapping[int, int | None]
    ) -> Sequence[Claim]:
        """The claims with what went wrong with the submission before each, so that attempts are counted on."""
        before = [sequence for sequence in failed.values() if sequence is not None]
        if not before:
            return claims
        try:
            rows = await settled(
                self._workspace.in_reader(lambda: self._workspace.select("pending_errors", before))
            )
        except BaseException:
            self.release([claim.sequence for claim in claims])
            raise
        errors = {sequence: tuple(json.loads(told)) for sequence, told in rows}
        return [replace(claim, errors=errors.get(failed[claim.sequence], ())) for claim in claims]

    async def claim(
        self,
        limit: int,
        *,
        ids: Collection[str] | None,
        tracking_id: str | None,
        failed: bool,
        tried: Collection[int],
    ) -> Sequence[Claim]:
        with self._lock:
            chosen = self._pending.take_next(
                limit, ids=ids, tracking_id=tracking_id, failed=failed, tried=tried
            )
        if not chosen:
            return []
        try:
            found = await settled(
                self._workspace.in_reader(lambda: self._workspace.select("pending", chosen))
            )
        except BaseException:
            self.release(chosen)
            raise
        self.release(set(chosen) - {row[0] for row in found})
        return [_claim(row) for row in found]

    def release(self, sequences: Collection[int]) -> None:
        """Let go of claims."""
        with self._lock:
            for sequence in sequences:
                self._pending.release(sequence)

    async def file_content(self, sequence: int) -> bytes | None:
        """The file that was submitted in place of a text."""

        def read() -> bytes | None:
            found = self._workspace.select("file_content", [sequence])
            return b64decode(found[0][0]) if found else None

        content: bytes | None = await settled(self._workspace.in_reader(read))
        return content

    async def fail(self, claim: Claim, errors: Sequence[Mapping[str, Any]]) -> None:
        now = self._wall()
        values = [claim.attempts + 1, json.dumps(list(errors), ensure_ascii=False), now, claim.sequence]
        statement = self._workspace.sql["fail_pending"]

        def committed(_: object) -> None:
            with self._lock:
                self._pending.fail(claim.sequence)

        await settled(
            self._workspace.write(
                Write(lambda cursor: cursor.execute(statement, values).fetchall(), committed)
            )
        )

    async def cancel(self, ids: Collection[str] | None, tracking_id: str | None, error: str) -> Sequence[str]:
        with self._lock:
            stopped, failed = self._pending.cancel(ids, tracking_id)
        if failed:  # if this cannot be written they are pending again when the workspace is opened again
            values = [json.dumps([{"error": error}], ensure_ascii=False), self._wall(), failed]
            statement = self._workspace.sql["cancel_pending"]
            write = Write(lambda cursor: cursor.execute(statement, values).fetchall())
            await settled(self._workspace.write(write))
        return stopped

    def is_cancelled(self, sequence: int) -> bool:
        """Whether who works on a submission should stop."""
        return self._pending.is_cancelled(sequence)

    async def withdraw(self, sequences: Collection[int]) -> None:
        if not sequences:
            return
        sql, wanted = self._workspace.sql, list(sequences)
        await settled(
            self._workspace.write(
                Write(lambda cursor: remove_pending(cursor, sql, wanted), lambda _: self.finished(sequences))
            )
        )

    def finished(self, sequences: Collection[int]) -> None:
        """Forget documents whose rows are gone."""
        with self._lock:
            self._pending.remove(sequences)

    def superseded(self, claim: Claim) -> list[int]:
        """This claim and older ones of the same document: all done once it commits."""
        with self._lock:
            return [n for n in self._pending.submissions(claim.document_id) if n <= claim.sequence]

    def stage(self, sequence: int) -> Status | None:
        """How far a submission is that somebody works on."""
        return self._pending.stage(sequence)

    def advance(self, sequences: Collection[int], stage: Status) -> None:
        """Note how far submissions are that are being worked on."""
        with self._lock:
            self._pending.advance(sequences, stage)

    def is_pending(self, sequence: int) -> bool:
        """Whether a submission is still waiting to be committed."""
        return sequence in self._pending

    def unfinished(self, tracking_id: str) -> set[int]:
        """The submissions of one tracking id that neither were committed nor have failed.

        The newest submission of a document decides: if it failed, nobody will try the older ones.
        """
        with self._lock:
            return self._pending.unfinished(tracking_id)

    def waiting(self, ids: Collection[str] | None) -> dict[str, list[int]]:
        """What is pending, by document."""
        with self._lock:
            found = {
                id_: self._pending.submissions(id_)
                for id_ in (self._pending.documents() if ids is None else set(ids))
            }
        return {id_: sequences for id_, sequences in found.items() if sequences}


def _claim(row: tuple[Any, ...]) -> Claim:
    return Claim(
        sequence=row[0],
        document_id=row[1],
        source=row[2],
        metadata=json.loads(row[3]),
        text=row[4],
        tracking_id=row[5],
        attempts=row[6],
        errors=tuple(json.loads(row[7])),
        upgrade=row[8] == _UPGRADE,
        **_given(row[8]),
    )


def _given(value: str | None) -> dict[str, Any]:
    if value is None or value == _UPGRADE:
        return {}
    if value.startswith(_FILE):
        return {"file": File(json.loads(value.removeprefix(_FILE)), None)}
    return {"given": Given.from_json(json.loads(value))}


def _given_columns(claims: Sequence[Claim]) -> dict[str, Any]:
    given = [
        (claim.sequence, _UPGRADE if claim.upgrade else _told(claim.given, claim.file))
        for claim in claims
        if claim.upgrade or claim.given is not None or claim.file is not None
    ]
    return {"sequence": [sequence for sequence, _ in given], "value": [value for _, value in given]}


def _told(given: Given | None, file: File | None) -> str:
    if file is not None:
        return f"{_FILE}{json.dumps(file.name)}\n{b64encode(file.content or b'').decode('ascii')}"
    return json.dumps(None if given is None else given.to_json(), ensure_ascii=False)


def _columns(claims: Sequence[Claim], now: float) -> dict[str, Any]:
    return {
        "sequence": [claim.sequence for claim in claims],
        "document_id": [claim.document_id for claim in claims],
        "source": [claim.source for claim in claims],
        "metadata": [metadata_json(claim.metadata) for claim in claims],
        "text": [claim.text for claim in claims],
        "tracking_id": [claim.tracking_id for claim in claims],
        "attempts": [claim.attempts for claim in claims],
        "errors": [json.dumps(list(claim.errors), ensure_ascii=False) for claim in claims],
        "updated_at": [now] * len(claims),
    }
