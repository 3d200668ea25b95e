"""What became of the documents of a run: progress to the observer, and the report at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from stateless_rag.types import DocumentReport, DocumentStatus, InsertReport, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stateless_rag.context import Context
    from stateless_rag.errors import BudgetExhausted
    from stateless_rag.ingest.work import Work
    from stateless_rag.protocols import Claim, Workspace

__all__ = ["Found", "Reports", "found"]

_EMPTY = MappingProxyType({"empty": 1})


@dataclass(frozen=True, slots=True)
class Found:
    """What the extractions of one document hold, in numbers."""

    entities: int = 0
    relations: int = 0
    warnings: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    truncated: tuple[int, ...] = ()


def found(work: Work) -> Found:
    """Count what a document's extractions hold. Long for a large document: run it in a thread."""
    entities: set[str] = set()
    relations: set[tuple[str, str]] = set()
    warnings: Counter[str] = Counter()
    for extraction in work.extractions.values():
        entities.update(mention.key for mention in extraction.entities)
        relations.update(
            (min(mention.source_key, mention.target_key), max(mention.source_key, mention.target_key))
            for mention in extraction.relations
        )
        warnings.update(extraction.warnings)
    cut = {id_ for id_, extraction in work.extractions.items() if extraction.truncated}
    truncated = tuple(chunk.ordinal for chunk in work.chunks if chunk.id in cut)
    return Found(len(entities), len(relations), MappingProxyType(dict(warnings)), truncated)


class Reports:
    """The reports of one run. `keep` bounds how many the run's report tells of, the last ones; None: all."""

    def __init__(self, context: Context, tracking_id: str, keep: int | None) -> None:
        self._context = context
        self._tracking_id = tracking_id
        self._keep = keep
        self._started = context.clock.monotonic()
        self._reports: dict[int, DocumentReport] = {}
        self._order: dict[int, None] = {}
        self._expected: list[Claim] = []
        self._settled = 0
        self.under_way: set[int] = set()
        self.total: int | None = None
        self.paused: BudgetExhausted | None = None

    @property
    def accepted(self) -> set[int]:
        """Submissions that the run has worked on or is working on."""
        return set(self._order)

    def accept(self, claims: Sequence[Claim]) -> None:
        """Take note of documents that the run works on."""
        self.under_way.update(claim.sequence for claim in claims)
        for claim in claims:
            self._order[claim.sequence] = None
            self._context.emit("accepted", document_id=claim.document_id, done=len(self._order))

    def expect(self, submitted: Sequence[Claim]) -> None:
        """Take note of documents that the report must tell of, also if another run works on them."""
        self._expected.extend(replace(claim, text="") for claim in submitted)

    def settle(
        self,
        work: Work,
        status: Status,
        kind: Literal["unchanged", "committed", "failed", "paused"],
        holds: Found,
        **fields: Any,
    ) -> None:
        """Report what became of a document."""
        report = DocumentReport(
            id=work.claim.document_id,
            source=work.claim.source,
            status=status,
            chunks=len(work.chunks),
            entities=holds.entities,
            relations=holds.relations,
            errors=tuple(work.errors),
            warnings=holds.warnings if work.chunks or status is not Status.PROCESSED else _EMPTY,
            truncated=holds.truncated,
            **fields,
        )
        self.under_way.discard(work.claim.sequence)
        self._reports[work.claim.sequence] = report
        self._settled += 1
        if self._keep is not None and len(self._reports) > self._keep:
            oldest = next(iter(self._reports))
            del self._reports[oldest], self._order[oldest]
        self._context.emit(
            kind,
            document_id=report.id,
            done=self._settled,
            total=self.total,
            message=report.error or "",
            report=report,
        )

    def pause(self, reason: BudgetExhausted) -> None:
        """Take note that nothing more can be paid for now."""
        self.paused = reason

    def put_back(self, work: Work) -> None:
        """Report that a document stays pending, since it cannot be paid for now."""
        error = None if self.paused is None else f"{type(self.paused).__name__}: {self.paused}"
        self.settle(work, Status.PENDING, "paused", Found(), error=error, stale=work.updates)

    async def finish(self, workspace: Workspace) -> InsertReport:
        """The report of the run; what others worked on is looked up in the workspace."""
        by_document = {report.id: report for _, report in sorted(self._reports.items())}
        others = {claim.document_id for claim in self._expected} - by_document.keys()
        if others:
            statuses = await workspace.statuses(others)
            by_document.update({id_: _report_of(status) for id_, status in statuses.items()})
        documents = {claim.sequence: claim.document_id for claim in self._expected}
        told = [
            self._reports.get(sequence) or by_document.get(documents.get(sequence, ""))
            for sequence in documents or self._order
        ]
        report = InsertReport(
            tracking_id=self._tracking_id,
            documents=tuple(report for report in told if report is not None),
            usage=self._context.meter.totals(),
            seconds=self._context.clock.monotonic() - self._started,
            revision=workspace.revision,
            paused=None if self.paused is None else str(self.paused),
        )
        self._context.emit("finished", done=len(told), total=len(told), report=report)
        return report


def _report_of(status: DocumentStatus) -> DocumentReport:
    """What became of a document that another run worked on."""
    return DocumentReport(
        id=status.id,
        source=status.source,
        status=status.status,
        chunks=status.chunks,
        errors=status.errors,
        error=status.error,
        stale=status.stale,
        truncated=status.truncated,
    )
