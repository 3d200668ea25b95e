"""What work costs: prices, what is expected, what was paid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from stateless_rag.checks import each_field, number
from stateless_rag.types.reports import Usage, UsageByPurpose

__all__ = ["CostRow", "CostsBy", "Estimate", "Price", "Prices"]

CostsBy = Literal["purpose", "model", "document", "query", "day"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model costs for a million tokens that it reads (`input`) and writes (`output`), in any currency."""

    input: float
    output: float = 0.0

    def __post_init__(self) -> None:
        each_field(self, number, "input", "output", least=0.0)

    def of(self, usage: Usage) -> float:
        """The price of calls."""
        return (usage.prompt_tokens * self.input + usage.completion_tokens * self.output) / 1_000_000


Prices = Mapping[str, Price]
"""Prices by the names of models; "*" stands for those that are not named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What an ingest would cost now, as `Engine.estimate` says.

    `unchanged` are documents that are there already. `chunks` are those that would be looked at, `new_chunks` those
    of them that the LLM would be asked about: no chunk and no reply that is kept says the same. `usage` tells calls
    and tokens by purpose, and under `cached` what is known already; `embeddings` how many texts would be embedded.
    `money` is None without prices. What replies will be like rests on what was paid in the workspace before
    (`basis` is "ledger") or on fixed ratios ("ratios").
    """

    documents: int
    unchanged: int
    chunks: int
    new_chunks: int
    usage: UsageByPurpose
    embeddings: int
    money: float | None = None
    basis: Literal["ledger", "ratios"] = "ratios"
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> Usage:
        """All purposes together."""
        return sum(self.usage.values(), Usage())


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow:
    """What was paid, summed up by what `Engine.costs` was asked for; the other names are None.

    A `document` or `query` of None is what was paid for none in particular. `day` is a date of UTC (YYYY-MM-DD).
    `embeddings` counts texts. `money` is None without prices.
    """

    purpose: str | None = None
    model: str | None = None
    document: str | None = None
    query: str | None = None
    day: str | None = None
    usage: Usage = field(default_factory=Usage)
    embeddings: int = 0
    money: float | None = None
