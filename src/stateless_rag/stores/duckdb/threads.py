"""The threads of a store: for questions, for the folds of commits, for what takes longer, for writes, and one in which
workspaces come and go.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["Threads", "pass_error", "pass_on"]

Result = TypeVar("Result")


class Threads:
    """Runs functions in the threads that they belong in. `check` raises and `closed` makes the error of a closed store.

    `alone` is held by what changes which workspaces there are or are in memory.
    """

    def __init__(self, readers: int, check: Callable[[], None], closed: Callable[[], Exception]) -> None:
        self.alone = threading.RLock()
        self.writers = ThreadPoolExecutor(4, thread_name_prefix="stateless-rag-write")
        self.cataloger = ThreadPoolExecutor(1, thread_name_prefix="stateless-rag-catalog")
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="stateless-rag-read")
        self._folders = ThreadPoolExecutor(2, thread_name_prefix="stateless-rag-fold")
        self._background = ThreadPoolExecutor(1, thread_name_prefix="stateless-rag-compact")
        self._check = check
        self._closed = closed

    def in_reader(self, function: Callable[[], Result]) -> Future[Result]:
        """Run a function in a reading thread."""
        return self._submit(self._readers, function)

    def in_folder(self, function: Callable[[], Result]) -> Future[Result]:
        """Compute what a commit changes, apart from the reading threads: it gives way to questions, which then must not
        wait for a thread that it holds.
        """
        return self._submit(self._folders, function)

    def in_background(self, function: Callable[[], Result]) -> Future[Result]:
        """Run what takes longer, one at a time, and leave the reading threads to questions."""
        return self._submit(self._background, function)

    def in_catalog(self, function: Callable[[], Result]) -> Future[Result]:
        """Run something that changes what is there or in memory, one at a time, off the event loop."""

        def alone() -> Result:
            with self.alone:
                self._check()
                return function()

        return self._submit(self.cataloger, alone)

    def end_reads(self) -> None:
        """Wait for all that has begun but the writes; nothing more can begin."""
        self.cataloger.shutdown(wait=True)
        self._readers.shutdown(wait=True)
        self._folders.shutdown(wait=True)
        self._background.shutdown(wait=True)

    def end_writes(self) -> None:
        """Wait for the writes."""
        self.writers.shutdown(wait=True)

    def _submit(self, executor: ThreadPoolExecutor, function: Callable[[], Result]) -> Future[Result]:
        self._check()
        try:
            return executor.submit(function)
        except RuntimeError as error:
            raise self._closed() from error


def pass_on(done: Future[None], to: Future[None]) -> None:
    """Let one future end as another has."""
    if done.exception() is None:
        to.set_result(None)
    else:
        pass_error(done, to)


def pass_error(done: Future[None], to: Future[None]) -> None:
    """Let one future fail if another has."""
    error = done.exception()
    if error is not None:
        to.set_exception(error)
