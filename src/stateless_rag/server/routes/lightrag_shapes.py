"""Bodies of requests and answers on LightRAG's document routes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StrictInt, field_validator, model_validator

from stateless_rag.interop.lightrag.results import DocStatus

__all__ = [
    "CacheCleared",
    "Cancelled",
    "Cleared",
    "Conflicts",
    "DeleteDocs",
    "Deletion",
    "DocStatusRow",
    "FileTypes",
    "ForceReset",
    "InsertText",
    "InsertTexts",
    "Inserted",
    "Page",
    "PageRequest",
    "PipelineStatus",
    "Repair",
    "Reprocessed",
    "Reset",
    "Scan",
    "ScanStarted",
    "StatusCounts",
    "TextChunking",
    "Tracked",
]

_Strategy = Literal["fixed_token", "recursive_character", "semantic_vector", "paragraph_semantic", "custom"]


class TextChunking(BaseModel, extra="forbid"):
    """How texts are cut."""

    strategy: _Strategy = "fixed_token"
    params: Annotated[dict[str, Any], Field(default_factory=dict)]

    @model_validator(mode="after")
    def _checked(self) -> TextChunking:
        if self.strategy == "custom":
            raise ValueError("there is no custom chunking function on this server")
        wanted: type[_Params] = _Params
        match self.strategy:
            case "fixed_token":
                wanted = _Fixed
            case "recursive_character":
                wanted = _Recursive
            case "paragraph_semantic":
                wanted = _Paragraph
            case "semantic_vector":
                wanted = _Semantic
        checked = wanted.model_validate(self.params)
        overlap = getattr(checked, "chunk_overlap_token_size", None)
        if self.strategy != "semantic_vector":
            size = 1200 if checked.chunk_token_size is None else checked.chunk_token_size
            if (100 if overlap is None else overlap) >= size:
                raise ValueError(f"chunk_overlap_token_size must be less than chunk_token_size, {size}")
        return self


class _Params(BaseModel, extra="forbid", strict=True):
    chunk_token_size: Annotated[StrictInt, Field(ge=1, le=2**31 - 1)] | None = None


class _Overlapping(_Params):
    chunk_overlap_token_size: Annotated[StrictInt, Field(ge=0, le=2**31 - 1)] | None = None


class _Fixed(_Overlapping):
    split_by_character: str | None = None
    split_by_character_only: bool = False


class _Recursive(_Overlapping):
    separators: Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=64)] | None = None


class _Paragraph(_Overlapping):
    drop_references: bool = False


class _Semantic(_Params):
    breakpoint_threshold_type: (
        Literal["percentile", "standard_deviation", "interquartile", "gradient"] | None
    ) = None
    breakpoint_threshold_amount: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    buffer_size: Annotated[StrictInt, Field(ge=1)] | None = None


class InsertText(BaseModel):
    """A text and where it is from."""

    text: Annotated[str, Field(min_length=1)]
    file_source: str | None = None
    chunking: TextChunking | None = None

    @field_validator("text")
    @classmethod
    def _stripped(cls, value: str) -> str:
        if not (stripped := value.strip()):
            raise ValueError("the text is blank")
        return stripped


class InsertTexts(BaseModel):
    """Texts and where they are from."""

    texts: Annotated[list[str], Field(min_length=1)]
    file_sources: list[str] | None = None
    chunking: TextChunking | None = None

    @field_validator("texts")
    @classmethod
    def _stripped(cls, value: list[str]) -> list[str]:
        stripped = [text.strip() for text in value]
        if not all(stripped):
            raise ValueError("a text is blank")
        return stripped


class Inserted(BaseModel):
    """What was accepted; work goes on in the background."""

    status: Literal["success", "duplicated", "partial_success", "failure"]
    message: str
    track_id: str


class DocStatusRow(BaseModel):
    """A document's row."""

    id: str
    content_summary: str
    content_length: int
    status: DocStatus
    created_at: str
    updated_at: str
    track_id: str | None = None
    chunks_count: int | None = None
    error_msg: str | None = None
    metadata: dict[str, Any] | None = None
    file_path: str


class Tracked(BaseModel):
    """The documents of a tracking id."""

    track_id: str
    documents: list[DocStatusRow]
    total_count: int
    status_summary: dict[str, int]


class PageRequest(BaseModel):
    """Which documents are listed, and how."""

    status_filter: DocStatus | None = None
    status_filters: list[DocStatus] | None = None
    page: Annotated[int, Field(ge=1, le=10_000_000)] = 1
    page_size: Annotated[int, Field(ge=10, le=200)] = 50
    sort_field: Literal["created_at", "updated_at", "id", "file_path"] = "updated_at"
    sort_direction: Literal["asc", "desc"] = "desc"


class Pagination(BaseModel):
    """Where a page is."""

    page: int
    page_size: int
    total_count: int
    total_pages: int
    has_next: bool
    has_prev: bool


class Page(BaseModel):
    """Some documents."""

    documents: list[DocStatusRow]
    pagination: Pagination
    status_counts: dict[str, int]


class StatusCounts(BaseModel):
    """How many documents there are of each status."""

    status_counts: dict[str, int]


class PipelineStatus(BaseModel):
    """What a workspace is doing."""

    busy: bool
    job_name: str
    job_start: str | None
    docs: int
    batchs: int
    cur_batch: int
    request_pending: bool
    latest_message: str
    history_messages: list[str]
    update_status: dict[str, list[bool]]
    recovery_required: bool
    recovery_kind: str | None
    recovery_message: str | None
    destructive_busy: bool
    scanning: bool
    scanning_exclusive: bool
    pending_enqueues: int
    cancellation_requested: bool


class FileTypes(BaseModel):
    """What can be uploaded."""

    supported_extensions: list[str]
    engines: dict[str, list[str]]


class DeleteDocs(BaseModel):
    """Documents to be deleted."""

    doc_ids: Annotated[list[str], Field(min_length=1)]
    delete_file: bool = False
    delete_llm_cache: bool = False

    @field_validator("doc_ids")
    @classmethod
    def _checked(cls, value: list[str]) -> list[str]:
        stripped = [each.strip() for each in value]
        if not all(stripped) or len(set(stripped)) < len(stripped):
            raise ValueError("ids must not be blank, and all different")
        return stripped


class Deletion(BaseModel):
    """What a deletion came to."""

    status: Literal["deletion_started", "busy", "not_allowed"]
    message: str
    doc_id: str


class Cleared(BaseModel):
    """What clearing a workspace came to."""

    status: Literal["success", "partial_success", "busy", "fail"]
    message: str


class CacheCleared(BaseModel):
    """What clearing the cache came to."""

    status: Literal["success", "fail"]
    message: str


class Cancelled(BaseModel):
    """What cancelling came to."""

    status: Literal["cancellation_requested", "not_busy"]
    message: str


class Reprocessed(BaseModel):
    """What trying again came to."""

    status: Literal["reprocessing_started"]
    message: str
    track_id: str


class ForceReset(BaseModel):
    """Whether it is meant."""

    confirm: bool = False


class Reset(BaseModel):
    """Nothing is ever to be recovered."""

    status: Literal["reset", "no_recovery_required"]
    message: str
    cancelled_manual_retries: int


class Conflict(BaseModel):
    """Documents under one source; there are none."""

    canonical_source_key: str
    candidate_count: int | None
    sample_doc_ids: list[str]


class Conflicts(BaseModel):
    """Documents under one source; there are none."""

    conflicts: list[Conflict]
    next_cursor: str | None


class Repair(BaseModel):
    """Which of several documents is to stay."""

    canonical_source_key: str
    primary_doc_id: str
    expected_candidate_count: int | None = None
    expected_candidate_fingerprint: str | None = None
    dry_run: bool = True

    @model_validator(mode="after")
    def _checked(self) -> Repair:
        told = self.expected_candidate_count is not None and self.expected_candidate_fingerprint is not None
        if not self.dry_run and not told:
            raise ValueError("without dry_run the expected count and fingerprint are needed")
        return self


class ScanStarted(BaseModel):
    """Whether a scan has begun."""

    status: Literal["scanning_started", "scanning_skipped_pipeline_busy"]
    message: str
    track_id: str


class ScanSamples(BaseModel):
    """Examples of what a scan has met."""

    items: list[str]
    truncated: bool
    dropped: int


class Scan(BaseModel):
    """What a scan has come to."""

    track_id: str
    status: Literal["running", "completed", "failed", "cancelled", "abandoned"]
    counts: dict[str, int]
    counters_dropped: int
    samples: dict[str, ScanSamples]
    created_at: float
    updated_at: float
    version: int
    message: str
