"""The error tree. Every error says what was wrong, with what value, and what to do next.

StatelessRagError
├── InvalidInput (ValueError)      a value that the caller gave
│   ├── InvalidWorkspaceName
│   └── InvalidDocument
│       └── UnreadableFile         a file that cannot be made into text; carries `reason`
├── StoreError                     the store cannot do what was asked
│   ├── StoreLocked                another store owns the root
│   ├── StoreClosed
│   ├── StoreCorrupt
│   ├── WorkspaceNotFound (also KeyError)
│   ├── WorkspaceMismatch          the workspace was written with other settings
│   └── CommitConflict             what a commit read has changed since
├── ProviderError                  an LLM, embedder or reranker failed
│   ├── ProviderTimeout
│   ├── ProviderRateLimited
│   ├── ProviderUnavailable        connection refused or lost, 5xx
│   ├── ProviderRejected           4xx: wrong key, model, or request
│   └── InvalidReply               an answer that cannot be used
├── BudgetExhausted                what may be spent is spent; carries `retry_after` where it is renewed
├── Overloaded                     a bounded queue is full; carries `retry_after` seconds
├── WorkCancelled                  `Engine.cancel` stopped it
├── StreamAbandoned                nobody read a stream for too long
├── ServerError                    a server that a client asked: not there, none of ours, or it refuses
├── WorkFailed                     some workspaces could not be worked on; carries the reports of the others
└── DeadlineExceeded (TimeoutError)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stateless_rag.types import InsertReport

__all__ = [
    "BudgetExhausted",
    "CommitConflict",
    "DeadlineExceeded",
    "InvalidDocument",
    "InvalidInput",
    "InvalidReply",
    "InvalidWorkspaceName",
    "Overloaded",
    "ProviderError",
    "ProviderRateLimited",
    "ProviderRejected",
    "ProviderTimeout",
    "ProviderUnavailable",
    "ServerError",
    "StatelessRagError",
    "StoreClosed",
    "StoreCorrupt",
    "StoreError",
    "StoreLocked",
    "StreamAbandoned",
    "UnreadableFile",
    "WorkCancelled",
    "WorkFailed",
    "WorkspaceMismatch",
    "WorkspaceNotFound",
]


class StatelessRagError(Exception):
    """Root of all errors that this library raises on purpose."""


class InvalidInput(StatelessRagError, ValueError):
    """A value given by the caller cannot be used; nothing was changed."""


class InvalidWorkspaceName(InvalidInput):
    """A workspace name outside the rule `[A-Za-z0-9_-]{1,64}`, or a device name."""


class InvalidDocument(InvalidInput):
    """A document that cannot be stored: not text, an unusable id, metadata that is not JSON."""


class UnreadableFile(InvalidDocument):
    """A file cannot be made into text; `reason` says in a word why.

    unsupported, mismatch (its contents are not what its name says), empty (no text in it), encrypted, damaged, unsafe,
    bomb (it would become too much), too_large, too_long (in seconds), crashed, or unavailable (the parser is not
    installed).
    """

    def __init__(self, message: str, reason: str = "damaged") -> None:
        super().__init__(message)
        self.reason = reason


class StoreError(StatelessRagError):
    """The store cannot do what was asked."""


class StoreLocked(StoreError):
    """Another store, in this process or another, owns the root folder; `holder` describes it."""

    def __init__(self, message: str, holder: str = "") -> None:
        super().__init__(message)
        self.holder = holder


class StoreClosed(StoreError):
    """The store was closed, or belongs to another process (after a fork)."""


class StoreCorrupt(StoreError):
    """The database cannot be read as one of ours."""


class WorkspaceNotFound(StoreError, KeyError):
    """No workspace of that name exists in this store. `name` is that name, where it is known."""

    __str__ = Exception.__str__

    def __init__(self, told: str, name: str | None = None) -> None:
        super().__init__(told)
        self.name = name


class WorkspaceMismatch(StoreError):
    """The workspace was written with another embedder, dimension, tokenizer, or a newer format."""


class CommitConflict(StoreError):
    """Keys that a commit was computed from have changed since; compute it again from a new snapshot."""


class ProviderError(StatelessRagError):
    """An LLM, embedder or reranker failed, after the retries that the policy allows.

    Attributes: `status`, the HTTP status where there is one; `retry_after`, seconds the provider asked to
    wait, where it did; `retryable`, whether asking again may help.
    """

    retryable = False

    def __init__(self, message: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class ProviderTimeout(ProviderError):
    """The provider did not answer within the time allowed for one call."""

    retryable = True


class ProviderRateLimited(ProviderError):
    """The provider answered 429."""

    retryable = True


class ProviderUnavailable(ProviderError):
    """The provider could not be reached, broke the connection, or answered 5xx."""

    retryable = True


class ProviderRejected(ProviderError):
    """The provider refused the request (wrong key, unknown model, request too large)."""


class InvalidReply(ProviderError):
    """The provider answered something that cannot be used: empty, malformed, wrong shape, NaN."""

    retryable = True


class BudgetExhausted(StatelessRagError):
    """What may be spent is spent, so a provider was not called; what was paid for is kept.

    `retry_after` is in how many seconds the budget begins anew, None if it does not.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Overloaded(StatelessRagError):
    """A bounded queue is full. `retry_after` is the number of seconds after which to try again."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class WorkCancelled(StatelessRagError):
    """What a provider was to be called for was cancelled (`Engine.cancel`) while the call waited for its turn."""


class StreamAbandoned(StatelessRagError):
    """The consumer of a stream asked for nothing for longer than `CallSettings.stream_idle`."""


class ServerError(StatelessRagError):
    """A stateless-rag server could not be asked: it is not reached, is none, or refuses.

    `status` is that of its answer, None where there was none; `retry_after` is in seconds, where it said so.
    """

    def __init__(self, message: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class WorkFailed(StatelessRagError):
    """Some workspaces could not be opened or worked on.

    `errors` holds the error of each, `reports` what was done in the others.
    """

    def __init__(self, reports: Mapping[str, InsertReport], errors: Mapping[str, Exception]) -> None:
        told = "; ".join(f"{name!r}: {error}" for name, error in errors.items())
        super().__init__(f"{len(errors)} workspaces could not be worked on: {told}")
        self.reports = reports
        self.errors = errors


class DeadlineExceeded(StatelessRagError, TimeoutError):
    """The deadline of the whole operation passed, waiting in queues included."""
