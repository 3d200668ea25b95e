"""Entities that may be one."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Duplicate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """Two entities that look like one. `target` is the name to keep, `source` the one that would stand for it.

    `score` is from 0 to 1, higher for surer; `reasons` say what speaks for it. `similarity` is the cosine of their
    vectors where that was compared, `verdict` what the LLM said where it was asked (pairs it denies are left out).
    """

    source: str
    target: str
    score: float
    reasons: tuple[str, ...]
    similarity: float | None = None
    verdict: bool | None = None
