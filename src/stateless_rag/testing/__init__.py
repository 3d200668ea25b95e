"""For tests of applications: deterministic providers, a fake OpenAI-like server, and faults on demand."""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stateless_rag.testing.batches import BatchBehaviour
    from stateless_rag.testing.deterministic import (
        DeterministicEmbedder,
        DeterministicLLM,
        DeterministicReranker,
    )
    from stateless_rag.testing.faults import (
        Disconnect,
        Empty,
        Fault,
        Faults,
        Hang,
        Malformed,
        RateLimited,
        ServedRequest,
        ServerError,
        Truncated,
    )
    from stateless_rag.testing.recorded import RecordedLLM
    from stateless_rag.testing.server import FakeOpenAIServer, ServerRecord

__all__ = [
    "BatchBehaviour",
    "DeterministicEmbedder",
    "DeterministicLLM",
    "DeterministicReranker",
    "Disconnect",
    "Empty",
    "FakeOpenAIServer",
    "Fault",
    "Faults",
    "Hang",
    "Malformed",
    "RateLimited",
    "RecordedLLM",
    "ServedRequest",
    "ServerError",
    "ServerRecord",
    "Truncated",
]

_HOMES = MappingProxyType(
    {
        "BatchBehaviour": "batches",
        "DeterministicEmbedder": "deterministic",
        "DeterministicLLM": "deterministic",
        "DeterministicReranker": "deterministic",
        "FakeOpenAIServer": "server",
        "RecordedLLM": "recorded",
        "ServerRecord": "server",
    }
)


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'faults')}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return list(__all__)
