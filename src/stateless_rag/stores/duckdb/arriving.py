"""The vectors of a workspace that was opened a moment ago: they are read while it is in use already."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stateless_rag.protocols import VectorKind

if TYPE_CHECKING:
    from concurrent.futures import Future

    from stateless_rag.stores.faiss.segments import VectorIndex, VectorView

__all__ = ["Arriving", "Loaded", "arrived", "begin_loading", "held_bytes"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """Segments, and the views of them as they were loaded: writers go on with one, readers with the other."""

    indexes: dict[VectorKind, VectorIndex]
    views: Mapping[VectorKind, VectorView]


class Arriving(Mapping[VectorKind, "VectorView"]):
    """Views that are being loaded. Who looks at them waits for them, and meets the error if they cannot be read.

    `expected` is about how many bytes they will hold.
    """

    def __init__(self, loading: Future[Loaded], expected: int) -> None:
        self.loading = loading
        self.expected = expected

    def __getitem__(self, kind: VectorKind) -> VectorView:
        return arrived(self.loading).views[kind]

    def __iter__(self) -> Iterator[VectorKind]:
        return iter(arrived(self.loading).views)

    def __len__(self) -> int:
        return len(arrived(self.loading).views)


def begin_loading(
    run: Callable[[Callable[[], Loaded]], Future[Loaded]], load: Callable[[Callable[[], None]], Loaded]
) -> Future[Loaded]:
    """Load in a thread that `run` finds. Blocks until `load` calls what it is given, or has failed."""
    begun = threading.Event()

    def loaded() -> Loaded:
        try:
            return load(begun.set)
        finally:
            begun.set()

    loading = run(loaded)
    begun.wait()
    return loading


def arrived(loading: Future[Loaded]) -> Loaded:
    """What was loaded; blocks until it is there, and raises what went wrong."""
    error = loading.exception()
    if error is not None:
        # Raised again as it is, it would collect the frames of all who ever asked.
        raise error.with_traceback(None)
    return loading.result()


def held_bytes(views: Mapping[VectorKind, VectorView]) -> int:
    """Bytes that the views hold in memory, or will hold; does not wait for them."""
    if isinstance(views, Arriving):
        if not views.loading.done():
            return views.expected
        if views.loading.exception() is not None:
            return 0
    return sum(view.nbytes for view in views.values())
