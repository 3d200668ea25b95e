"""Requests of the extraction in files that a provider answers within a day, for half the price."""

from __future__ import annotations

from stateless_rag.batching.collecting import cancel_batch, collect_batches
from stateless_rag.batching.records import info_of
from stateless_rag.batching.submitting import submit_batches

__all__ = ["cancel_batch", "collect_batches", "info_of", "submit_batches"]
