"""Budgets: what may be spent, by one call and by a workspace, and what keeps providers from being called beyond it.

An `Allowance` is asked when the turn of a call has come, and told what each cost before the next one may begin. So
no more is spent than the budget and the calls that were under way when it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from stateless_rag.context import Meter
from stateless_rag.errors import BudgetExhausted, InvalidInput
from stateless_rag.pricing import is_free, price_of
from stateless_rag.protocols import Charge
from stateless_rag.types import Budget, BudgetStatus, Price, Usage

if TYPE_CHECKING:
    from stateless_rag.context import Context
    from stateless_rag.protocols import Spending

__all__ = [
    "Allowance",
    "allowed",
    "budget_status",
    "record_of_budget",
    "recorded_budget",
    "require_prices",
]

# ---- what is recorded ----------------------------------------------------------------------------------


def record_of_budget(budget: Budget) -> dict[str, Any]:
    """A budget as it is recorded with a workspace."""
    prices = None
    if budget.prices is not None:
        prices = {model: asdict(price) for model, price in budget.prices.items()}
    return {"tokens": budget.tokens, "money": budget.money, "period": budget.period, "prices": prices}


def recorded_budget(record: Mapping[str, Any] | None) -> Budget | None:
    """The budget that is recorded."""
    if record is None:
        return None
    prices = record["prices"]
    return Budget(
        tokens=record["tokens"],
        money=record["money"],
        period=record["period"],
        prices=prices and {model: Price(**price) for model, price in prices.items()},
    )


# ---- how a budget stands -------------------------------------------------------------------------------


def budget_status(spending: Spending, budget: Budget) -> BudgetStatus:
    """How much of a workspace's budget is spent. Raises InvalidInput if a model was paid that has no price."""
    today = budget.period == "day"
    tokens, money = _sum(budget, spending.spent(today=today))
    return BudgetStatus(
        budget=budget,
        tokens=tokens,
        money=None if budget.money is None else money,
        exhausted=_is_spent(budget, tokens, money),
        renewed_at=spending.tomorrow() if today else None,
    )


def _sum(budget: Budget, spent: Mapping[tuple[str, bool], Usage]) -> tuple[int, float]:
    tokens, money = 0, 0.0
    for (model, batch), used in spent.items():
        if used.calls and not is_free(model):
            tokens += used.tokens
            if budget.prices is not None:
                money += price_of(budget.prices, model).of(used, batch=batch)
    return tokens, money


def _is_spent(budget: Budget, tokens: int, money: float) -> bool:
    return (budget.tokens is not None and tokens >= budget.tokens) or (
        budget.money is not None and money >= budget.money
    )


def require_prices(context: Context, budget: Budget, whose: str) -> None:
    """Raise InvalidInput if a budget in money has no price for a model that may be called."""
    if budget.prices is None:
        return
    models = {llm.model for llm in (context.llm, *context.roles.values()) if llm is not None}
    models.add(context.embedder.model)
    if context.reranker is not None:
        models.add(context.reranker.model)
    for model in sorted(models):
        try:
            price_of(budget.prices, model)
        except InvalidInput as error:
            raise InvalidInput(f"{whose} is in money, and its {error}") from error


def _told(budget: Budget, tokens: int, money: float) -> str:
    spent = [] if budget.tokens is None else [f"{tokens:,} of {budget.tokens:,} tokens"]
    spent += [] if budget.money is None else [f"{money:,.4f} of {budget.money:,.4f} in money"]
    return " and ".join(spent)


# ---- what one operation may spend ----------------------------------------------------------------------


class Allowance(Meter):
    """What one operation may still spend: of a budget of its own, and of its workspace's.

    The meter into which all others of the operation count. With `finishes`, what was begun within the workspace's
    budget is brought to its end. `charge` takes calls to the ledger that no journal is told of.
    """

    def __init__(
        self,
        own: Budget | None,
        spending: Spending,
        model_for: Callable[[str], str],
        *,
        finishes: bool = False,
        charge: Callable[[Sequence[Charge]], None] | None = None,
    ) -> None:
        super().__init__()
        self._charge = charge
        self._own = own
        self._spending = spending
        self._model_for = model_for
        self._finishes = finishes
        self._begun = False
        self._tokens = 0
        self._money = 0.0
        self._shared: tuple[Mapping[str, Any], Budget] | None = None

    @property
    def bounded(self) -> bool:
        """Whether there is any budget, so that each call has to be counted before the next one begins."""
        return self._own is not None or self._spending.recorded is not None

    @property
    def lasting(self) -> bool:
        """Whether the operation's own budget is used up, to which nothing will be added."""
        return self._own is not None and _is_spent(self._own, self._tokens, self._money)

    def add(self, purpose: str, usage: Usage) -> None:
        """Count usage under a purpose."""
        super().add(purpose, usage)
        model = self._model_for(purpose)
        if self._own is None or not usage.calls or is_free(model):
            return
        self._tokens += usage.tokens
        if self._own.prices is not None:
            self._money += price_of(self._own.prices, model).of(usage)

    def refused(self, context: Context, purpose: str, usage: Usage) -> None:
        """Note in the ledger that a reply was paid for and could not be used."""
        if self._charge is not None:
            model = self._model_for(purpose)
            self._charge([Charge(purpose=purpose, model=model, usage=usage, document=context.document)])

    def check(self) -> None:
        """Raise BudgetExhausted if nothing more may be spent."""
        error = self.refusal()
        if error is not None:
            raise error
        self._begun = True

    def refusal(self) -> BudgetExhausted | None:
        """Why a call may not be made now; None if it may."""
        if self.lasting and self._own is not None:
            spent = _told(self._own, self._tokens, self._money)
            return BudgetExhausted(f"the budget of this call is used up, {spent}; give it a higher one")
        shared = self._workspace_budget()
        if shared is None or (self._begun and self._finishes):
            return None
        status = budget_status(self._spending, shared)
        if not status.exhausted:
            return None
        spent = _told(shared, status.tokens, status.money or 0.0)
        if status.renewed_at is None:
            return BudgetExhausted(f"the workspace's budget is used up, {spent}; raise it (`set_budget`)")
        until = datetime.fromtimestamp(status.renewed_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return BudgetExhausted(
            f"the workspace's budget for this day is used up, {spent}; raise it (`set_budget`), or wait until {until}",
            max(0.0, status.renewed_at - self._spending.now()),
        )

    def require_prices(self, context: Context) -> None:
        """Raise InvalidInput if a model that may be called has no price, where a budget is in money."""
        if self._own is not None:
            require_prices(context, self._own, "the budget")
        if (shared := self._workspace_budget()) is not None:
            require_prices(context, shared, "the workspace's budget")

    def _workspace_budget(self) -> Budget | None:
        recorded = self._spending.recorded
        if recorded is None:
            return None
        if self._shared is None or self._shared[0] is not recorded:
            budget = recorded_budget(recorded)
            if budget is None:
                return None
            self._shared = (recorded, budget)
        return self._shared[1]


def allowed(
    context: Context,
    spending: Spending,
    own: Budget | None = None,
    *,
    finishes: bool = False,
    charge: Callable[[Sequence[Charge]], None] | None = None,
) -> Context:
    """The context of an operation that may spend what its own budget and that of the workspace leave.

    The other arguments are those of `Allowance`. Raises InvalidInput for models without a price.
    """
    allowance = Allowance(own, spending, context.model_for, finishes=finishes, charge=charge)
    allowance.require_prices(context)
    return context.derive(meter=Meter(allowance), allowance=allowance)
