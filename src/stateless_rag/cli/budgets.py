"""The command `budget`, and the options that bound what one command may spend."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stateless_rag.cli.costs import PriceOption, prices_given
from stateless_rag.cli.running import Place, placed
from stateless_rag.errors import InvalidInput
from stateless_rag.types import Budget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stateless_rag.engine import Engine
    from stateless_rag.types import BudgetStatus

__all__ = ["BudgetOption", "MoneyOption", "budget", "budget_given", "budget_line"]

BudgetOption = Annotated[
    int | None,
    typer.Option(
        "--budget", metavar="TOKENS", min=0, help="Read and write at most so many tokens, then stop."
    ),
]
MoneyOption = Annotated[
    float | None,
    typer.Option("--budget-money", metavar="MONEY", min=0.0, help="Spend at most so much; needs --price."),
]


def budget_given(tokens: int | None, money: float | None, price: Sequence[str] | None) -> Budget | None:
    """The budget that the options say; None if they say none. Raises InvalidInput."""
    prices = prices_given(price)
    if tokens is None and money is None:
        if prices is not None:
            raise InvalidInput("--price needs --budget-money; without a bound in money it says nothing")
        return None
    return Budget(tokens=tokens, money=money, prices=prices)


@placed()
def budget(
    place: Place,
    tokens: Annotated[
        int | None, typer.Option("--tokens", min=0, help="Tokens that may be read and written.")
    ] = None,
    money: Annotated[
        float | None, typer.Option("--money", min=0.0, help="Money that may be spent; needs --price.")
    ] = None,
    price: PriceOption = None,
    daily: Annotated[
        bool, typer.Option("--daily", help="Each day (of UTC) anew; else all that was ever paid counts.")
    ] = False,
    none: Annotated[bool, typer.Option("--none", help="Keep no budget any more.")] = False,
) -> None:
    """Show the budget that is kept with the workspace, or change it.

    When it is used up, ingestion pauses, and questions are refused.
    """
    prices = prices_given(price)
    given = tokens is not None or money is not None or prices is not None or daily
    if none and given:
        raise InvalidInput("--none goes with no other bound; give one or the other")
    chosen = None
    if given:
        chosen = Budget(tokens=tokens, money=money, prices=prices, period="day" if daily else "total")

    async def work(engine: Engine) -> BudgetStatus | None:
        return await (engine.set_budget(chosen) if given or none else engine.budget())

    def show(status: BudgetStatus | None) -> None:
        place.output.text("No budget." if status is None else budget_line(status))

    def as_json(status: BudgetStatus | None) -> Any:
        return {"workspace": place.chosen.workspace, "budget": status}

    place.run_on_engine(work, show, as_json=as_json)


def budget_line(status: BudgetStatus) -> str:
    """How a budget stands, in one line."""
    chosen = status.budget
    spent = [] if chosen.tokens is None else [f"{status.tokens:,} of {chosen.tokens:,} tokens"]
    spent += [] if chosen.money is None else [f"{status.money or 0.0:,.4f} of {chosen.money:,.4f} in money"]
    told = f"Budget{' for each day' if chosen.period == 'day' else ''}: {', '.join(spent)} spent"
    if not status.exhausted:
        return f"{told}."
    if status.renewed_at is None:
        return f"{told}: used up. Raise it with `stateless-rag budget`, then `stateless-rag resume`."
    until = datetime.fromtimestamp(status.renewed_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{told}: used up until {until}. Raise it with `stateless-rag budget`, or wait; then `resume`."
