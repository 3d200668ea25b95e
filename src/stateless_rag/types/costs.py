"""What work costs: prices, what is expected, what was paid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stateless_rag.checks import choice, each_field, number, optional, shown, whole
from stateless_rag.errors import InvalidInput
from stateless_rag.types.reports import Usage, UsageByPurpose

__all__ = ["Budget", "BudgetStatus", "CostRow", "CostsBy", "Estimate", "Price", "Prices", "price_table"]

CostsBy = Literal["purpose", "model", "document", "query", "day", "batch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model costs for a million tokens that it reads (`input`) and writes (`output`), in any currency.

    `batch` is the share of it that is paid for calls in batch files.
    """

    input: float
    output: float = 0.0
    batch: float = 0.5

    def __post_init__(self) -> None:
        each_field(self, number, "input", "output", "batch", least=0.0)

    def of(self, usage: Usage, *, batch: bool = False) -> float:
        """The price of calls, or of calls in a `batch` file."""
        money = (usage.prompt_tokens * self.input + usage.completion_tokens * self.output) / 1_000_000
        return money * self.batch if batch else money


Prices = Mapping[str, Price]
"""Prices by the names of models; "*" stands for those that are not named."""


def price_table(name: str, prices: Any) -> Prices:
    """A copy of a table of prices: a mapping of names of models to `Price`. Raises InvalidInput."""
    if not isinstance(prices, Mapping):
        raise InvalidInput(f"{name} is {shown(prices)}; it must map names of models to Price values")
    for model, price in prices.items():
        if not isinstance(model, str) or not isinstance(price, Price):
            raise InvalidInput(
                f"{name} maps {shown(model)} to {shown(price)}; it must map names of models to Price values"
            )
    return dict(prices)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What may be spent: tokens that are read and written, money by a table of prices, or both, whichever ends first.

    `period` says of what a budget that is kept with a workspace is counted: "total", all that was ever paid there, or
    "day", each day of UTC anew. What a single call may spend is a "total". The built-in parts are free. Raises
    InvalidInput if nothing is bounded, or if there is money without prices or the other way round.
    """

    tokens: int | None = None
    money: float | None = None
    prices: Prices | None = None
    period: Literal["total", "day"] = "total"

    def __post_init__(self) -> None:
        each_field(self, optional, "tokens", check=whole)
        each_field(self, optional, "money", check=number, least=0.0)
        each_field(self, optional, "prices", check=price_table)
        each_field(self, choice, "period", among=("total", "day"))
        if self.tokens is None and self.money is None:
            raise InvalidInput("a budget bounds nothing; give tokens, or money with prices")
        if (self.money is None) != (self.prices is None):
            raise InvalidInput(
                "a budget has money without prices, or prices without money; give both or none"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetStatus:
    """How the budget of a workspace stands: what of it was spent, in tokens and (where it is in money) in money.

    While it is `exhausted`, nothing more is paid for. `renewed_at` is when it begins anew, in seconds since 1970; None
    for a total.
    """

    budget: Budget
    tokens: int
    money: float | None
    exhausted: bool
    renewed_at: float | None = None


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
    `batch` names the file of requests that the replies came from, None for calls of their own.
    `embeddings` counts texts. `money` is None without prices.
    """

    purpose: str | None = None
    model: str | None = None
    document: str | None = None
    query: str | None = None
    day: str | None = None
    batch: str | None = None
    usage: Usage = field(default_factory=Usage)
    embeddings: int = 0
    money: float | None = None
